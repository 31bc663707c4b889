// What a person has used, and when there is more.
import { useEffect, useState } from "preact/hooks";
import { compact, count, plural } from "../numbers.js";

/** The sliding minute. `at` is when it was told, by `performance.now()`. */
export function Window({ window: { limit, used, next_free_ms: wait }, at, act }) {
  const left = useCountdown(at + wait);
  const isFull = used >= limit && wait > 0;
  return (
    <section class="card gauge">
      <div class="card-head">
        <h2>This minute</h2>
        <button type="button" class="button" onClick={() => act({ kind: "reset" })}>
          Empty it
        </button>
      </div>
      <p class="gauge-number">
        <b>{count(used)}</b> of {count(limit)}
      </p>
      <meter
        class={`bar-meter ${isFull ? "is-full" : ""}`}
        min="0"
        max={limit}
        value={used}
        aria-label={`${used} of ${limit} requests of this minute used`}
      />
      <p class={isFull ? "is-bad" : "is-quiet"} data-countdown>
        {isFull && left > 0
          ? `Full. The next is let in in ${(left / 1000).toFixed(left < 10_000 ? 1 : 0)} s.`
          : `${plural(Math.max(0, limit - used), "more", "more")} at once.`}
      </p>
    </section>
  );
}

/** Milliseconds until `end`, counted by the clock that nobody sets. */
function useCountdown(end) {
  const [, setTicks] = useState(0);
  const left = Math.max(0, end - performance.now());
  const runs = left > 0;
  useEffect(() => {
    if (!runs) return undefined;
    const timer = setInterval(() => setTicks((ticks) => ticks + 1), 200);
    return () => clearInterval(timer);
  }, [runs, end]);
  return left;
}

export function Running({ inFlight }) {
  return (
    <section class="card gauge">
      <div class="card-head">
        <h2>Running now</h2>
      </div>
      <p class="gauge-number">
        <b>{count(inFlight)}</b> {inFlight === 1 ? "request" : "requests"}
      </p>
      <p class="is-quiet">
        {inFlight === 0 ? "Nothing is on its way." : "Waiting for the agent, or streaming."}
      </p>
    </section>
  );
}

export function Month({ month: { month, requests, limit, tokens } }) {
  return (
    <section class="card gauge">
      <div class="card-head">
        <h2>
          This month <span class="is-quiet">{month}</span>
        </h2>
      </div>
      <p class="gauge-number">
        <b>{count(requests)}</b> {limit === null ? "requests" : `of ${count(limit)}`}
      </p>
      {limit !== null && (
        <meter
          class={`bar-meter ${requests >= limit ? "is-full" : ""}`}
          min="0"
          max={limit}
          value={requests}
          aria-label={`${requests} of ${limit} requests of this month used`}
        />
      )}
      <p class="is-quiet">{compact(tokens)} tokens</p>
    </section>
  );
}
