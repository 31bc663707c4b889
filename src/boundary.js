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

// So much of an answer may wait for a client that reads slowly, in bytes; then the upstream waits.
const AHEAD = 1 << 20;

// What a chunk that waits costs besides its bytes.
const CHUNK = 128;

/**
 * A body that passes through `passage` chunk by chunk, as it comes. Where nothing has passed for `pingAfter` ms,
 * the passage is asked for a sign of life; 0 means never. Where the upstream has sent nothing for `idleAfter` ms,
 * the body ends.
 *
 * `passage` says what a chunk becomes, or what is left to be sent at an end: bytes, a promise of them,
 * or nothing. It is freed with the stream.
 */
export function relayed(body, passage, pingAfter, idleAfter) {
  const reader = body.getReader();
  // Since when the upstream is waited for; nothing while the client is.
  let asked;
  let heard = Date.now();
  let timer;
  let isOver = false;
  let isSilent = false;
  const end = () => {
    isOver = true;
    clearTimeout(timer);
    passage.free();
  };
  const close = (controller, lastWords) => {
    if (lastWords.byteLength > 0) controller.enqueue(lastWords);
    controller.close();
    end();
  };
  const next = async (controller) => {
    for (;;) {
      let chunk;
      asked = Date.now();
      try {
        chunk = await reader.read();
      } catch (error) {
        if (isOver) return;
        const lastWords = isSilent ? passage.silent() : passage.broken();
        if (!lastWords) throw error;
        close(controller, lastWords);
        return;
      }
      if (isOver) return;
      asked = undefined;
      heard = Date.now();
      if (isSilent) {
        const lastWords = passage.silent();
        if (!lastWords) throw new Error("the upstream sent nothing for too long");
        close(controller, lastWords);
        return;
      }
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
  const watch = (controller) => {
    const now = Date.now();
    const idle = asked === undefined ? idleAfter : asked + idleAfter - now;
    let quiet = pingAfter > 0 ? heard + pingAfter - now : idle;
    // An upstream that has said its last word needs no more time.
    if (idle <= 0 || (quiet <= 0 && passage.is_over())) {
      isSilent = idle <= 0 && !passage.is_over();
      reader.cancel().catch(() => {});
      return;
    }
    if (quiet <= 0) {
      // Who doesn't read needs no signs of life.
      const sign = controller.desiredSize >= AHEAD && passage.ping();
      if (sign) controller.enqueue(sign);
      heard = now;
      quiet = pingAfter;
    }
    timer = setTimeout(watch, Math.min(quiet, idle), controller);
  };
  return new ReadableStream(
    {
      start(controller) {
        timer = setTimeout(watch, pingAfter > 0 ? Math.min(pingAfter, idleAfter) : idleAfter, controller);
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
    { highWaterMark: AHEAD, size: (chunk) => chunk.byteLength + CHUNK },
  );
}

/**
 * What is in `bytes` of this encoding; `null` where that is more than `most` bytes, `undefined` where it is in
 * no such encoding. The runtime's streams know no zstd, and would have to be stopped by hand.
 */
export async function decoded(bytes, encoding, most) {
  const zlib = await globalThis.loadZlib();
  const decoders = {
    gzip: zlib.gunzipSync,
    "x-gzip": zlib.gunzipSync,
    br: zlib.brotliDecompressSync,
    deflate: zlib.inflateSync,
    zstd: zlib.zstdDecompressSync,
  };
  try {
    const read = decoders[encoding](bytes, { maxOutputLength: most });
    return new Uint8Array(read.buffer, read.byteOffset, read.byteLength);
  } catch (error) {
    return error instanceof RangeError ? null : undefined;
  }
}

// How far a body has been read: `body::Progress` has the same numbers.
const MORE = 0;
const WHOLE = 1;
const LATE = 2;
const LEFT = 3;
const TOO_LARGE = 4;

// A body that comes more slowly than this, in bytes a millisecond, is late: 32 KB a second.
const PACE = 32.768;

/** A request's body on its way in, read no further than is asked for. */
export class Upload {
  #reader;
  #declared;
  #most;
  #timeout;
  #silence;
  #waited = 0;
  #size = 0;
  #chunks = [];
  #progress = MORE;
  #isWaiting = false;
  #heard = Date.now();
  #end;
  #tellEnd;

  constructor(body, declared, most, timeout, silence) {
    this.#reader = body.getReader();
    this.#declared = declared;
    this.#most = most;
    this.#timeout = timeout;
    this.#silence = silence;
    this.#end = new Promise((resolve) => (this.#tellEnd = resolve));
  }

  get isBegun() {
    return this.#size > 0;
  }

  /** For how many ms the upstream has wanted nothing more of a stream that isn't at its end. */
  get refusedFor() {
    const isRefused = this.#progress === MORE && !this.#isWaiting;
    return isRefused ? Date.now() - this.#heard : 0;
  }

  /** Reads until there are more than `length` bytes, or to the end; says how far that is. */
  async read(length) {
    while (this.#progress === MORE && this.#size <= length) {
      const chunk = await this.#next();
      if (chunk) this.#chunks.push(chunk);
    }
    return this.#progress;
  }

  /** All that was read, as one. */
  bytes() {
    if (this.#chunks.length === 1) return this.#chunks[0];
    const bytes = new Uint8Array(this.#size);
    let at = 0;
    for (const chunk of this.#chunks) {
      bytes.set(chunk, at);
      at += chunk.byteLength;
    }
    this.#chunks = [bytes];
    return bytes;
  }

  /** What was read, then the rest. One that can't go on stands still. */
  stream() {
    const pull = async (controller) => {
      const chunk = this.#chunks.shift() ?? (await this.#next());
      if (chunk) {
        controller.enqueue(chunk);
        return;
      }
      this.#tellEnd(this.#progress);
      if (this.#progress === WHOLE) controller.close();
      else await new Promise(() => {});
    };
    const cancel = (reason) => this.#reader.cancel(reason);
    const stream = new ReadableStream({ pull, cancel }, { highWaterMark: 0 });
    if (this.#declared < 0) return stream;
    const { readable, writable } = new FixedLengthStream(this.#declared);
    // Where the exchange is aborted there is nobody left to tell.
    stream.pipeTo(writable).catch(() => {});
    return readable;
  }

  ended() {
    return this.#end;
  }

  /** The next chunk; nothing where there is none, and `#progress` says why. */
  async #next() {
    if (this.#progress !== MORE) return undefined;
    const since = Date.now();
    const left = this.#timeout + this.#size / PACE - this.#waited;
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, Math.max(0, Math.min(this.#silence, left)), LATE);
    });
    this.#isWaiting = true;
    let next;
    try {
      next = await Promise.race([this.#reader.read(), late]);
    } catch {
      next = LEFT;
    }
    clearTimeout(timer);
    this.#isWaiting = false;
    this.#heard = Date.now();
    // Only what the sender takes counts, not what the upstream does.
    this.#waited += this.#heard - since;
    if (next === LATE || next === LEFT) {
      this.#progress = next;
      return undefined;
    }
    if (next.done) {
      this.#progress = WHOLE;
      return undefined;
    }
    this.#size += next.value.byteLength;
    if (this.#size > this.#most) {
      this.#progress = TOO_LARGE;
      return undefined;
    }
    // The runtime holds its sender to the length that it declared.
    if (this.#size === this.#declared) this.#progress = WHOLE;
    return next.value;
  }
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
