// One person: why it doesn't work, and what mends it.
import { useState } from "preact/hooks";
import { part } from "../api.js";
import { live, refresh as refreshRoom } from "../live.js";
import { announce } from "../parts/announce.jsx";
import { StateShape } from "../parts/icons.jsx";
import { Dialog, SecretDialog } from "../parts/dialog.jsx";
import { usePolled } from "../polled.js";
import { go } from "../routes.js";
import { useStore } from "../store.js";
import { STATES } from "../words.js";
import { ActionOf } from "./user-actions.jsx";
import { Access, Codex, Danger, Ledger, Plan, Upstream } from "./user-facts.jsx";
import { Month, Running, Window } from "./user-gauges.jsx";
import { Recent } from "./user-recent.jsx";
import { Record } from "./record.jsx";
import { judge, Verdict } from "./user-verdict.jsx";

const PERIOD = 2000;

export function UserPage({ userId }) {
  const { overview } = useStore(live);
  const { answer: user, at, problem, refresh } = usePolled(`/users/${part(userId)}`, PERIOD);
  const { answer: listed } = usePolled(`/users?query=${part(userId)}&limit=20`);
  const [action, setAction] = useState(null);
  const [secret, setSecret] = useState(null);
  const [farewell, setFarewell] = useState(null);
  const [acted, setActed] = useState(0);
  const seat = overview?.users.find(({ user_id: id }) => id === userId);
  const entry = listed?.users.find(({ user_id: id }) => id === userId);
  const name = entry?.name ?? seat?.name;
  const standing = user && judge(user, seat);
  const state = standing?.state ?? seat?.state;

  const done = (outcome) => {
    setAction(null);
    if (outcome?.secret) setSecret(outcome.secret);
    if (outcome?.said) announce(outcome.said);
    if (outcome?.farewell) setFarewell(outcome.farewell);
    setActed(acted + 1);
    refresh();
    refreshRoom();
  };
  return (
    <article class="user">
      <header class="user-head">
        <StateShape state={state ?? "quiet"} size={30} />
        <div>
          <h1 tabIndex={-1}>{userId}</h1>
          <p class="is-quiet">{[name, entry?.email].filter(Boolean).join(" · ") || "No name is known."}</p>
        </div>
        {state && <span class={`chip is-${state}`}>{STATES[state]}</span>}
      </header>
      {problem && (
        <p class="strip is-warning" role="alert">
          {user ? `Not up to date: ${problem.message}` : problem.message}
        </p>
      )}
      {user ? (
        <div class="user-grid">
          <Verdict standing={standing} act={setAction} />
          <div class="gauges">
            <Window window={user.window} at={at} act={setAction} />
            <Running inFlight={user.in_flight} />
            <Month month={user.month} />
          </div>
          <div class="user-wide">
            <Recent recent={user.recent} />
            <Record userId={userId} renewed={acted} />
          </div>
          <div class="user-side">
            <Access user={user} act={setAction} />
            <Plan user={user} act={setAction} />
            <Codex codex={user.codex} act={setAction} />
            <Upstream user={user} upstreams={overview?.upstreams ?? []} act={setAction} />
            <Ledger outbox={user.outbox} act={setAction} />
            <Danger user={user} act={setAction} />
          </div>
        </div>
      ) : (
        !problem && <p class="waiting">One moment …</p>
      )}
      {action && (
        <ActionOf
          {...action}
          user={user}
          upstreams={overview?.upstreams ?? []}
          onClose={() => setAction(null)}
          onDone={done}
        />
      )}
      {farewell && <Farewell {...farewell} onClose={() => go("#/")} />}
      {secret && <SecretDialog {...secret} onClose={() => setSecret(null)} />}
    </article>
  );
}

/** What became of somebody who is forgotten, and what is left to be done elsewhere. */
function Farewell({ user_id: userId, message, pending, still_to_do: rest, onClose }) {
  const lists = { "Goes on by itself": pending, "Left for you to do": rest };
  return (
    <Dialog title={`Farewell to ${userId}`} onClose={onClose}>
      <div class="dialog-body">
        <p>{message}</p>
        {Object.entries(lists).map(
          ([title, items]) =>
            items?.length > 0 && (
              <div key={title}>
                <h3>{title}</h3>
                <ul class="dots">
                  {items.map((item) => (
                    <li key={item}>{item}</li>
                  ))}
                </ul>
              </div>
            ),
        )}
        <div class="dialog-foot">
          <button type="button" class="button is-main" onClick={onClose}>
            To the room
          </button>
        </div>
      </div>
    </Dialog>
  );
}
