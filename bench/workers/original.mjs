// The design that organized-gateway replaces, as well written as it allows: a stateless Worker with a
// counter by user and minute in KV, and an insert into D1 that is awaited before the answer ends.
//
// It streams, and it counts while the upstream works: waiting for either would only make it slower. What
// is wrong with it can't be written away. KV is eventually consistent, so a burst passes the limit; a
// fixed minute admits twice the limit around its edge; the header names the user.

const INSERT =
  "insert into requests (user_id, endpoint, status, latency_ms, tokens_est, ip_hash, created_at) " +
  "values (?, ?, ?, ?, ?, ?, datetime('now'))";

const refusal = (limit) =>
  Response.json(
    {
      error: {
        message: `Rate limit exceeded. ${limit} requests/minute.`,
        type: "rate_limit_error",
        param: null,
        code: "rate_limit_exceeded",
      },
    },
    { status: 429, headers: { "Retry-After": "60" } },
  );

async function hashOf(address) {
  if (!address) return null;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(address));
  return [...new Uint8Array(digest, 0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function log(env, row) {
  const { meta } = await env.DB.prepare(INSERT)
    .bind(row.user, row.endpoint, row.status, Date.now() - row.began, row.tokens, row.addressHash)
    .run();
  if (env.SHOW_COSTS === "true") {
    console.log(
      JSON.stringify({ event: "cost", kv_reads: 1, kv_writes: 1, d1_rows_written: meta.rows_written }),
    );
  }
}

// Passes a stream on and counts its characters; its end waits for the row.
function counted(body, finish) {
  let length = 0;
  return body.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        length += chunk.byteLength;
        controller.enqueue(chunk);
      },
      flush: () => finish(Math.ceil(length / 4)),
    }),
  );
}

export default {
  async fetch(request, env) {
    const began = Date.now();
    const { pathname, search } = new URL(request.url);
    const user = request.headers.get("x-user-id") ?? "anonymous";
    const limit = Number(env.LIMIT);
    const key = `rl:${user}:${Math.floor(began / 60_000)}`;

    const used = Number((await env.COUNTS.get(key)) ?? 0);
    if (used >= limit) return refusal(limit);
    const counting = env.COUNTS.put(key, String(used + 1), { expirationTtl: 120 });

    const headers = new Headers({
      Authorization: request.headers.get("Authorization") ?? "",
      "Content-Type": request.headers.get("Content-Type") ?? "application/json",
      "X-Forwarded-User": user,
    });
    const [upstream, addressHash] = await Promise.all([
      fetch(env.UPSTREAM + pathname + search, { method: request.method, headers, body: request.body }),
      hashOf(request.headers.get("CF-Connecting-IP")),
      counting,
    ]);

    const row = { user, endpoint: pathname, status: upstream.status, began, addressHash };
    const answer = {
      status: upstream.status,
      headers: { "Content-Type": upstream.headers.get("Content-Type") },
    };
    if (answer.headers["Content-Type"]?.startsWith("text/event-stream")) {
      const finish = (tokens) => log(env, { ...row, tokens });
      return new Response(counted(upstream.body, finish), answer);
    }
    const text = await upstream.text();
    let tokens = Math.ceil(text.length / 4);
    try {
      tokens = JSON.parse(text).usage?.total_tokens ?? tokens;
    } catch {
      // No JSON: the estimate stands.
    }
    await log(env, { ...row, tokens });
    return new Response(text, answer);
  },
};
