// One tile a user. Tiles stay where they are: they are in the order of USER_IDs, whatever happens.
import { useMemo, useRef, useState } from "preact/hooks";
import { count } from "../numbers.js";
import { StateShape } from "../parts/icons.jsx";
import { userLink } from "../routes.js";
import { gatewayNow, span, useTick } from "../time.jsx";
import { NEEDS_HELP, STATES } from "../words.js";

/** From so many users on, tiles are small: a shape and a name. */
const CROWD = 150;

/** As people count: `guest-2` is before `guest-10`. */
const order = new Intl.Collator("en", { numeric: true });

export function Tiles({ users, filter, showAll }) {
  const grid = useRef(null);
  const [current, setCurrent] = useState(null);
  const shown = useMemo(() => {
    const chosen = filter ? users.filter(({ state }) => state === filter) : [...users];
    return chosen.sort((one, other) => order.compare(one.user_id, other.user_id));
  }, [users, filter]);
  if (shown.length === 0) {
    return (
      <p class="nobody">
        {filter
          ? `Nobody is ${STATES[filter]} right now. `
          : "People appear here once they are on the roster, or with their first request. "}
        {filter ? (
          <button type="button" class="button is-link" onClick={showAll}>
            Show everybody
          </button>
        ) : (
          <a href="#/roster">Import a roster</a>
        )}
      </p>
    );
  }
  // One stop of the Tab key for all of them; arrows go from tile to tile.
  const stop = shown.some(({ user_id: id }) => id === current) ? current : shown[0].user_id;
  return (
    <ul
      ref={grid}
      class={`tiles ${users.length > CROWD ? "is-crowd" : ""}`}
      aria-label="Everybody, by USER_ID. Arrow keys go from one to the next."
      onKeyDown={(event) => move(event, grid.current)}
    >
      {shown.map((user) => (
        <Tile
          key={user.user_id}
          user={user}
          isStop={user.user_id === stop}
          onFocus={() => setCurrent(user.user_id)}
        />
      ))}
    </ul>
  );
}

function Tile({ user, isStop, onFocus }) {
  const { user_id: id, name, state, reason, requests } = user;
  return useMemo(
    () => (
      <li>
        <a
          class={`tile is-${state}`}
          href={userLink(id)}
          tabIndex={isStop ? 0 : -1}
          onFocus={onFocus}
          data-user={id}
          data-state={state}
        >
          <StateShape state={state} />
          <b class="tile-id">{id}</b>
          <span class="unseen">
            {name && `, ${name}`}: {STATES[state]}. {reason}
          </span>
          <span class="tile-why" aria-hidden="true">
            <InShort user={user} />
          </span>
          <span class="tile-peek" aria-hidden="true">
            <b>{name ? `${id}, ${name}` : id}</b>
            {reason}
          </span>
        </a>
      </li>
    ),
    [id, name, state, reason, requests, user.last_seen, isStop],
  );
}

/** The reason, as short as it can be where all is well. */
function InShort({ user: { state, reason, requests, last_seen: lastSeen } }) {
  if (NEEDS_HELP.includes(state) || state === "blocked") return reason;
  if (state === "working") return `${count(requests)} in 5 min`;
  if (state === "quiet" && lastSeen) return <Since at={lastSeen} />;
  return STATES[state];
}

function Since({ at }) {
  useTick(10_000);
  return `quiet for ${span(gatewayNow() - Date.parse(at))}`;
}

function move(event, grid) {
  const tiles = [...grid.querySelectorAll(".tile")];
  const at = tiles.indexOf(document.activeElement);
  if (at < 0) return;
  const top = (tile) => Math.round(tile.getBoundingClientRect().top);
  const first = top(tiles[0]);
  const inRow = Math.max(1, tiles.filter((tile) => top(tile) === first).length);
  const steps = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + inRow,
    ArrowUp: at - inRow,
    Home: 0,
    End: tiles.length - 1,
  };
  const next = tiles[steps[event.key]];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
