// Everybody, with search, sorting and pages.
import { useEffect, useRef, useState } from "preact/hooks";
import { part } from "../api.js";
import { live } from "../live.js";
import { compact, count } from "../numbers.js";
import { Icon, StateShape } from "../parts/icons.jsx";
import { usePolled } from "../polled.js";
import { go, linkTo, userLink } from "../routes.js";
import { useStore } from "../store.js";
import { Ago } from "../time.jsx";
import { STATES, tierInWords } from "../words.js";

const COLUMNS = [
  ["user_id", "Person"],
  ["name", "Name"],
  [null, "Tier"],
  ["-last_seen", "Last seen"],
  ["-requests", "Requests", "is-number"],
  ["-tokens", "Tokens", "is-number"],
];
const LIMIT = 50;
/** So long nothing is typed before it is searched, in ms. */
const PAUSE = 250;

export function PeoplePage({ members: { query = "", sort = "user_id" } }) {
  const [cursors, setCursors] = useState([""]);
  const page = `${query} ${sort}`;
  // Another list begins at its first page.
  useEffect(() => setCursors([""]), [page]);
  const cursor = cursors.at(-1);
  const path = `/users?query=${part(query)}&sort=${part(sort)}&limit=${LIMIT}${cursor ? `&cursor=${part(cursor)}` : ""}`;
  const { answer, problem } = usePolled(path);
  const { overview } = useStore(live);
  const states = new Map(overview?.users.map((user) => [user.user_id, user.state]));
  return (
    <section class="page">
      <div class="page-head">
        <h1 tabIndex={-1}>People</h1>
        <Query query={query} sort={sort} />
        <select
          class="sort"
          aria-label="Sort by"
          value={sort}
          onChange={(event) =>
            go(linkTo("people", { query, sort: event.currentTarget.value }), { replace: true })
          }
        >
          {COLUMNS.filter(([column]) => column).map(([column, words]) => (
            <option key={column} value={column}>
              Sort by: {words}
            </option>
          ))}
        </select>
      </div>
      {problem && <p class="strip is-warning">{problem.message}</p>}
      {answer && answer.users.length === 0 && (
        <p class="nobody">
          {query ? `Nobody's USER_ID, name or email has “${query}” in it.` : "Nobody is known yet."}{" "}
          <a href="#/roster">Import a roster</a>
        </p>
      )}
      {answer && answer.users.length > 0 && (
        <div class="scrolls" tabIndex={0} role="region" aria-label="People">
          <table class="table is-people">
            <thead>
              <tr>
                {COLUMNS.map(([column, words, kind]) => (
                  <Heading key={words} {...{ column, words, kind, query, sort }} />
                ))}
              </tr>
            </thead>
            <tbody>
              {answer.users.map((user) => (
                <Person key={user.user_id} user={user} state={states.get(user.user_id)} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div class="pages">
        <button
          type="button"
          class="button"
          disabled={cursors.length === 1}
          onClick={() => setCursors(cursors.slice(0, -1))}
        >
          Back
        </button>
        <span class="is-quiet">Page {cursors.length}</span>
        <button
          type="button"
          class="button"
          disabled={!answer?.cursor}
          onClick={() => setCursors([...cursors, answer.cursor])}
        >
          Next
        </button>
      </div>
    </section>
  );
}

function Query({ query, sort }) {
  const [text, setText] = useState(query);
  const timer = useRef(null);
  useEffect(() => setText(query), [query]);
  const type = (event) => {
    const typed = event.currentTarget.value;
    setText(typed);
    clearTimeout(timer.current);
    timer.current = setTimeout(
      () => go(linkTo("people", { query: typed.trim(), sort }), { replace: true }),
      PAUSE,
    );
  };
  return (
    <label class="field is-row">
      <span class="unseen">Search by USER_ID, name or email</span>
      <Icon name="search" />
      <input
        type="search"
        value={text}
        onInput={type}
        placeholder="USER_ID, name or email"
        autocomplete="off"
        spellcheck={false}
      />
    </label>
  );
}

function Heading({ column, words, kind, query, sort }) {
  if (!column) {
    return (
      <th scope="col" class={kind}>
        {words}
      </th>
    );
  }
  const isSorted = sort === column;
  const direction = column.startsWith("-") ? "descending" : "ascending";
  return (
    <th scope="col" class={kind} aria-sort={isSorted ? direction : "none"}>
      <button
        type="button"
        class="sorter"
        onClick={() => go(linkTo("people", { query, sort: column }), { replace: true })}
      >
        {words}
        <span aria-hidden="true">{isSorted ? (direction === "descending" ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

function Person({ user, state }) {
  const { user_id: id, name, email, tier, blocked, last_seen: seen, requests, tokens } = user;
  const shown = blocked ? "blocked" : (state ?? (seen ? "quiet" : "never_seen"));
  return (
    <tr>
      <th scope="row">
        <a href={userLink(id)} class="person">
          <StateShape state={shown} />
          <span class="unseen">{STATES[shown]}: </span>
          {id}
        </a>
      </th>
      <td>
        {name ?? "–"}
        {email && <span class="is-quiet is-small is-block">{email}</span>}
      </td>
      <td data-label="Tier">{tierInWords(tier)}</td>
      <td data-label="Last seen">{seen ? <Ago at={seen} /> : "never"}</td>
      <td data-label="Requests" class="is-number">
        {count(requests)}
      </td>
      <td data-label="Tokens" class="is-number">
        {compact(tokens)}
      </td>
    </tr>
  );
}
