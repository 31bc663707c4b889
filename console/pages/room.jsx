// The room at a glance.
import { useState } from "preact/hooks";
import { live } from "../live.js";
import { count, plural } from "../numbers.js";
import { MinutePlot } from "../parts/plot.jsx";
import { StateShape } from "../parts/icons.jsx";
import { useStore } from "../store.js";
import { NEEDS_HELP, STATES } from "../words.js";
import { NeedsHelp } from "./needs-help.jsx";
import { Errors, Latency, Upstreams } from "./pulse.jsx";
import { Tiles } from "./tiles.jsx";

const REQUESTS = [
  { label: "Requests", color: "--plot-answered", value: ({ requests }) => requests },
  {
    label: "limited",
    name: "limited",
    color: "--plot-limited",
    value: ({ limited, failed }) => limited + failed,
    own: ({ limited }) => limited,
  },
  {
    label: "failed",
    name: "failing",
    color: "--failing",
    value: ({ failed }) => failed,
    own: ({ failed }) => failed,
  },
];
const TOKENS = [{ label: "Tokens", color: "--plot-tokens", value: ({ tokens }) => tokens }];

// Kept while another page is looked at.
let keptFilter = null;

export function RoomPage() {
  const { overview, minutes } = useStore(live);
  const [filter, setFilter] = useState(keptFilter);
  if (!overview) return <Waiting />;
  const choose = (state) => {
    keptFilter = state === filter ? null : state;
    setFilter(keptFilter);
  };
  const { people, users, lately, upstreams } = overview;
  const inNeed = users.filter(({ state }) => NEEDS_HELP.includes(state));
  return (
    <div class="room">
      <section class="room-main">
        <h1 tabIndex={-1} class="headline">
          <Headline people={people} inNeed={inNeed.length} />
        </h1>
        <NeedsHelp users={inNeed} />
        <div class="counts" role="group" aria-label="Show only">
          {Object.entries(STATES).map(([state, words]) => (
            <button
              type="button"
              key={state}
              class={`count is-${state}`}
              aria-pressed={filter === state}
              onClick={() => choose(state)}
            >
              <StateShape state={state} />
              <b>{count(people[state])}</b>
              <span>{words}</span>
            </button>
          ))}
        </div>
        <Tiles users={users} filter={filter} showAll={() => choose(filter)} />
        {!overview.is_complete && (
          <p class="is-quiet">
            There are more than {plural(users.length, "person", "people")}: the others are on the{" "}
            <a href="#/people">page of people</a>.
          </p>
        )}
      </section>
      <aside class="pulse" aria-label="How the room does">
        <div class="card">
          <MinutePlot title="Requests a minute" unit="requests" minutes={minutes} layers={REQUESTS} />
          <MinutePlot title="Tokens a minute" unit="tokens" minutes={minutes} layers={TOKENS} />
        </div>
        <Latency lately={lately} />
        <Errors lately={lately} />
        <Upstreams upstreams={upstreams} />
      </aside>
    </div>
  );
}

function Headline({ people, inNeed }) {
  const seen = people.total - people.never_seen;
  if (people.total === 0) return "Nobody is here yet.";
  const working = `${count(people.working)} of ${count(people.total)} working`;
  if (inNeed > 0) {
    return (
      <>
        {working}, <mark>{inNeed === 1 ? "1 needs help" : `${count(inNeed)} need help`}</mark>
      </>
    );
  }
  return seen === 0 ? `${count(people.total)} expected, nobody seen yet` : `${working}, nobody needs help`;
}

function Waiting() {
  const { lost } = useStore(live);
  return (
    <h1 tabIndex={-1} class="waiting">
      {lost ? "The room can't be seen yet." : "One moment …"}
    </h1>
  );
}
