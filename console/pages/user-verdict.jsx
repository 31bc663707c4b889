// Why it doesn't work, in words, and what mends it, as a button.
import { Ago } from "../time.jsx";
import { StateShape } from "../parts/icons.jsx";
import { actionOf, adviceOf, isError, titleOf } from "../words.js";
import { BUTTONS } from "./user-actions.jsx";

export function Verdict({ user, seat, act }) {
  const { state, reason, code, at } = judge(user, seat);
  const action = actionOf(code);
  const advice = adviceOf(code);
  return (
    <section class={`verdict is-${state}`} aria-label="How it stands">
      <StateShape state={state} size={22} />
      <div>
        <p class="verdict-why">{reason}</p>
        {advice && <p>{advice}</p>}
        {at && (
          <p class="is-quiet is-small">
            Newest request <Ago at={at} />
            {code && <code> {code}</code>}
          </p>
        )}
      </div>
      {action && (
        <button type="button" class="button is-main" onClick={() => act({ kind: action })}>
          {BUTTONS[action]}
        </button>
      )}
    </section>
  );
}

/** The object knows more than the database, and earlier; the words are the database's where it has any. */
function judge(user, seat) {
  const [newest] = user.recent;
  const at = newest?.created_at;
  if (user.blocked) {
    const why = user.blocked_reason ? `: ${user.blocked_reason}` : ", without a reason";
    return { state: "blocked", reason: `Blocked${why}.`, code: "user_blocked", at };
  }
  const error = newest && isError(newest) ? newest : null;
  if (!error) {
    const { state = "quiet", reason = "No request has been seen lately." } = seat ?? {};
    // What the database calls a failure may have been mended since.
    if (state === "failing" || state === "limited") {
      return newest ? { state: "working", reason: "The newest request was answered.", at } : { state, reason };
    }
    return { state, reason, at };
  }
  const state = error.status === 429 || error.status === 402 ? "limited" : "failing";
  const agrees = seat?.state === state;
  const title = `${titleOf(error.status, error.error_code)}.`;
  return { state, reason: agrees ? seat.reason : title, code: error.error_code, at };
}
