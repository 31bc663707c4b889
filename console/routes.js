// Where in the console one is: in the part of the address after the #, which no server sees.
import { useEffect, useState } from "preact/hooks";

const PAGES = ["people", "roster", "notes", "record"];

/** `#/users/ada` is `{page: "user", userId: "ada"}`, `#/people?query=a` is `{page: "people", query}`. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [first = "", second = ""] = path.split("/");
  const members = Object.fromEntries(new URLSearchParams(query));
  if (first === "users" && second) return { page: "user", userId: decode(second).toLowerCase(), members };
  return { page: PAGES.includes(first) ? first : "room", members };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const userLink = (userId) => `#/users/${encodeURIComponent(userId)}`;

/** The address of a page, with those members of its query that say anything. */
export function linkTo(page, members = {}) {
  const said = Object.entries(members).filter(([, value]) => value);
  const query = new URLSearchParams(said).toString();
  return `#/${page}${query ? `?${query}` : ""}`;
}

export function go(link, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, "", link);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = link;
  }
}

/** Where one is. */
export function useRoute() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const follow = () => setHash(location.hash);
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  return parse(hash);
}
