// Why it doesn't work, in words, and what mends it, as a button.
import { StateShape } from "../parts/icons.jsx";
import { Ago, gatewayNow } from "../time.jsx";
import { NEEDS_HELP, actionOf, adviceOf, isError, isLimit, titleOf } from "../words.js";
import { BUTTONS } from "./user-actions.jsx";

export function Verdict({ standing, act }) {
  const { state, reason, code, at } = standing;
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

/** How long a limit that was met says how it stands, in ms; as the room has it. */
const LIMITED_FOR = 60_000;

/** What was in the way of the newest request and isn't any more; the next one will show it. */
const MENDED = {
  user_blocked: ({ blocked }) => !blocked && "Isn't blocked any more.",
  user_id_bound: ({ binding }) => binding === "open" && "Isn't bound to an API key any more.",
};

/**
 * How it stands: `{state, reason, code, at}`. The object knows more than the database, and earlier; the
 * words are the room's where it has come to the same.
 */
export function judge(user, seat) {
  const [newest] = user.recent;
  const at = newest?.created_at;
  if (user.blocked) {
    const why = user.blocked_reason ? `: ${user.blocked_reason}` : ", without a reason";
    return { state: "blocked", reason: `Blocked${why}.`, code: "user_blocked", at };
  }
  const of = (state, { status, error_code: code }) => {
    const reason = seat?.state === state ? seat.reason : `${titleOf(status, code)}.`;
    return { state, reason, code, at };
  };
  const mended = MENDED[newest?.error_code]?.(user);
  if (mended) return { state: "quiet", reason: `${mended} No request has come since.`, at };
  if (newest && isError(newest) && !isLimit(newest.status)) return of("failing", newest);
  const began = gatewayNow() - LIMITED_FOR;
  const limit = user.recent.find(
    ({ status, created_at: came }) => isLimit(status) && Date.parse(came) > began,
  );
  if (limit) return of("limited", limit);
  if (!newest) return { state: "never_seen", reason: "No request has come yet. Has the kit been run?" };
  if (seat && !NEEDS_HELP.includes(seat.state) && seat.state !== "blocked") {
    return { state: seat.state, reason: seat.reason, at };
  }
  // What the room calls a failure was mended since.
  return { state: "working", reason: "The newest request was answered.", at };
}
