// What a client does with the official SDK, against the echo model behind the gateway.
import assert from "node:assert/strict";
import OpenAI from "openai";

const { GATEWAY_URL, GATEWAY_KEY, SPENT_KEY, SCRIPTED_URL, SCRIPTED_USER, BROKEN_SCRIPT } = process.env;
const client = new OpenAI({
  baseURL: `${GATEWAY_URL}/v1`,
  apiKey: "sk-node",
  defaultHeaders: { "X-Gateway-Key": GATEWAY_KEY },
  maxRetries: 0,
});
const ask = (content, more = {}) => ({ model: "echo", messages: [{ role: "user", content }], ...more });

async function step(name, run) {
  await run();
  console.log(`ok ${name}`);
}

async function streamed(content, more = {}) {
  let text = "";
  let last;
  for await (const chunk of await client.chat.completions.create(ask(content, { stream: true, ...more }))) {
    text += chunk.choices[0]?.delta?.content ?? "";
    last = chunk;
  }
  return { text, last };
}

await step("models", async () => {
  const models = await client.models.list();
  assert.deepEqual(
    models.data.map((model) => model.id),
    ["echo"],
  );
  assert.equal((await client.models.retrieve("echo")).id, "echo");
});

await step("chat", async () => {
  const completion = await client.chat.completions.create(ask("Hello from Node"));
  assert.equal(completion.choices[0].message.content, "Hello from Node");
  assert.equal(completion.usage.total_tokens, 8);
});

await step("stream", async () => {
  const { text, last } = await streamed("one two three");
  assert.equal(text, "one two three");
  assert.equal(last.choices.length, 1, "no chunk that nobody asked for");
  const asked = await streamed("one two", { stream_options: { include_usage: true } });
  assert.equal(asked.last.usage.total_tokens, 4);
});

await step("parallel streams", async () => {
  const texts = Array.from({ length: 8 }, (_, number) => `stream ${number} ${"word ".repeat(10)}`);
  const streams = await Promise.all(texts.map((text) => streamed(text)));
  assert.deepEqual(
    streams.map((stream) => stream.text),
    texts,
  );
});

await step("responses", async () => {
  const response = await client.responses.create({ model: "echo", input: "Hello again" });
  assert.equal(response.output_text, "Hello again");
  assert.equal(response.status, "completed");
});

await step("responses stream", async () => {
  const stream = client.responses.stream({ model: "echo", input: "a stream of events" });
  const kinds = new Set();
  for await (const event of stream) kinds.add(event.type);
  assert.ok(kinds.has("response.created") && kinds.has("response.output_text.delta"));
  assert.equal((await stream.finalResponse()).output_text, "a stream of events");
});

await step("embeddings", async () => {
  const { data } = await client.embeddings.create({ model: "echo", input: ["one", "two"] });
  assert.equal(data.length, 2);
  assert.equal(data[0].embedding.length, 64);
  const length = Math.hypot(...data[0].embedding);
  assert.ok(Math.abs(length - 1) < 1e-5, `${length}`);
});

await step("user in the base URL", async () => {
  const named = client.withOptions({ baseURL: `${GATEWAY_URL}/u/ada/v1` });
  assert.equal((await named.models.list()).data.length, 1);
});

async function rejects(call, kind, status, code) {
  const error = await call.then(
    () => assert.fail(`no ${code}`),
    (error) => error,
  );
  assert.ok(error instanceof kind, `${error}`);
  assert.equal(error.status, status);
  assert.equal(error.code, code);
  assert.ok(error.requestID || status === 400, "an id to ask the operator about");
}

await step("typed errors", async () => {
  const withHeaders = (headers) => client.withOptions({ defaultHeaders: headers });
  const wrong = GATEWAY_KEY.slice(0, -4) + "AAAA";
  await rejects(
    withHeaders({ "X-Gateway-Key": wrong }).models.list(),
    OpenAI.AuthenticationError,
    401,
    "invalid_key",
  );
  const spent = withHeaders({ "X-Gateway-Key": SPENT_KEY });
  await rejects(spent.chat.completions.create(ask("x")), OpenAI.RateLimitError, 429, "rate_limit_exceeded");
  const project = withHeaders({ "X-Gateway-Key": GATEWAY_KEY, "X-Project-ID": "a b" });
  await rejects(project.models.list(), OpenAI.BadRequestError, 400, "invalid_project_id");
  await rejects(client.models.retrieve("none"), OpenAI.NotFoundError, 404, "model_not_found");
});

await step("request id", async () => {
  const completion = await client.chat.completions.create(ask("x"));
  assert.ok(completion._request_id?.length >= 16, completion._request_id);
});

await step("broken stream", async () => {
  const scripted = new OpenAI({
    baseURL: `${SCRIPTED_URL}/v1`,
    apiKey: "sk-node",
    defaultHeaders: { "X-User-ID": SCRIPTED_USER },
    defaultQuery: { script: BROKEN_SCRIPT },
    maxRetries: 0,
  });
  let text = "";
  const read = async () => {
    for await (const chunk of await scripted.chat.completions.create(ask("x", { stream: true }))) {
      text += chunk.choices[0].delta.content;
    }
  };
  const error = await read().then(
    () => assert.fail("an end as if all were well"),
    (error) => error,
  );
  assert.ok(error instanceof OpenAI.APIError, `${error}`);
  assert.equal(error.code, "upstream_interrupted");
  assert.equal(text, "Hel");
});
