// What an operator can do with a person: each asked about before it is done.
import { useState } from "preact/hooks";
import { ask, part } from "../api.js";
import { ActionDialog } from "../parts/dialog.jsx";
import { momentOf } from "../time.jsx";
import { TIERS, tierInWords } from "../words.js";

/** What the buttons say that mend what is wrong. */
export const BUTTONS = {
  reset: "Empty the minute …",
  unblock: "Unblock …",
  unbind: "Unbind …",
  key: "New key …",
  code: "Claim code …",
  tier: "Change the tier …",
};

/** Forgetting takes as long as D1 takes for all requests of a person, in ms. */
const PATIENCE = 60_000;

/** How long a claim code is good for, in seconds. */
const LIFETIMES = { 3600: "an hour", 86400: "a day", 604800: "a week", 2592000: "30 days" };

const ACTIONS = {
  block: {
    title: (id) => `Block ${id}?`,
    confirm: "Block",
    danger: true,
    body: () => (
      <>
        <p>Every request is answered with 403 from now on, until you unblock.</p>
        <label class="field">
          Reason, for you and your colleagues
          <input name="reason" maxLength={64} autocomplete="off" placeholder="A runaway loop" />
        </label>
      </>
    ),
    act: (path, { reason }) => ask("POST", `${path}/block`, { body: reason ? { reason } : {} }),
    said: (id) => `${id} is blocked.`,
  },
  unblock: {
    title: (id) => `Unblock ${id}?`,
    confirm: "Unblock",
    body: () => <p>The next request is let in again.</p>,
    act: (path) => ask("POST", `${path}/unblock`, { body: {} }),
    said: (id) => `${id} is unblocked.`,
  },
  reset: {
    title: (id) => `Empty the minute of ${id}?`,
    confirm: "Empty it",
    body: () => (
      <p>The requests of the last minute don't count any more: as many as the limit are let in at once.</p>
    ),
    act: (path) => ask("POST", `${path}/reset`, { body: {} }),
    said: (id) => `The minute of ${id} is empty.`,
  },
  unbind: {
    title: (id) => `Unbind ${id}?`,
    confirm: "Unbind",
    danger: true,
    body: () => (
      <p>
        The name belongs to nobody then, and to the next API key that gets an answer under it. Codex tokens
        that came with the old key are forgotten.
      </p>
    ),
    act: (path) => ask("POST", `${path}/unbind`, { body: {} }),
    said: (id) => `${id} is unbound.`,
  },
  key: {
    title: (id) => `A new key for ${id}`,
    confirm: "Make it",
    body: () => (
      <>
        <p>Keys that were made before stay good.</p>
        <label class="field">
          Label
          <input name="label" maxLength={64} autocomplete="off" placeholder="laptop" />
        </label>
      </>
    ),
    act: async (path, { label }, { user }) => {
      const { key } = await ask("POST", `${path}/keys`, { body: label ? { label } : {} });
      const title = `The new key of ${user.user_id}`;
      const explanation = "It goes into their .env as OPENCLAW_GATEWAY_KEY.";
      return { secret: { title, explanation, secret: key } };
    },
  },
  revoke: {
    title: () => "Revoke this key?",
    confirm: "Revoke",
    danger: true,
    body: ({ keyId, label }) => (
      <p>
        <b>{label || "The key"}</b> <code>{keyId}</code> is refused from the next request on. This can't be
        taken back; a new key can be made.
      </p>
    ),
    act: (path, _, { keyId }) => ask("DELETE", `${path}/keys/${part(keyId)}`),
    said: (id) => `A key of ${id} is revoked.`,
  },
  code: {
    title: (id) => `A claim code for ${id}`,
    confirm: "Make it",
    body: () => (
      <>
        <p>A short code to read out or write down, which the kit turns into a key, once.</p>
        <label class="field">
          Good for
          <select name="ttl">
            {Object.entries(LIFETIMES).map(([seconds, words]) => (
              <option key={seconds} value={seconds} selected={seconds === "2592000"}>
                {words}
              </option>
            ))}
          </select>
        </label>
      </>
    ),
    act: async (path, { ttl }, { user }) => {
      const body = { ttl_seconds: Number(ttl) };
      const { code, expires_at: end } = await ask("POST", `${path}/codes`, { body });
      const title = `The claim code of ${user.user_id}`;
      return { secret: { title, explanation: `It is good once, until ${momentOf(end)}.`, secret: code } };
    },
  },
  tier: {
    title: (id) => `The tier of ${id}`,
    confirm: "Set it",
    body: ({ user }) => (
      <>
        <p>It counts from the next request on, and stands until a purchase changes.</p>
        <label class="field">
          Tier
          <select name="tier">
            <option value="" selected={!user.tier}>
              {tierInWords(null)}
            </option>
            {Object.entries(TIERS).map(([tier, words]) => (
              <option key={tier} value={tier} selected={user.tier === tier}>
                {words}
              </option>
            ))}
          </select>
        </label>
      </>
    ),
    act: (path, { tier }) => ask("PUT", `${path}/tier`, { body: { tier: tier || null } }),
    said: (id) => `The tier of ${id} is set.`,
  },
  project: {
    title: () => "Remove this project?",
    confirm: "Remove",
    danger: true,
    body: ({ project }) => (
      <p>
        <b>{project}</b> gives its place back. It takes one again with its next request.
      </p>
    ),
    act: (path, _, { project }) => ask("DELETE", `${path}/projects/${part(project)}`),
    said: (id) => `A project of ${id} is removed.`,
  },
  codex: {
    title: (id) => `Forget the Codex sign-in of ${id}?`,
    confirm: "Forget it",
    danger: true,
    body: () => <p>Its tokens are deleted. The person signs in again with `bash setup.sh --auth codex`.</p>,
    act: (path) => ask("DELETE", `${path}/codex`),
    said: (id) => `The Codex sign-in of ${id} is forgotten.`,
  },
  upstream: {
    title: (id) => `The upstream of ${id}`,
    confirm: "Choose it",
    body: ({ user, upstreams }) => (
      <label class="field">
        Upstream
        <select name="upstream">
          <option value="" selected={!user.upstream}>
            The default one
          </option>
          {upstreams.map(({ name }) => (
            <option key={name} value={name} selected={user.upstream === name}>
              {name}
            </option>
          ))}
        </select>
      </label>
    ),
    act: (path, { upstream }) => ask("PUT", `${path}/upstream`, { body: { upstream: upstream || null } }),
    said: (id) => `The upstream of ${id} is chosen.`,
  },
  flush: {
    title: (id) => `Send the rows of ${id} now?`,
    confirm: "Send",
    body: () => (
      <p>They go by themselves within two seconds; this tries at once and says whether it works.</p>
    ),
    act: (path) => ask("POST", `${path}/flush`, { body: {} }),
    said: (id) => `The rows of ${id} are in the database.`,
  },
  forget: {
    title: (id) => `Forget ${id}?`,
    confirm: "Forget for good",
    danger: true,
    wantsName: true,
    body: () => (
      <>
        <p>
          Name, keys, sign-in, tier and every request are deleted; sums of what was used and what was paid
          stay, without the name. This can't be taken back. The USER_ID is free then: to keep it closed, block
          it afterwards.
        </p>
        <label class="check">
          <input type="checkbox" name="force" value="true" />
          <span>Even if Stripe goes on charging for a subscription</span>
        </label>
      </>
    ),
    act: async (path, { force }) => ({
      farewell: await ask("DELETE", `${path}${force ? "?force=true" : ""}`, { patience: PATIENCE }),
    }),
  },
};

export function ActionOf({ kind, onClose, onDone, ...given }) {
  const { title, confirm, danger, wantsName, body: Body, act, said } = ACTIONS[kind];
  const [typed, setTyped] = useState("");
  const id = given.user.user_id;
  const path = `/users/${part(id)}`;
  return (
    <ActionDialog
      title={title(id)}
      confirm={confirm}
      danger={danger}
      isReady={!wantsName || typed.trim().toLowerCase() === id}
      act={async (fields) => ({ said: said?.(id), ...(await act(path, fields, given)) })}
      onClose={onClose}
      onDone={onDone}
    >
      <Body {...given} />
      {wantsName && (
        <label class="field">
          <span>
            Type <b>{id}</b> to say that you mean it
          </span>
          <input
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </label>
      )}
    </ActionDialog>
  );
}
