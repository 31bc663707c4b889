// The last requests of a person.
import { useState } from "preact/hooks";
import { compact, duration } from "../numbers.js";
import { StateShape } from "../parts/icons.jsx";
import { clockOf, momentOf } from "../time.jsx";
import { isError, isLimit, titleOf } from "../words.js";

const FILTERS = {
  all: ["All", () => true],
  errors: ["Errors", isError],
  limits: ["Limits", ({ status }) => isLimit(status)],
};

export function Recent({ recent }) {
  const [filter, setFilter] = useState("all");
  const shown = recent.filter(FILTERS[filter][1]);
  return (
    <section class="card">
      <div class="card-head">
        <h2>
          Last requests <span class="is-quiet">{recent.length}</span>
        </h2>
        <div class="segments" role="group" aria-label="Show">
          {Object.entries(FILTERS).map(([name, [words, belongs]]) => (
            <button type="button" key={name} aria-pressed={filter === name} onClick={() => setFilter(name)}>
              {words} {name !== "all" && recent.filter(belongs).length}
            </button>
          ))}
        </div>
      </div>
      {shown.length === 0 ? (
        <p class="is-quiet">{recent.length === 0 ? "None yet." : "None of these."}</p>
      ) : (
        <div class="scrolls" tabIndex={0} role="region" aria-label="Last requests">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col">Answer</th>
                <th scope="col">Request</th>
                <th scope="col" class="is-number">
                  Took
                </th>
                <th scope="col" class="is-number">
                  Tokens
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((request) => (
                <Row key={request.request_id} {...request} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Row({
  request_id: id,
  endpoint,
  status,
  error_code: code,
  latency_ms: took,
  tokens,
  provider_requests: calls,
  created_at: at,
}) {
  return (
    <tr>
      <td title={momentOf(at)}>{clockOf(at)}</td>
      <td>
        <span class="outcome">
          <StateShape state={shapeOf(status)} size={13} />
          <b>{status}</b>
          {(code || status >= 400) && <span>{titleOf(status, code)}</span>}
        </span>
        {code && <code class="is-small">{code}</code>}
      </td>
      <td>
        {endpoint}
        <br />
        <code class="is-small is-quiet">{id}</code>
      </td>
      <td class="is-number">{duration(took)}</td>
      <td class="is-number">
        {compact(tokens)}
        {calls > 0 && (
          <>
            <br />
            <span class="is-small is-quiet">in {calls === 1 ? "1 call" : `${calls} calls`}</span>
          </>
        )}
      </td>
    </tr>
  );
}

function shapeOf(status) {
  if (isLimit(status)) return "limited";
  if (status === 499) return "quiet";
  return status >= 200 && status < 400 ? "working" : "failing";
}
