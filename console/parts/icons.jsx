// Shapes. Each state has one of its own, so that nobody has to tell colours apart.

const SHAPES = {
  working: <circle cx="8" cy="8" r="5.5" fill="currentColor" />,
  limited: (
    <>
      <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2" />
      <path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor" />
    </>
  ),
  failing: (
    <>
      <path
        d="M8 1.6 15 14H1z"
        fill="currentColor"
        stroke="currentColor"
        stroke-width="1.4"
        stroke-linejoin="round"
      />
      <path d="M8 6v3.6M8 11.8v.2" stroke="var(--panel)" stroke-width="1.7" stroke-linecap="round" />
    </>
  ),
  blocked: (
    <>
      <rect x="2.5" y="2.5" width="11" height="11" rx="2" fill="currentColor" />
      <path d="M5.2 8h5.6" stroke="var(--panel)" stroke-width="2" stroke-linecap="round" />
    </>
  ),
  quiet: <circle cx="8" cy="8" r="4.7" fill="none" stroke="currentColor" stroke-width="1.6" />,
  never_seen: (
    <circle
      cx="8"
      cy="8"
      r="4.7"
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-dasharray="1.6 2.1"
    />
  ),
  well: (
    <path
      d="m3 8.5 3.4 3.3L13 4.6"
      fill="none"
      stroke="currentColor"
      stroke-width="2.2"
      stroke-linecap="round"
      stroke-linejoin="round"
    />
  ),
};

/** The shape of a state. What it means is said beside it, so it says nothing itself. */
export function StateShape({ state, size = 16 }) {
  return (
    <svg class={`shape is-${state}`} viewBox="0 0 16 16" width={size} height={size} aria-hidden="true">
      {SHAPES[state] ?? SHAPES.quiet}
    </svg>
  );
}

const LINES = {
  room: "M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3zM9 9h4v4H9z",
  people:
    "M6 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M11 3a2.3 2.3 0 0 1 0 4.300M12 9.700c1.7.5 2.7 1.9 2.7 3.8",
  roster: "M3 2.500h7l3 3v8H3zM10 2.500v3h3M5.5 8h5M5.5 10.700h5",
  notes: "M2.5 3h11v7.500H8l-3 3v-3H2.500z",
  record: "M8 4.500V8l2.3 1.500M8 2.200a5.8 5.8 0 1 1 0 11.600A5.8 5.8 0 0 1 8 2.200z",
  search: "M7 2.500a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.3 10.3 14 14",
  sun: "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM8 1v1.500M8 13.500V15M1 8h1.500M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13.5 9.500A6 6 0 0 1 6.5 2.500a5.8 5.8 0 1 0 7 7z",
  half: "M8 2.200a5.8 5.8 0 1 1 0 11.600A5.8 5.8 0 0 1 8 2.200zM8 2.500v11M10 3.500v9M12 5v6",
  out: "M9.5 3V2h-7v12h7v-1M6 8h8M11.5 5.5 14 8l-2.5 2.5",
  copy: "M5.5 5.500h7.500v8H5.500zM3 10.500V2.500h7.5",
  back: "M9.5 3.5 5 8l4.5 4.5",
  close: "M4 4l8 8M12 4l-8 8",
  down: "M8 2.500v8M4.5 7.5 8 11l3.5-3.500M3 13.500h10",
};

/** A small drawing beside a word. */
export function Icon({ name, size = 16 }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width={size} height={size} aria-hidden="true">
      <path
        d={LINES[name]}
        fill="none"
        stroke="currentColor"
        stroke-width="1.5"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
