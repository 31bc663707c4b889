// What states and codes mean, in words, and what an operator can do about them.

/** The states of a user, the most urgent first. */
export const STATES = {
  failing: "failing",
  limited: "limited",
  blocked: "blocked",
  working: "working",
  quiet: "quiet",
  never_seen: "never seen",
};

/** The states in which somebody needs help. */
export const NEEDS_HELP = ["failing", "limited"];

/**
 * What an error code means for its user, and which action of the user's page may mend it.
 * @type {Record<string, {title: string, advice: string, action?: string}>}
 */
const ERRORS = {
  rate_limit_exceeded: {
    title: "Over the minute’s limit",
    advice:
      "It clears by itself within a minute. A loop in their code does this; you can empty the minute once.",
    action: "reset",
  },
  concurrency_limit_exceeded: {
    title: "Too many requests at once",
    advice: "Their program sends many requests at the same time. It has to wait for one to end.",
  },
  another_key_in_use: {
    title: "Another API key in use",
    advice:
      "Two of their requests at one time carry different API keys. One key for both, or one request after the other.",
  },
  missing_key: {
    title: "No gateway key",
    advice: "They don't send their gateway key. Has the kit been run? Give them a claim code, or a key.",
    action: "code",
  },
  invalid_key: {
    title: "Wrong gateway key",
    advice: "The key was mistyped, cut off, revoked, or is somebody else's. Make a new one.",
    action: "key",
  },
  user_id_bound: {
    title: "USER_ID belongs to another API key",
    advice:
      "Another API key came first under this name. If this person has a new key of their own, unbind the name.",
    action: "unbind",
  },
  user_id_conflict: {
    title: "Two different users named",
    advice: "The address, X-User-ID and the key name different people. Their .env mixes two people's lines.",
  },
  invalid_user_id: { title: "Not a USER_ID", advice: "Their USER_ID has characters that it can't have." },
  user_blocked: { title: "Blocked", advice: "You or a colleague blocked this person.", action: "unblock" },
  no_codex_session: {
    title: "Not signed in for Codex",
    advice: "They run `bash setup.sh --auth codex` once and follow what it shows.",
  },
  codex_session_expired: {
    title: "Codex sign-in has ended",
    advice: "They run `bash setup.sh --auth codex` again. Nothing else is lost.",
  },
  token_endpoint_unavailable: {
    title: "Sign-in service doesn't answer",
    advice: "Codex tokens can't be renewed right now. It mends itself once the service is back.",
  },
  payment_required: {
    title: "A plan is needed",
    advice: "Give them a tier, or have them buy one.",
    action: "tier",
  },
  monthly_quota_exceeded: {
    title: "The month's requests are used up",
    advice: "A larger tier has more; else they wait for the next month.",
    action: "tier",
  },
  project_limit_exceeded: {
    title: "No room for another project",
    advice: "Remove a project that isn't used any more, or give them a larger tier.",
    action: "tier",
  },
  anonymous_disabled: {
    title: "No USER_ID",
    advice: "They don't say who they are. Their .env lacks USER_ID.",
  },
  too_many_attempts: {
    title: "Too many wrong attempts from their network",
    advice: "Wrong keys or codes came too fast from one address. What is right isn't refused.",
  },
  invalid_json: { title: "Body is no valid JSON", advice: "Their program sends something that isn't JSON." },
  invalid_path: { title: "Wrong address", advice: "Their base URL is wrong: it ends in /v1." },
  not_found: {
    title: "Nothing at this address",
    advice: "Their base URL or the path is wrong: it ends in /v1.",
  },
  method_not_allowed: { title: "Wrong method", advice: "This address takes other kinds of requests." },
  request_too_large: {
    title: "Request too large",
    advice: "They send more than the gateway takes: a large file, perhaps.",
  },
  invalid_project_id: {
    title: "Not a project's name",
    advice: "Letters, digits, dots, dashes and underscores only.",
  },
  invalid_conversation_id: {
    title: "Not a conversation's name",
    advice: "Letters, digits, dots, dashes and underscores only.",
  },
  previous_response_not_found: {
    title: "Earlier answer isn't known any more",
    advice: "They begin a new conversation.",
  },
  upgrade_required: { title: "WebSockets aren't supported", advice: "A plain HTTPS request does it." },
  upstream_unreachable: {
    title: "The agent can't be reached",
    advice:
      "Look at the upstream in the room: is its machine on, is its tunnel up? It is hardly this person alone.",
  },
  upstream_timeout: {
    title: "The agent took too long",
    advice: "It didn't begin its answer, or fell silent in it. If many have it, the upstream is overloaded.",
  },
  upstream_busy: {
    title: "Waited too long for a free slot",
    advice: "The upstream is full; requests wait by turns. Their program may send it again.",
  },
  upstream_redirect: { title: "The agent's address leads elsewhere", advice: "Check OPENCLAW_URL." },
  upstream_error: { title: "The agent answered with an error", advice: "What it said is in their terminal." },
  upstream_interrupted: {
    title: "The answer broke off",
    advice: "The agent closed the connection in the middle of its answer.",
  },
  upstream_incomplete: {
    title: "The answer was cut short",
    advice: "The agent ended its answer before it was whole. They send it again.",
  },
  client_left: { title: "The client left", advice: "They stopped it, or their network did." },
  interrupted: {
    title: "The gateway was interrupted",
    advice: "The Worker ended in the middle of it. They send it again.",
  },
  internal_error: {
    title: "The gateway's own fault",
    advice: "The Worker's log has more under the request's id.",
  },
  not_configured: {
    title: "The gateway isn't set up completely",
    advice: "GET /ready says what is missing.",
  },
};

const STATUSES = {
  0: "Interrupted",
  400: "Not understood",
  401: "Not let in",
  402: "Plan needed",
  403: "Forbidden",
  404: "Not found",
  408: "Timed out",
  409: "In conflict",
  413: "Too large",
  429: "Too many requests",
  499: "The client left",
  500: "Server error",
  502: "Bad gateway",
  503: "Unavailable",
  504: "Timed out",
};

/** What an error is called. */
export function titleOf(status, code) {
  return ERRORS[code]?.title ?? STATUSES[status] ?? (status >= 500 ? "Upstream error" : `Status ${status}`);
}

/** What can be done about it, if that is known. */
export const adviceOf = (code) => ERRORS[code]?.advice;

/** The action of the user's page that may mend it. */
export const actionOf = (code) => ERRORS[code]?.action;

/** Whether it is a limit that was met. */
export const isLimit = (status) => status === 429 || status === 402;

/** Whether a request's outcome is an error. A client that left is none. */
export const isError = ({ status }) => status !== 499 && (status < 200 || status >= 400);

/** What the record of actions says was done. */
const ACTIONS = {
  block: "blocked",
  unblock: "unblocked",
  unbind: "unbound",
  reset: "emptied the minute of",
  mint_key: "made a key for",
  revoke_key: "revoked a key of",
  mint_handle: "made an agent's handle for",
  void_handle: "voided the handle of",
  issue_code: "gave a claim code to",
  set_tier: "set the tier of",
  remove_project: "removed a project of",
  forget_codex: "forgot the Codex sign-in of",
  assign_upstream: "chose the upstream of",
  flush: "flushed the rows of",
  forget_user: "forgot",
  forget: "forgot",
  import_roster: "imported a roster",
  keep_kit: "put up a kit for",
  withdraw_kit: "withdrew a kit of",
  resolve_note: "resolved a note",
  export: "exported requests",
};

export const actionInWords = (action) => ACTIONS[action] ?? action.replaceAll("_", " ");

export const TIERS = { tier1: "Tier 1", tier2: "Tier 2", tier3: "Tier 3" };
export const tierInWords = (tier) => TIERS[tier] ?? "No tier";

export const BINDINGS = {
  open: "Nobody yet: whoever comes first with an API key",
  "first-key": "The API key that came first",
  key: "A gateway key",
};

export const CODEX_STATES = {
  none: "Not signed in",
  ok: "Signed in",
  expired: "The sign-in has ended",
  "signing-in": "Signing in: a code is being shown",
  signing_in: "Signing in: a code is being shown",
};
