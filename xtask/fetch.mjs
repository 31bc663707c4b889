// Sends one HTTP request for `cargo xtask deploy`: reads it as JSON from standard input, and prints the
// answer as JSON. What could not be sent is a `problem`, in words.

import { text } from "node:stream/consumers";

const { method, url, headers, body } = JSON.parse(await text(process.stdin));

const causeOf = (error) => error.cause?.code ?? error.cause?.message ?? error.message;

try {
  const answer = await fetch(url, {
    method,
    headers,
    body,
    redirect: "manual",
    signal: AbortSignal.timeout(60_000),
  });
  const request_id = answer.headers.get("x-request-id");
  console.log(JSON.stringify({ status: answer.status, request_id, body: await answer.text() }));
} catch (error) {
  console.log(JSON.stringify({ problem: causeOf(error) }));
}
