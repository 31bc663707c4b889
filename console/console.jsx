// The operator's console.
import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { lookAt, start } from "./live.js";
import { NotesPage } from "./pages/notes.jsx";
import { PeoplePage } from "./pages/people.jsx";
import { RecordPage } from "./pages/record.jsx";
import { RoomPage } from "./pages/room.jsx";
import { RosterPage } from "./pages/roster.jsx";
import { SignInPage } from "./pages/sign-in.jsx";
import { UserPage } from "./pages/user.jsx";
import { Announcements } from "./parts/announce.jsx";
import { Shell } from "./parts/shell.jsx";
import { useRoute } from "./routes.js";
import { open, session } from "./session.js";
import { useStore } from "./store.js";

const PAGES = {
  room: RoomPage,
  people: PeoplePage,
  user: UserPage,
  roster: RosterPage,
  notes: NotesPage,
  record: RecordPage,
};

function Console() {
  const { standing } = useStore(session);
  useEffect(() => {
    open();
  }, []);
  return (
    <>
      {standing === "asking" && <p class="waiting">One moment …</p>}
      {standing === "out" && <SignInPage />}
      {standing === "in" && <SignedIn />}
      <Announcements />
    </>
  );
}

function SignedIn() {
  const route = useRoute();
  const { page, userId } = route;
  useEffect(() => start(), []);
  useEffect(() => lookAt(page), [page]);
  useFocus(`${page} ${userId ?? ""}`);
  const Page = PAGES[page];
  return (
    <Shell page={page}>
      <Page key={userId ?? page} {...route} />
    </Shell>
  );
}

/** Takes the focus to the heading of a page that is gone to, and back to where one was in the room. */
function useFocus(place) {
  const before = useRef(null);
  const scrolled = useRef(0);
  useEffect(() => {
    const isFirst = before.current === null;
    before.current = place;
    const isRoom = place.startsWith("room");
    if (!isFirst) {
      const heading = document.querySelector("main h1");
      heading?.focus({ preventScroll: true });
      window.scrollTo(0, isRoom ? scrolled.current : 0);
    }
    if (!isRoom) return undefined;
    const note = () => {
      scrolled.current = window.scrollY;
    };
    window.addEventListener("scroll", note, { passive: true });
    return () => window.removeEventListener("scroll", note);
  }, [place]);
}

render(<Console />, document.querySelector("#console"));
