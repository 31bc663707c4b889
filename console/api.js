// Asking the gateway. The sign-in is a cookie that scripts can't read; what goes along with whatever
// changes anything is kept in memory alone.

/** How long an answer may take, in ms, where nothing else is said. */
const PATIENCE = 15_000;

let csrfToken = null;
let onSignedOut = () => {};

/** Why there is no good answer, in words for the operator. */
export class Problem extends Error {
  constructor(message, { status = 0, code = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Calls this once an answer says that nobody is signed in any more. */
export function whenSignedOut(callback) {
  onSignedOut = callback;
}

/** Who is signed in: `{operator, csrf_token, expires_at}`. */
export async function session() {
  const standing = await request("GET", "/operator/session");
  csrfToken = standing.csrf_token ?? null;
  return standing;
}

export const signIn = (token) => request("POST", "/operator/session", { body: { token } });
export const signOut = () => request("DELETE", "/operator/session");

/** Asks `/operator/api` + `path`. */
export async function ask(method, path, options) {
  const url = `/operator/api${path}`;
  try {
    return await request(method, url, options);
  } catch (problem) {
    if (problem.code === "csrf_failed") {
      // Another tab has signed in since: what goes along is another one now.
      await session();
      return request(method, url, options);
    }
    if (problem.status === 401) onSignedOut();
    throw problem;
  }
}

/** A part of a path, or a member of a query. */
export const part = encodeURIComponent;

async function request(method, url, { body, csv, signal, patience = PATIENCE } = {}) {
  const headers = { accept: "application/json" };
  if (csrfToken && method !== "GET") headers["x-csrf-token"] = csrfToken;
  if (csv !== undefined) headers["content-type"] = "text/csv";
  else if (body !== undefined) headers["content-type"] = "application/json";
  const late = AbortSignal.timeout(patience);
  let response;
  let text;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: csv ?? (body === undefined ? undefined : JSON.stringify(body)),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(late.aborted ? "The gateway doesn't answer." : "The gateway can't be reached.");
  }
  const answer = parse(text);
  if (response.ok) return answer;
  const { message, code } = answer?.error ?? {};
  throw new Problem(message ?? `The gateway answered with status ${response.status}.`, {
    status: response.status,
    code,
  });
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
