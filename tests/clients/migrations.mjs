// Applies the migrations, each to a runtime that stands still until this process has collected its
// garbage and Miniflare has told the runtime of it. Wants --expose-gc, and a folder for the state.
// Prints the names of those that were applied.

import { setTimeout as sleep } from "node:timers/promises";

import { migrate, start, stop } from "../../xtask/workerd.mjs";

process.once("uncaughtException", (error) => {
  console.error(error);
  stop(1);
});

const [state, port] = process.argv.slice(2);
// Miniflare gathers for 100 ms what is garbage.
const GATHERING = 300;

const { miniflare, pid } = await start(
  { state, port: Number(port), died: (how) => console.error(how) },
  {
    name: "idle",
    modules: [
      { type: "ESModule", path: "idle.mjs", contents: "export default { fetch: () => new Response() };" },
    ],
    compatibilityDate: "2026-01-01",
    d1Databases: { DB: "db" },
  },
);
const database = await miniflare.getD1Database("DB");
// Asking for a method is a call of its own, which would wait for ever for a runtime that stands still.
await database.batch([database.prepare("select 1")]);
const slow = {
  prepare: (sql) => database.prepare(sql),
  batch: (statements) => {
    process.kill(pid, "SIGSTOP");
    const answer = database.batch(statements);
    collect().finally(() => process.kill(pid, "SIGCONT"));
    return answer;
  },
};

async function collect() {
  for (let round = 0; round < 2; round += 1) {
    await sleep(20);
    globalThis.gc();
  }
  await sleep(GATHERING);
}

await migrate(slow, "migrations", (name) => console.log(name));
stop(0);
