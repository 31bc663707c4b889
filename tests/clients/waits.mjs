// Two requests a minute are allowed; the third is refused, and the SDK waits by itself.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: `${process.env.GATEWAY_URL}/v1`,
  apiKey: "sk-node",
  defaultHeaders: { "X-User-ID": process.env.GATEWAY_USER },
  defaultQuery: { script: process.env.SCRIPT },
});
const ask = () => client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "hi" }] });

await ask();
await ask();
// The SDK waits for no longer than a minute, and a full minute is already too long for it.
await new Promise((resolve) => setTimeout(resolve, 2000));
const began = performance.now();
assert.equal((await ask()).choices[0].message.content, "at last");
const seconds = (performance.now() - began) / 1000;
assert.ok(seconds > 50 && seconds < 62, `${seconds} s`);
console.log("ok waited");
