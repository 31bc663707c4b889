// Runs the built Worker on workerd, by way of Miniflare's own interface. `cargo xtask serve` starts
// this script, writes one line of JSON to its standard input, and reads lines of JSON from its
// standard output; the Worker's log lines go to standard error.
//
// Requests go straight from the socket to the Worker, and from the Worker straight to the network:
// Miniflare's own Workers, which every request of `wrangler dev` passes through, are not in the path.
//
// When standard input closes, the one who started this is gone: the runtime ends with it.

import childProcess from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

// The class of src/entry.mjs that answers requests.
const ENTRYPOINT = "Gateway";

const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

let runtime;
let stopping = false;

function stop(code) {
  if (stopping) return;
  stopping = true;
  runtime?.kill("SIGKILL");
  process.exit(code);
}

// Miniflare starts workerd again when it dies, which would hide a crash. We hold on to the process.
const spawn = childProcess.spawn;
childProcess.spawn = (command, ...rest) => {
  const child = spawn(command, ...rest);
  if (rest[0]?.includes("serve")) {
    runtime = child;
    child.once("exit", (code, signal) => {
      if (!stopping) say({ event: "died", code, signal });
      stop(1);
    });
  }
  return child;
};

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

// Miniflare lets each fetch of the Worker pass through a Worker of its own, which does nothing for us
// and costs half as much again as the fetch.
function fetchDirectly(plugin) {
  const getServices = plugin.getServices;
  plugin.getServices = async (options) => {
    const found = await getServices.call(plugin, options);
    for (const { worker } of found?.services ?? found ?? []) {
      if (worker?.globalOutbound?.name.startsWith("outbound:")) {
        worker.globalOutbound = { name: "internet" };
      }
    }
    return found;
  };
}

// The table is the one that `wrangler d1 migrations` keeps, so that both tools agree on what is done.
async function migrate(database, folder) {
  await database
    .prepare(
      "create table if not exists d1_migrations (id integer primary key autoincrement, " +
        "name text unique, applied_at timestamp default current_timestamp not null)",
    )
    .run();
  const { results } = await database.prepare("select name from d1_migrations").all();
  const done = new Set(results.map((row) => row.name));
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(".sql") && !done.has(name))
    .sort();
  for (const name of names) {
    await database.batch([
      database.prepare(readFileSync(join(folder, name), "utf8")),
      database.prepare("insert into d1_migrations (name) values (?)").bind(name),
    ]);
    say({ event: "migrated", name });
  }
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

async function serve(options) {
  const { CORE_PLUGIN, Miniflare, convertV4MiniflareOptions, Log, LogLevel } = await import("miniflare");
  fetchDirectly(CORE_PLUGIN);
  const worker = options.worker;
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      log: new Log(LogLevel.WARN),
      telemetry: { enabled: false },
      handleStructuredLogs: ({ message }) => process.stderr.write(`${message}\n`),
      resourcePersistencePath: options.state,
      workers: [
        {
          name: worker.name,
          modulesRoot: "/",
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
          r2Buckets: Object.fromEntries(
            worker.buckets.map(({ binding, bucket_name }) => [binding, bucket_name]),
          ),
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
          stripCfConnectingIp: false,
          // By name: the default one of a Worker with assets is behind Miniflare's router.
          unsafeDirectSockets: [{ host: "127.0.0.1", port: options.port, entrypoint: ENTRYPOINT }],
        },
      ],
    }),
  );
  await miniflare.ready;
  for (const { binding, migrations_dir } of worker.databases) {
    await migrate(await miniflare.getD1Database(binding), migrations_dir);
  }
  const { origin } = await miniflare.unsafeGetDirectURL(worker.name, ENTRYPOINT);
  const health = await fetch(`${origin}/health`);
  if (health.status !== 200) {
    throw new Error(`GET /health answered ${health.status}: ${await health.text()}`);
  }
  await follow(miniflare, worker);
  say({ event: "ready", url: origin, workerd_pid: runtime.pid });
}

process.on("SIGINT", () => stop(0));
process.on("SIGTERM", () => stop(0));
const lines = createInterface({ input: process.stdin });
lines.once("close", () => stop(0));
lines.once("line", (line) =>
  serve(JSON.parse(line)).catch((error) => {
    say({ event: "failed", message: error?.message ?? String(error) });
    stop(1);
  }),
);
