// What all scripts have in common that run Workers on workerd by way of Miniflare's own interface.
//
// Requests go straight from the socket to the Worker, and from the Worker straight to the network:
// Miniflare's own Workers, which every request of `wrangler dev` passes through, are not in the path.

import childProcess from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

let runtime;
let stopping = false;

// Ends workerd and this process.
export function stop(code) {
  if (stopping) return;
  stopping = true;
  runtime?.kill("SIGKILL");
  process.exit(code);
}

process.on("SIGINT", () => stop(0));
process.on("SIGTERM", () => stop(0));

// Miniflare lets each fetch of a Worker pass through a Worker of its own, which does nothing for us
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

// Runs one Worker that listens on this port itself, its state in this folder; `died` hears of workerd's
// end. The Worker is described as for Miniflare 4.
export async function start({ state, port, entrypoint = "default", died }, worker) {
  // Miniflare starts workerd again when it dies, which would hide a crash. We hold on to the process.
  const spawn = childProcess.spawn;
  childProcess.spawn = (command, ...rest) => {
    const child = spawn(command, ...rest);
    if (rest[0]?.includes("serve")) {
      runtime = child;
      child.once("exit", (code, signal) => {
        if (!stopping) died({ code, signal });
        stop(1);
      });
    }
    return child;
  };
  const { CORE_PLUGIN, Miniflare, convertV4MiniflareOptions, Log, LogLevel } = await import("miniflare");
  fetchDirectly(CORE_PLUGIN);
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      log: new Log(LogLevel.WARN),
      telemetry: { enabled: false },
      handleStructuredLogs: ({ message }) => process.stderr.write(`${message}\n`),
      resourcePersistencePath: state,
      workers: [
        {
          ...worker,
          modulesRoot: "/",
          stripCfConnectingIp: false,
          unsafeDirectSockets: [{ host: "127.0.0.1", port, entrypoint }],
        },
      ],
    }),
  );
  await miniflare.ready;
  const { origin } = await miniflare.unsafeGetDirectURL(worker.name, entrypoint);
  return { miniflare, origin, pid: runtime.pid };
}

// Miniflare forgets in the runtime what a call there is about as soon as our end of it is garbage, even
// while the call is under way, which then fails with "false == true". What is here is never garbage.
const held = [];

function hold(proxy) {
  held.push(proxy);
  return proxy;
}

// The table is the one that `wrangler d1 migrations` keeps, so that both tools agree on what is done.
export async function migrate(database, folder, told) {
  hold(database);
  const prepare = (sql) => hold(database.prepare(sql));
  await prepare(
    "create table if not exists d1_migrations (id integer primary key autoincrement, " +
      "name text unique, applied_at timestamp default current_timestamp not null)",
  ).run();
  const { results } = await prepare("select name from d1_migrations").all();
  const done = new Set(results.map((row) => row.name));
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(".sql") && !done.has(name))
    .sort();
  for (const name of names) {
    await database.batch([
      prepare(readFileSync(join(folder, name), "utf8")),
      hold(prepare("insert into d1_migrations (name) values (?)").bind(name)),
    ]);
    told(name);
  }
}
