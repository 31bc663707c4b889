// Who needs help, and why, in words: the first thing to read.
import { useState } from "preact/hooks";
import { StateShape } from "../parts/icons.jsx";
import { userLink } from "../routes.js";
import { Ago } from "../time.jsx";
import { STATES } from "../words.js";

/** More than these are folded: a room in which everything fails has one cause. */
const SHOWN = 8;

export function NeedsHelp({ users }) {
  const [isWhole, setWhole] = useState(false);
  if (users.length === 0) return null;
  const shown = isWhole ? users : users.slice(0, SHOWN);
  return (
    <section class="needs-help" aria-label="Needs help">
      <ul>
        {shown.map((user) => (
          <li key={user.user_id}>
            <a class={`need is-${user.state}`} href={userLink(user.user_id)}>
              <StateShape state={user.state} size={20} />
              <span class="need-who">
                <b>{user.user_id}</b>
                {user.name && <span class="is-quiet">{user.name}</span>}
              </span>
              <span class="need-why">
                <span class="unseen">{STATES[user.state]}: </span>
                {user.reason}
              </span>
              <span class="need-when">{user.last_seen && <Ago at={user.last_seen} />}</span>
            </a>
          </li>
        ))}
      </ul>
      {users.length > SHOWN && (
        <button type="button" class="button is-bare" onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show fewer" : `Show ${users.length - SHOWN} more`}
        </button>
      )}
    </section>
  );
}
