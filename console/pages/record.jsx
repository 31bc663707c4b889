// What operators did.
import { useEffect, useState } from "preact/hooks";
import { ask, part } from "../api.js";
import { usePolled } from "../polled.js";
import { userLink } from "../routes.js";
import { momentOf } from "../time.jsx";
import { actionInWords } from "../words.js";

export function RecordPage() {
  return (
    <section class="page is-narrow">
      <h1 tabIndex={-1}>Record</h1>
      <p class="is-quiet">Who did what to whom, the newest first.</p>
      <Actions path="/actions" />
    </section>
  );
}

/** The record of one person, as a part of that person's page. `renewed` is another number after each action. */
export function Record({ userId, renewed }) {
  return (
    <section class="card">
      <h2>Record</h2>
      <Actions path={`/actions?user_id=${part(userId)}`} renewed={renewed} isOfOne />
    </section>
  );
}

/** It is written after the answer: soon, but not at once. */
const SOON = 1500;

function Actions({ path, renewed = 0, isOfOne = false }) {
  const { answer, problem, refresh } = usePolled(path);
  const [older, setOlder] = useState({ actions: [], cursor: undefined });
  useEffect(() => {
    if (renewed === 0) return undefined;
    const timer = setTimeout(refresh, SOON);
    return () => clearTimeout(timer);
  }, [renewed]);
  const cursor = older.cursor === undefined ? answer?.cursor : older.cursor;
  const more = async () => {
    const next = `${path}${path.includes("?") ? "&" : "?"}cursor=${part(cursor)}`;
    const { actions, cursor: rest } = await ask("GET", next);
    setOlder({ actions: [...older.actions, ...actions], cursor: rest });
  };
  if (!answer) return problem ? <p class="strip is-warning">{problem.message}</p> : null;
  const actions = [...answer.actions, ...older.actions];
  if (actions.length === 0) return <p class="is-quiet">Nothing was done yet.</p>;
  return (
    <>
      <ol class="record">
        {actions.map(({ id, operator, action, user_id: userId, detail, created_at: at }) => (
          <li key={id}>
            <time dateTime={at}>{momentOf(at)}</time>
            <span>
              <b>{operator}</b> {actionInWords(action)}{" "}
              {isOfOne ? "this person" : userId && <a href={userLink(userId)}>{userId}</a>}
              {detail && <span class="is-quiet"> · {detail}</span>}
            </span>
          </li>
        ))}
      </ol>
      {cursor && (
        <button type="button" class="button" onClick={more}>
          Older ones
        </button>
      )}
    </>
  );
}
