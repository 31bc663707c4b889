// What is known of a person, each with what can be done about it.
import { plural } from "../numbers.js";
import { Ago, dayOf, momentOf, span } from "../time.jsx";
import { BINDINGS, CODEX_STATES, tierInWords } from "../words.js";

function Do({ act, kind, children, ...more }) {
  return (
    <button type="button" class="button" onClick={() => act({ kind, ...more })}>
      {children}
    </button>
  );
}

export function Access({ user: { binding, keys }, act }) {
  return (
    <section class="card">
      <h2>Proof</h2>
      <p>{BINDINGS[binding] ?? binding}.</p>
      {keys.length > 0 && (
        <ul class="items">
          {keys.map(({ key_id: id, label, created_at: made, last_used_at: used }) => (
            <li key={id}>
              <div>
                <b>{label || "Key without a label"}</b> <code>{id}</code>
                <p class="is-quiet is-small">
                  made {dayOf(made)},{" "}
                  {used ? (
                    <>
                      used <Ago at={used} />
                    </>
                  ) : (
                    "never used"
                  )}
                </p>
              </div>
              <Do act={act} kind="revoke" keyId={id} label={label}>
                Revoke
              </Do>
            </li>
          ))}
        </ul>
      )}
      <div class="buttons">
        <Do act={act} kind="key">
          New key
        </Do>
        <Do act={act} kind="code">
          Claim code
        </Do>
        {binding === "first-key" && (
          <Do act={act} kind="unbind">
            Unbind
          </Do>
        )}
      </div>
    </section>
  );
}

export function Plan({ user: { tier, tier_since: since, tier_until: until, projects }, act }) {
  return (
    <section class="card">
      <h2>Plan</h2>
      <p>
        <b>{tierInWords(tier)}</b>
        {since && <span class="is-quiet"> since {dayOf(since)}</span>}
        {until && <span class="is-quiet">, until {dayOf(until)}</span>}
      </p>
      {projects.length > 0 && (
        <ul class="items" aria-label="Projects">
          {projects.map((project) => (
            <li key={project}>
              <div>
                Project <b>{project}</b>
              </div>
              <Do act={act} kind="project" project={project}>
                Remove
              </Do>
            </li>
          ))}
        </ul>
      )}
      <div class="buttons">
        <Do act={act} kind="tier">
          Change the tier
        </Do>
      </div>
    </section>
  );
}

export function Codex({ codex: { state, expires_at: end }, act }) {
  return (
    <section class="card">
      <h2>Codex sign-in</h2>
      <p>
        {CODEX_STATES[state] ?? state}
        {end && <span class="is-quiet"> (until {momentOf(end)})</span>}
      </p>
      {state !== "none" && (
        <div class="buttons">
          <Do act={act} kind="codex">
            Forget it
          </Do>
        </div>
      )}
    </section>
  );
}

export function Upstream({ user: { upstream = null }, upstreams, act }) {
  if (upstreams.length < 2 && !upstream) return null;
  return (
    <section class="card">
      <h2>Upstream</h2>
      <p>{upstream ? <b>{upstream}</b> : "The default one"}</p>
      <div class="buttons">
        <Do act={act} kind="upstream">
          Choose another
        </Do>
      </div>
    </section>
  );
}

export function Ledger({ outbox, act }) {
  if (!outbox) return null;
  const { depth, oldest_ms: oldest } = outbox;
  return (
    <section class="card">
      <h2>On the way to the database</h2>
      <p>{depth === 0 ? "Nothing waits." : `${plural(depth, "row")}, the oldest for ${span(oldest)}.`}</p>
      {depth > 0 && (
        <div class="buttons">
          <Do act={act} kind="flush">
            Send now
          </Do>
        </div>
      )}
    </section>
  );
}

export function Danger({ user: { blocked }, act }) {
  return (
    <section class="card is-danger">
      <h2>Last resort</h2>
      <div class="buttons">
        {blocked ? (
          <Do act={act} kind="unblock">
            Unblock
          </Do>
        ) : (
          <Do act={act} kind="block">
            Block …
          </Do>
        )}
        <Do act={act} kind="forget">
          Forget this person …
        </Do>
      </div>
    </section>
  );
}
