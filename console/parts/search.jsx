// The search: people of the room at once, and everybody else on the page of people. `/` goes to it.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { live } from "../live.js";
import { go, linkTo, userLink } from "../routes.js";
import { useStore } from "../store.js";
import { STATES } from "../words.js";
import { Icon, StateShape } from "./icons.jsx";

const MOST = 7;

export function Search() {
  const { overview } = useStore(live);
  const field = useRef(null);
  const list = useId();
  const [text, setText] = useState("");
  const [isOpen, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  useEffect(() => {
    const listen = (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
      event.preventDefault();
      field.current.focus();
      field.current.select();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, []);

  const found = find(overview?.users ?? [], text);
  const choices = text.trim() ? [...found.map(choiceOf), everywhere(text.trim())] : [];
  const shows = isOpen && choices.length > 0;
  const choose = (choice) => {
    setText("");
    setOpen(false);
    field.current.blur();
    go(choice.link);
  };
  const press = (event) => {
    if (event.key === "Escape") {
      if (text) setText("");
      else field.current.blur();
    } else if (event.key === "ArrowDown") setAt((at + 1) % Math.max(1, choices.length));
    else if (event.key === "ArrowUp") setAt((at - 1 + choices.length) % Math.max(1, choices.length));
    else if (event.key === "Enter" && choices.length > 0) choose(choices[Math.min(at, choices.length - 1)]);
    else return;
    event.preventDefault();
  };
  return (
    <div class="search" role="search">
      <Icon name="search" />
      <input
        ref={field}
        type="text"
        role="combobox"
        aria-label="Search people"
        aria-expanded={shows}
        aria-controls={list}
        aria-autocomplete="list"
        aria-activedescendant={shows ? `${list}-${at}` : undefined}
        placeholder="Search people"
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        enterkeyhint="search"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={press}
      />
      <kbd aria-hidden="true">/</kbd>
      <ul class="choices" id={list} role="listbox" aria-label="People found" hidden={!shows}>
        {choices.map((choice, index) => (
          <li
            key={choice.key}
            id={`${list}-${index}`}
            role="option"
            aria-selected={index === at}
            onMouseDown={(event) => {
              event.preventDefault();
              choose(choice);
            }}
          >
            {choice.content}
          </li>
        ))}
      </ul>
    </div>
  );
}

function find(users, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const rank = ({ user_id: id, name }) => {
    const places = [id, (name ?? "").toLowerCase()]
      .map((one) => one.indexOf(wanted))
      .filter((one) => one >= 0);
    return places.length > 0 ? Math.min(...places) : null;
  };
  const ranked = users.map((user) => [rank(user), user]).filter(([place]) => place !== null);
  ranked.sort(([one, a], [other, b]) => one - other || (a.user_id < b.user_id ? -1 : 1));
  return ranked.slice(0, MOST).map(([, user]) => user);
}

const choiceOf = ({ user_id: id, name, state }) => ({
  key: id,
  link: userLink(id),
  content: (
    <>
      <StateShape state={state} />
      <b>{id}</b> <span class="is-quiet">{name}</span>
      <span class="choice-state">{STATES[state]}</span>
    </>
  ),
});

const everywhere = (text) => ({
  key: " everywhere",
  link: linkTo("people", { query: text }),
  content: (
    <>
      <Icon name="people" /> <span>All people with “{text}”, by email too</span>
    </>
  ),
});
