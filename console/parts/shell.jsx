// What is around every page: where one can go, the search, and how good the connection is.
import { useEffect, useState } from "preact/hooks";
import { live } from "../live.js";
import { session, signOut } from "../session.js";
import { useStore } from "../store.js";
import { switchTheme, theme } from "../theme.js";
import { clockOf, gatewayNow, shortClockOf, span, useTick } from "../time.jsx";
import { NEEDS_HELP } from "../words.js";
import { announce } from "./announce.jsx";
import { Icon } from "./icons.jsx";
import { Search } from "./search.jsx";

const PLACES = [
  ["room", "Room", "#/"],
  ["people", "People", "#/people"],
  ["notes", "Notes", "#/notes"],
  ["roster", "Roster", "#/roster"],
  ["record", "Record", "#/record"],
];

/** Before the end of a sign-in, in ms, it is said that it is near. */
const END_IS_NEAR = 10 * 60_000;

export function Shell({ page, children }) {
  const { overview } = useStore(live);
  const inNeed = overview?.users.filter(({ state }) => NEEDS_HELP.includes(state)).length ?? 0;
  const here = page === "user" ? "people" : page;
  const name = PLACES.find(([place]) => place === here)[1];
  useEffect(() => {
    document.title = `${inNeed > 0 ? `${inNeed} need${inNeed === 1 ? "s" : ""} help · ` : ""}${name}`;
  }, [inNeed, name]);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={skip}>
        Skip to the page
      </a>
      <header class="bar">
        <a class="brand" href="#/" aria-label="organized-gateway: the room">
          <img src="/operator/assets/icon.svg" alt="" width="26" height="26" />
        </a>
        <nav class="places" aria-label="Pages">
          {PLACES.map(([place, label, link]) => (
            <a key={place} href={link} class="place" aria-current={here === place ? "page" : undefined}>
              <Icon name={place} size={18} />
              <span>{label}</span>
              {place === "notes" && overview?.notes > 0 && (
                <b class="badge">
                  {overview.notes}
                  <span class="unseen"> waiting</span>
                </b>
              )}
            </a>
          ))}
        </nav>
        <Search />
        <Connection page={page} />
        <ThemeSwitch />
        <Leave />
      </header>
      <Loss />
      <SessionEnd />
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

/** The address after the # is the page's, so the browser's own way can't be used. */
function skip(event) {
  event.preventDefault();
  document.querySelector("#main").focus();
}

/** An answer that is older than these, in ms, says how old it is. */
const FRESH = { room: 5000, elsewhere: 12_000 };

function Connection({ page }) {
  useTick(1000);
  const { answeredAt, lost } = useStore(live);
  const age = answeredAt === null ? null : performance.now() - answeredAt;
  const text = lost
    ? "Lost"
    : age === null
      ? "Asking"
      : age < (FRESH[page] ?? FRESH.elsewhere)
        ? "Live"
        : span(age);
  return (
    <span
      class={`connection ${lost ? "is-lost" : ""}`}
      title={lost ? lost.problem : "How old what you see is"}
    >
      <i class="dot" />
      {text}
    </span>
  );
}

/** Says that the connection is lost, and since when. */
function Loss() {
  useTick(1000);
  const { lost } = useStore(live);
  if (!lost) return null;
  return (
    <p class="strip is-warning" data-lost>
      <strong>Connection lost at {clockOf(lost.since)}</strong>, {span(gatewayNow() - lost.since)} ago.{" "}
      {lost.problem} {lost.hadAnswer && "What you see is from then. "}
      It is tried again every few seconds.
    </p>
  );
}

function SessionEnd() {
  useTick(15_000);
  const { expiresAt } = useStore(session);
  if (!expiresAt || Date.parse(expiresAt) - gatewayNow() > END_IS_NEAR) return null;
  return (
    <p class="strip">
      Your sign-in ends at {shortClockOf(expiresAt)}. You will be asked for the token again and stay on this
      page.
    </p>
  );
}

const THEMES = { system: ["half", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

function ThemeSwitch() {
  const { chosen } = useStore(theme);
  const [icon, words] = THEMES[chosen];
  const label = `Colours: ${words}. Switch.`;
  return (
    <button type="button" class="button is-bare" aria-label={label} title={label} onClick={switchTheme}>
      <Icon name={icon} size={18} />
    </button>
  );
}

function Leave() {
  const { operator, expiresAt } = useStore(session);
  const [isBusy, setBusy] = useState(false);
  if (!expiresAt) {
    return (
      <span class="operator" title={`Cloudflare Access let you in as ${operator}`}>
        {operator}
      </span>
    );
  }
  const leave = async () => {
    setBusy(true);
    try {
      await signOut();
    } catch (problem) {
      setBusy(false);
      announce(`You are still signed in. ${problem.message}`);
    }
  };
  return (
    <button
      type="button"
      class="button is-bare"
      aria-label="Sign out"
      title="Sign out"
      onClick={leave}
      disabled={isBusy}
    >
      <Icon name="out" size={18} />
    </button>
  );
}
