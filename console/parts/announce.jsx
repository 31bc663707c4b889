// What is said aloud by screen readers, and shown for a moment to everybody else.
import { createStore, useStore } from "../store.js";

const SHOWN_FOR = 6000;

const said = createStore({ spoken: "", shown: [] });
let next = 0;

/** Says something important; `quietly` only to screen readers. */
export function announce(text, quietly = false) {
  // A space makes a text new that is said twice.
  said.set({ spoken: said.get().spoken === text ? `${text}\u00a0` : text });
  if (quietly) return;
  next += 1;
  const id = next;
  said.set({ shown: [...said.get().shown.slice(-2), { id, text }] });
  setTimeout(() => said.set({ shown: said.get().shown.filter((one) => one.id !== id) }), SHOWN_FOR);
}

export function Announcements() {
  const { spoken, shown } = useStore(said);
  return (
    <>
      <div class="unseen" role="status" aria-live="polite">
        {spoken}
      </div>
      <div class="toasts" aria-hidden="true">
        {shown.map(({ id, text }) => (
          <div class="toast" key={id}>
            {text}
          </div>
        ))}
      </div>
    </>
  );
}
