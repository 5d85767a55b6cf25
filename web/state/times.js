/**
 * Times as a reader reads them: in their zone and language.
 *
 * Law of this file: pure; the present is an argument.
 */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
// The words of the pages are English, so these are too.
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/**
 * The time of an event in a list: the clock for the last day, with the day before that.
 * @param {number} at milliseconds since 1970
 * @param {number} now
 */
export function listTime(at, now) {
  return Math.abs(now - at) < DAY ? clock.format(at) : dayAndClock.format(at);
}

/** @param {number} at milliseconds since 1970 */
export function clockTime(at) {
  return clock.format(at);
}

/** @param {number} at milliseconds since 1970 */
export function wholeTime(at) {
  return whole.format(at);
}

/**
 * @param {number} at milliseconds since 1970
 * @param {number} now
 */
export function ago(at, now) {
  const passed = now - at;
  if (passed < 10 * SECOND) return "just now";
  if (passed < MINUTE) return relative.format(-Math.round(passed / SECOND), "second");
  if (passed < HOUR) return relative.format(-Math.round(passed / MINUTE), "minute");
  if (passed < DAY) return relative.format(-Math.round(passed / HOUR), "hour");
  return relative.format(-Math.round(passed / DAY), "day");
}

/**
 * How long something lasted, or lasts: "48 s", "12 min", "3 h 20 min", "2 d 4 h".
 * @param {number} milliseconds
 */
export function duration(milliseconds) {
  const ms = Math.max(0, milliseconds);
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)} h ${Math.floor((ms % HOUR) / MINUTE)} min`;
  return `${Math.floor(ms / DAY)} d ${Math.floor((ms % DAY) / HOUR)} h`;
}
