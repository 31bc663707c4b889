// Runs the built Worker on workerd. `cargo xtask serve` starts this script, writes one line of JSON to
// its standard input, and reads lines of JSON from its standard output; the Worker's log lines go to
// standard error. `workerd.mjs` tells how the runtime is started.
//
// When standard input closes, the one who started this is gone: the runtime ends with it.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { damagedIn } from "./databases.mjs";
import { migrate, start, stop } from "./workerd.mjs";

// The class of src/entry.mjs that answers requests. By name: the default one of a Worker with assets is
// behind Miniflare's router.
const ENTRYPOINT = "Gateway";

const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

function modulesOf({ root, build, office }) {
  const text = (path) => readFileSync(path, "utf8");
  const modules = [{ type: "ESModule", path: "src/entry.mjs", contents: text(join(root, "src/entry.mjs")) }];
  // The Worker imports its modules from "../build/…" and "../build-office/…", whichever are served.
  for (const [folder, files] of [
    ["build", build],
    ["build-office", office],
  ]) {
    for (const name of readdirSync(files)) {
      const path = `${folder}/${name}`;
      if (name.endsWith(".js")) {
        modules.push({ type: "ESModule", path, contents: text(join(files, name)) });
      } else if (name.endsWith(".wasm")) {
        modules.push({ type: "CompiledWasm", path, contents: readFileSync(join(files, name)) });
      }
    }
  }
  return modules;
}

// workerd has no scheduler. Here the Worker's turn comes each minute, where its cron is every minute's,
// and else once a day; and at once on SIGUSR2.
async function follow(miniflare, { name, triggers }) {
  const scheduled = await miniflare.getWorker(name);
  const run = async (crons) => {
    for (const cron of crons) {
      await scheduled.scheduled({ cron, scheduledTime: new Date() });
    }
  };
  const complain = (error) => process.stderr.write(`the scheduled work failed: ${error}\n`);
  for (const cron of triggers.crons) {
    const pause = cron === "* * * * *" ? 60_000 : 24 * 3_600_000;
    setInterval(() => run([cron]).catch(complain), pause);
  }
  process.on("SIGUSR2", () => run(triggers.crons).catch(complain));
}

// Ends before anything is written where a database can't be read. D1's are few, and read whole.
function refuseDamage({ state }) {
  const [path] = damagedIn(state, (file) => file.startsWith(join(state, "d1")));
  if (!path) return;
  say({ event: "damaged", path });
  stop(1);
}

async function serve(options) {
  refuseDamage(options);
  const worker = options.worker;
  const died = (how) => say({ event: "died", ...how });
  const { miniflare, origin, pid } = await start(
    { state: options.state, port: options.port, entrypoint: ENTRYPOINT, died },
    {
      name: worker.name,
      modules: modulesOf(options),
      compatibilityDate: worker.compatibility_date,
      compatibilityFlags: worker.compatibility_flags,
      bindings: options.variables,
      durableObjects: Object.fromEntries(
        worker.durable_objects.bindings.map(({ name, class_name }) => [
          name,
          { className: class_name, useSQLite: true },
        ]),
      ),
      d1Databases: Object.fromEntries(
        worker.databases.map(({ binding, database_id }) => [binding, database_id]),
      ),
      r2Buckets: Object.fromEntries(worker.buckets.map(({ binding, bucket_name }) => [binding, bucket_name])),
      assets: {
        directory: worker.assets.directory,
        binding: worker.assets.binding,
        run_worker_first: true,
        routerConfig: { has_user_worker: true },
        assetConfig: {
          html_handling: worker.assets.html_handling,
          not_found_handling: worker.assets.not_found_handling,
        },
      },
    },
  );
  for (const { binding, migrations_dir } of worker.databases) {
    const migrated = (name) => say({ event: "migrated", name });
    await migrate(await miniflare.getD1Database(binding), migrations_dir, migrated);
  }
  const health = await fetch(`${origin}/health`);
  if (health.status !== 200) {
    throw new Error(`GET /health answered ${health.status}: ${await health.text()}`);
  }
  await follow(miniflare, worker);
  say({ event: "ready", url: origin, workerd_pid: pid });
}

const lines = createInterface({ input: process.stdin });
lines.once("close", () => stop(0));
lines.once("line", (line) =>
  serve(JSON.parse(line)).catch((error) => {
    say({ event: "failed", message: error?.message ?? String(error) });
    stop(1);
  }),
);
