// Stripe's own SDK signs an event in several ways; the gateway believes those that it should.
import assert from "node:assert/strict";
import Stripe from "stripe";

const { GATEWAY_URL, SECRET, OTHER_SECRET, EVENT: payload } = process.env;
const stripe = new Stripe("sk_test_unused");
const now = Math.floor(Date.now() / 1000);
const sign = (secret, timestamp = now) =>
  stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });

async function expect(step, header, status) {
  const response = await fetch(`${GATEWAY_URL}/webhook/stripe`, {
    method: "POST",
    headers: { "content-type": "application/json; charset=utf-8", "stripe-signature": header },
    body: payload,
  });
  assert.equal(response.status, status, `${step}: ${await response.text()}`);
  console.log(`ok ${step}`);
}

// What the SDK itself would take, the gateway takes, and the other way round.
assert.throws(() => stripe.webhooks.constructEvent(payload, sign("whsec_another"), SECRET));
await expect("refused", sign("whsec_another"), 400);
assert.throws(() => stripe.webhooks.constructEvent(payload, sign(SECRET, now - 310), SECRET));
await expect("too old", sign(SECRET, now - 310), 400);
assert.equal(stripe.webhooks.constructEvent(payload, sign(SECRET), SECRET).object, "event");
await expect("signed", sign(SECRET), 200);
await expect("signed twice", `${sign("whsec_another")},${sign(SECRET).split(",")[1]}`, 200);
await expect("rolled", sign(OTHER_SECRET), 200);
