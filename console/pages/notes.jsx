// What waits for the operator.
import { useState } from "preact/hooks";
import { ask } from "../api.js";
import { refresh as refreshRoom } from "../live.js";
import { announce } from "../parts/announce.jsx";
import { StateShape } from "../parts/icons.jsx";
import { usePolled } from "../polled.js";
import { userLink } from "../routes.js";
import { Ago } from "../time.jsx";

const PERIOD = 15_000;

export function NotesPage() {
  const { answer, problem, refresh } = usePolled("/notes", PERIOD);
  const waiting = answer?.notes.filter((note) => !note.resolved_at) ?? [];
  const resolved = answer?.notes.filter((note) => note.resolved_at) ?? [];
  return (
    <section class="page is-narrow">
      <h1 tabIndex={-1}>Notes</h1>
      <p class="is-quiet">What the gateway can't decide by itself, above all about what people bought.</p>
      {problem && <p class="strip is-warning">{problem.message}</p>}
      {answer && waiting.length === 0 && (
        <p class="is-fine">
          <StateShape state="well" /> Nothing waits for you.
        </p>
      )}
      <ul class="notes">
        {waiting.map((note) => (
          <Note key={keyOf(note)} note={note} refresh={refresh} />
        ))}
      </ul>
      {resolved.length > 0 && (
        <details class="resolved">
          <summary>Done: {resolved.length}</summary>
          <ul class="notes">
            {resolved.map((note) => (
              <Note key={keyOf(note)} note={note} />
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

const keyOf = ({ customer_id: customer, kind, subject }) => `${customer} ${kind} ${subject}`;

function Note({ note, refresh }) {
  const {
    customer_id: customer,
    kind,
    subject,
    user_id: userId,
    text,
    created_at: at,
    resolved_at: done,
  } = note;
  const [isBusy, setBusy] = useState(false);
  const resolve = async () => {
    setBusy(true);
    try {
      await ask("POST", "/notes/resolve", { body: { customer_id: customer, kind, subject } });
      announce("Done.");
      refresh();
      refreshRoom();
    } catch (problem) {
      announce(problem.message);
    }
    setBusy(false);
  };
  return (
    <li class={`card note ${done ? "is-done" : ""}`}>
      <div>
        <p class="note-text">{text}</p>
        <p class="is-quiet is-small">
          <b>{kind.replaceAll("_", " ")}</b> · {userId ? <a href={userLink(userId)}>{userId}</a> : customer} ·{" "}
          <Ago at={at} />
        </p>
      </div>
      {!done && (
        <button
          type="button"
          class="button"
          onClick={resolve}
          aria-busy={isBusy}
          aria-label={`Done: ${text}`}
        >
          Done
        </button>
      )}
    </li>
  );
}
