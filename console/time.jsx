// Times as the gateway tells them. The clock of this machine may be wrong, so that what is "now" comes
// from the gateway's answers, and goes on with a clock that nobody sets.
import { useEffect, useState } from "preact/hooks";

let offset = Date.now() - performance.now();

/** Learns from an answer what time it is at the gateway. */
export function synchronize(now) {
  const told = Date.parse(now);
  if (Number.isFinite(told)) offset = told - performance.now();
}

/** Milliseconds since 1970, at the gateway. */
export const gatewayNow = () => offset + performance.now();

/** Draws the component again after each `period` ms while the page can be seen. */
export function useTick(period = 1000) {
  const [, setTicks] = useState(0);
  useEffect(() => {
    const tick = () => document.hidden || setTicks((ticks) => ticks + 1);
    const timer = setInterval(tick, period);
    return () => clearInterval(timer);
  }, [period]);
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const shortClock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const dayAndClock = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium",
  timeStyle: "short",
  hourCycle: "h23",
});

const toDate = (time) => new Date(typeof time === "string" ? Date.parse(time) : time);

/** `16:20:03` */
export const clockOf = (time) => clock.format(toDate(time));
/** `16:20` */
export const shortClockOf = (time) => shortClock.format(toDate(time));
/** `21 Nov 2026` */
export const dayOf = (time) => day.format(toDate(time));
/** `21 Nov 2026, 16:20` */
export const momentOf = (time) => dayAndClock.format(toDate(time));

/** `12 s`, `4 min`, `2 h`, `3 days` */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** `just now`, `12 s ago` */
export function ago(time) {
  const passed = gatewayNow() - Date.parse(time);
  return passed < 2000 ? "just now" : `${span(passed)} ago`;
}

/** How long ago, kept up to date. */
export function Ago({ at }) {
  useTick(1000);
  return (
    <time dateTime={at} title={momentOf(at)}>
      {ago(at)}
    </time>
  );
}
