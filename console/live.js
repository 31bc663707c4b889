// The room, kept up to date: one request each time, which costs one query of the database.
import * as api from "./api.js";
import { gatewayNow, synchronize } from "./time.jsx";
import { createStore } from "./store.js";
import { announce } from "./parts/announce.jsx";
import { NEEDS_HELP } from "./words.js";
import { plural } from "./numbers.js";

/** How often, in ms: where the room is looked at, where another page is, and where nobody looks. */
const PERIOD = { room: 2000, elsewhere: 8000, hidden: 30_000 };
/** How long to wait where there was no answer; the last one from then on. */
const RETRIES = [1000, 2000, 3000, 5000];
/** After so long without an answer the connection is lost. */
const PATIENCE = 6000;
/** Minutes that a first answer brings, and that each later one does. */
const PAST = 60;
const LATEST = 3;

/** What is known of the room. `lost` is `{since, problem}` while there is no connection. */
export const live = createStore({ overview: null, minutes: [], answeredAt: null, lost: null });

let page = "room";
let timer = null;
let running = null;
let failures = 0;
const byMinute = new Map();

/** Says which page is looked at, so that the room is asked about as often as that takes. */
export function lookAt(name) {
  page = name === "room" ? "room" : "elsewhere";
  if (running) schedule();
}

/** Begins to ask, until what it returns is called. */
export function start() {
  running = new AbortController();
  const { signal } = running;
  const now = () => refresh();
  document.addEventListener("visibilitychange", () => document.hidden || now(), { signal });
  window.addEventListener("online", now, { signal });
  now();
  return () => {
    running.abort();
    running = null;
    clearTimeout(timer);
    byMinute.clear();
    live.set({ overview: null, minutes: [], answeredAt: null, lost: null });
  };
}

let asking = false;

/** Asks now. */
export async function refresh() {
  if (!running || asking) return;
  asking = true;
  clearTimeout(timer);
  const { signal } = running;
  try {
    take(await api.ask("GET", `/overview?minutes=${missingMinutes()}`, { signal, patience: PATIENCE }));
  } catch (problem) {
    if (!signal.aborted && problem.status !== 401) fail(problem);
  } finally {
    asking = false;
    if (running) schedule();
  }
}

function missingMinutes() {
  const { answeredAt } = live.get();
  const passed = answeredAt === null ? Infinity : performance.now() - answeredAt;
  return passed < (LATEST - 1) * 60_000 ? LATEST : PAST;
}

function take(overview) {
  const before = live.get();
  synchronize(overview.now);
  for (const minute of overview.minutes) byMinute.set(Date.parse(minute.minute) / 1000, minute);
  const last = Math.floor(gatewayNow() / 60_000) * 60;
  for (const minute of byMinute.keys()) if (minute <= last - PAST * 60) byMinute.delete(minute);
  const minutes = Array.from({ length: PAST }, (_, index) => {
    const at = last - (PAST - 1 - index) * 60;
    const { requests = 0, limited = 0, failed = 0, tokens = 0 } = byMinute.get(at) ?? {};
    return { at, requests, limited, failed, tokens };
  });
  failures = 0;
  if (before.lost) announce("The connection is back.");
  tellOfNews(before.overview, overview);
  live.set({ overview, minutes, answeredAt: performance.now(), lost: null });
}

function fail(problem) {
  const { lost, answeredAt } = live.get();
  failures += 1;
  if (lost) {
    live.set({ lost: { ...lost, problem: problem.message } });
    return;
  }
  announce(`The connection is lost: ${problem.message}`);
  live.set({
    lost: { since: gatewayNow(), problem: problem.message, hadAnswer: answeredAt !== null },
  });
}

function schedule() {
  clearTimeout(timer);
  const { lost } = live.get();
  const period = document.hidden ? PERIOD.hidden : PERIOD[page];
  const wait = lost ? RETRIES[Math.min(failures, RETRIES.length) - 1] : period;
  timer = setTimeout(refresh, wait);
}

const helpless = (overview) => overview.users.filter(({ state }) => NEEDS_HELP.includes(state));

/** Says aloud who needs help now and didn't before. */
function tellOfNews(before, overview) {
  if (!before) return;
  const known = new Set(helpless(before).map((user) => user.user_id));
  const fresh = helpless(overview).filter((user) => !known.has(user.user_id));
  if (fresh.length === 1) announce(`${fresh[0].user_id} needs help. ${fresh[0].reason}`, "quietly");
  else if (fresh.length > 1)
    announce(`${plural(fresh.length, "more person", "more people")} need help.`, "quietly");
}
