// How the room does: how long answers take, what fails, and how full the upstreams are.
import { count, duration, plural } from "../numbers.js";
import { StateShape } from "../parts/icons.jsx";
import { Ago } from "../time.jsx";
import { isLimit, titleOf } from "../words.js";

const PERCENTILES = { p50: "half", p90: "9 of 10", p99: "99 of 100" };

export function Latency({ lately: { latency_ms: whole, ttfb_ms: first } }) {
  return (
    <section class="card" aria-label="How long answers take">
      <h2>
        How long answers take <span class="is-quiet">last 5 min</span>
      </h2>
      {whole || first ? (
        <table class="latency">
          <thead>
            <tr>
              <td />
              {Object.entries(PERCENTILES).map(([percentile, words]) => (
                <th scope="col" key={percentile} title={percentile}>
                  {words}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Percentiles name="first byte" of={first} />
            <Percentiles name="whole" of={whole} />
          </tbody>
        </table>
      ) : (
        <p class="is-quiet">No answers in this time.</p>
      )}
    </section>
  );
}

function Percentiles({ name, of }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      {Object.keys(PERCENTILES).map((percentile) => (
        <td key={percentile}>{of?.[percentile] == null ? "–" : duration(of[percentile])}</td>
      ))}
    </tr>
  );
}

export function Errors({ lately: { errors } }) {
  const most = Math.max(1, ...errors.map(({ requests }) => requests));
  return (
    <section class="card" aria-label="What fails">
      <h2>
        What fails <span class="is-quiet">last 5 min</span>
      </h2>
      {errors.length === 0 ? (
        <p class="is-fine">
          <StateShape state="well" /> Nothing.
        </p>
      ) : (
        <ul class="errors">
          {errors.map(({ status, code, requests, users }) => (
            <li key={`${status} ${code}`}>
              <span class="error-title">{titleOf(status, code)}</span>
              <b class="error-count">{count(requests)}</b>
              <span class="error-detail">
                {status}
                {code && ` ${code}`} · {plural(users, "person", "people")}
              </span>
              <meter
                class={`error-meter ${isLimit(status) ? "is-limited" : ""}`}
                min="0"
                max={most}
                value={requests}
                aria-hidden="true"
              />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

export function Upstreams({ upstreams }) {
  return (
    <section class="card" aria-label="Upstreams">
      <h2>{upstreams.length === 1 ? "Upstream" : "Upstreams"}</h2>
      {upstreams.length === 0 && <p class="is-quiet">Nothing has been heard of one yet.</p>}
      <ul class="upstreams">
        {upstreams.map((upstream) => (
          <Upstream key={upstream.name} {...upstream} />
        ))}
      </ul>
    </section>
  );
}

/** Beyond this, slots are a bar. */
const MOST_SLOTS = 40;

function Upstream({
  name,
  slots,
  running,
  waiting,
  longest_wait_ms: wait,
  is_well: isWell,
  problem,
  checked_at: at,
  reported_at: reported,
}) {
  return (
    <li>
      <div class="upstream-head">
        <b>{name}</b>
        {isWell === true && (
          <span class="is-fine">
            <StateShape state="well" /> well
          </span>
        )}
        {isWell === false && (
          <span class="is-bad">
            <StateShape state="failing" /> {problem ?? "has a problem"}
          </span>
        )}
        {isWell == null && <span class="is-quiet">not checked yet</span>}
      </div>
      {slots === null ? (
        <p class="is-quiet">
          {running > 0 ? `${plural(running, "request")} running, no limit` : "No limit of slots is set."}
        </p>
      ) : (
        <>
          <Slots slots={slots} running={running} />
          <p>
            <b>{running}</b> of {slots} slots busy
            {waiting > 0 ? (
              <>
                , <b class="is-bad">{waiting} waiting</b>, the longest for {duration(wait)}
              </>
            ) : (
              ", nobody waits"
            )}
          </p>
        </>
      )}
      {(at || reported) && (
        <p class="is-quiet is-small">
          {reported && (
            <>
              queue heard of <Ago at={reported} />
            </>
          )}
          {reported && at && " · "}
          {at && (
            <>
              checked <Ago at={at} />
            </>
          )}
        </p>
      )}
    </li>
  );
}

function Slots({ slots, running }) {
  if (slots > MOST_SLOTS) {
    return <meter class="bar-meter" min="0" max={slots} value={running} aria-hidden="true" />;
  }
  return (
    <div class="slots" aria-hidden="true">
      {Array.from({ length: slots }, (_, index) => (
        <i key={index} class={index < running ? "is-busy" : ""} />
      ))}
    </div>
  );
}
