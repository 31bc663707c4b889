// What is done on the runtime's side of the boundary, because each crossing costs more than the work:
// src/headers.rs, src/refusals.rs and src/upstream/relay.rs say what for.

/** The headers as one text: a line for a name, a line for its value. */
export function flatten(headers) {
  let text = "";
  for (const [name, value] of headers) text += `${name}\n${value}\n`;
  return text;
}

/** Headers of such a text, as the plain object that the runtime takes for them. */
export function unflatten(text) {
  const headers = {};
  const lines = text.split("\n");
  for (let at = 0; at + 1 < lines.length; at += 2) headers[lines[at]] = lines[at + 1];
  return headers;
}

/** An answer. */
export function respond(status, head, body) {
  return new Response(body, { status, headers: unflatten(head) });
}

/**
 * A body that passes through `passage` chunk by chunk, each when the client wants one. Where nothing
 * has passed for `pingAfter` ms, the passage is asked for a sign of life; 0 means never.
 *
 * `passage` says what a chunk becomes, or what is left to be sent at an end: bytes, a promise of them,
 * or nothing. It is freed with the stream.
 */
export function relayed(body, passage, pingAfter) {
  const reader = body.getReader();
  let heard = Date.now();
  let timer;
  let isOver = false;
  const end = () => {
    isOver = true;
    clearTimeout(timer);
    passage.free();
  };
  const next = async (controller) => {
    for (;;) {
      let chunk;
      try {
        chunk = await reader.read();
      } catch (error) {
        const lastWords = passage.broken();
        if (!lastWords) throw error;
        controller.enqueue(lastWords);
        controller.close();
        end();
        return;
      }
      if (isOver) return;
      heard = Date.now();
      let bytes = chunk.done ? passage.finish() : passage.push(chunk.value);
      if (bytes instanceof Promise) bytes = await bytes;
      if (isOver) return;
      if (bytes) controller.enqueue(bytes);
      if (chunk.done) {
        controller.close();
        end();
      }
      if (bytes || isOver) return;
    }
  };
  return new ReadableStream(
    {
      start(controller) {
        const ping = () => {
          const rest = heard + pingAfter - Date.now();
          if (rest <= 0) {
            // Who doesn't read needs no signs of life.
            const sign = controller.desiredSize >= 0 && passage.ping();
            if (sign) controller.enqueue(sign);
            heard = Date.now();
          }
          timer = setTimeout(ping, rest > 0 ? rest : pingAfter);
        };
        if (pingAfter > 0) timer = setTimeout(ping, pingAfter);
      },
      async pull(controller) {
        try {
          await next(controller);
        } catch (error) {
          if (!isOver) end();
          throw error;
        }
      },
      async cancel(reason) {
        if (!isOver) end();
        await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}

// All headers that a refusal of the same user may depend on, or the row that counts it.
const MARKS = [
  "authorization",
  "x-api-key",
  "api-key",
  "x-gateway-key",
  "x-user-id",
  "x-project-id",
  "x-conversation-id",
  "origin",
  "upgrade",
  "cf-connecting-ip",
];

/** What tells requests apart that may be refused differently, as one text. */
export function marks({ method, url, headers }) {
  let text = `${method} ${url}`;
  for (const name of MARKS) text += `\n${headers.get(name) ?? ""}`;
  return text;
}

/** The answer to a refusal that waits `time` ms for others, and until it is counted with them. */
export async function held(refusal, time) {
  await scheduler.wait(time);
  refusal.tell();
  for (let glance = 10; refusal.is_waiting(); glance = Math.min(2 * glance, time)) {
    await scheduler.wait(glance);
  }
  return refusal.answer();
}
