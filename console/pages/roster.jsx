// A list of people becomes users; and what they did, as a file.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "../api.js";
import { announce } from "../parts/announce.jsx";
import { Icon } from "../parts/icons.jsx";
import { refresh } from "../live.js";
import { plural } from "../numbers.js";
import { userLink } from "../routes.js";

export function RosterPage() {
  return (
    <section class="page">
      <h1 tabIndex={-1}>Roster and export</h1>
      <div class="halves">
        <Import />
        <Export />
      </div>
    </section>
  );
}

/** A long list takes its time. */
const PATIENCE = 120_000;

const EXAMPLE = "name,email\nAda Lovelace,ada@example.com\nGrace Hopper,grace@example.com";

function Import() {
  const [text, setText] = useState("");
  const [isReissue, setReissue] = useState(false);
  const [seats, setSeats] = useState(null);
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const read = async (event) => {
    const [file] = event.currentTarget.files;
    if (file) setText(await file.text());
    setProblem(null);
  };
  const submit = async (event) => {
    event.preventDefault();
    if (isBusy || !text.trim()) return;
    setBusy(true);
    setProblem(null);
    try {
      setSeats(
        await ask("POST", `/roster${isReissue ? "?reissue=true" : ""}`, { csv: text, patience: PATIENCE }),
      );
      setText("");
      announce("The roster is imported.");
      refresh();
    } catch (error) {
      setProblem(error.message);
    }
    setBusy(false);
  };
  if (seats) return <Seats seats={seats} onDone={() => setSeats(null)} />;
  return (
    <form class="card" onSubmit={submit}>
      <h2>Import people</h2>
      <p>
        A CSV with the columns <code>name</code> and <code>email</code>. Everybody gets a USER_ID, and whoever
        is new a claim code. The same list again changes nothing.
      </p>
      <label class="field">
        A file
        <input type="file" accept=".csv,text/csv,text/plain" onChange={read} />
      </label>
      <label class="field">
        Or paste it here
        <textarea
          rows={8}
          value={text}
          placeholder={EXAMPLE}
          spellcheck={false}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={isReissue}
          onChange={(event) => setReissue(event.currentTarget.checked)}
        />
        <span>Give everybody a new code. Codes that nobody has used are void then.</span>
      </label>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <div class="buttons">
        <button type="submit" class="button is-main" disabled={!text.trim()} aria-busy={isBusy}>
          {isBusy ? "One moment …" : "Import"}
        </button>
      </div>
    </form>
  );
}

/** Their codes are shown this once, and are gone with this table. */
function Seats({ seats, onDone }) {
  const link = useRef(null);
  const fresh = seats.filter(({ code }) => code).length;
  useEffect(() => {
    const url = URL.createObjectURL(new Blob([csvOf(seats)], { type: "text/csv" }));
    link.current.href = url;
    return () => URL.revokeObjectURL(url);
  }, [seats]);
  return (
    <section class="card">
      <h2>{plural(seats.length, "person", "people")} on the list</h2>
      <p>
        {fresh === 0
          ? "All of them have had a code before."
          : `${plural(fresh, "claim code")}, shown this once: download them now.`}
      </p>
      <div class="buttons">
        <a ref={link} class="button is-main" download="codes.csv">
          <Icon name="down" /> Download as CSV
        </a>
        <button type="button" class="button" onClick={onDone}>
          Done
        </button>
      </div>
      <div class="scrolls" tabIndex={0} role="region" aria-label="Codes">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">USER_ID</th>
              <th scope="col">Name</th>
              <th scope="col">Code</th>
            </tr>
          </thead>
          <tbody>
            {seats.map(({ user_id: id, name, email, code }) => (
              <tr key={id}>
                <th scope="row">
                  <a href={userLink(id)} target="_blank" rel="noopener">
                    {id}
                  </a>
                </th>
                <td>
                  {name}
                  {email && <span class="is-quiet is-small is-block">{email}</span>}
                </td>
                <td>{code ? <code>{code}</code> : <span class="is-quiet">given before</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** A cell that begins like a formula would be one in a spreadsheet. */
function cell(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csvOf(seats) {
  const rows = seats.map(({ user_id: id, name, email, code }) => [id, name, email, code ?? ""]);
  return `${[["user_id", "name", "email", "code"], ...rows].map((row) => row.map((text) => cell(text ?? "")).join(",")).join("\r\n")}\r\n`;
}

function Export() {
  const [format, setFormat] = useState("csv");
  const [userId, setUserId] = useState("");
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const query = new URLSearchParams({ format });
  if (userId.trim()) query.set("user_id", userId.trim().toLowerCase());
  if (from) query.set("from", from);
  if (to) query.set("to", to);
  const typing = (set) => (event) => set(event.currentTarget.value);
  return (
    <section class="card">
      <h2>Export requests</h2>
      <p>A row a request, without what was said in it.</p>
      <label class="field">
        Format
        <select value={format} onChange={typing(setFormat)}>
          <option value="csv">CSV, for a spreadsheet</option>
          <option value="jsonl">JSON Lines, for a program</option>
        </select>
      </label>
      <label class="field">
        Only of this USER_ID
        <input
          value={userId}
          onInput={typing(setUserId)}
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          placeholder="everybody"
        />
      </label>
      <div class="pair">
        <label class="field">
          From
          <input type="date" value={from} onInput={typing(setFrom)} />
        </label>
        <label class="field">
          To
          <input type="date" value={to} onInput={typing(setTo)} />
        </label>
      </div>
      <div class="buttons">
        <a class="button is-main" href={`/operator/api/export?${query}`} download={`requests.${format}`}>
          <Icon name="down" /> Download
        </a>
      </div>
    </section>
  );
}
