// Runs one of the Workers beside this script, in the gateway's runtime and by the gateway's way to it
// (xtask/workerd.mjs). Its one argument says in JSON which, where its state is, and what its variables
// are. Prints `ready URL`, and ends when its standard input closes.

import { readFileSync } from "node:fs";

import { migrate, start, stop } from "../../xtask/workerd.mjs";

const { worker, state, variables } = JSON.parse(process.argv[2]);
const here = import.meta.dirname;

// The other one keeps nothing.
const isStateful = worker === "original";

const { miniflare, origin } = await start(
  { state, port: 0, died: (how) => process.stderr.write(`workerd ended: ${JSON.stringify(how)}\n`) },
  {
    name: worker,
    modules: [
      { type: "ESModule", path: "worker.mjs", contents: readFileSync(`${here}/${worker}.mjs`, "utf8") },
    ],
    // The gateway's own.
    compatibilityDate: /^compatibility_date = "(.*)"$/m.exec(
      readFileSync(`${here}/../../wrangler.toml`, "utf8"),
    )[1],
    bindings: variables,
    ...(isStateful && { kvNamespaces: { COUNTS: "counts" }, d1Databases: { DB: "database" } }),
  },
);
if (isStateful) {
  await migrate(await miniflare.getD1Database("DB"), here, () => {});
}
process.stdin.once("close", () => stop(0)).resume();
process.stdout.write(`ready ${origin}\n`);
