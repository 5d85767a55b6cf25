/**
 * The server's recent figures as columns for charts, and figures as text.
 *
 * Law of this file: pure.
 */

/**
 * @param {readonly Record<string, number | null>[]} samples
 * @param {readonly string[]} keys
 * @returns {(number | null)[][]} times in seconds, then a column for each key
 */
export function columns(samples, keys) {
  const times = samples.map(({ at }) => (at ?? 0) / 1000);
  return [times, ...keys.map((key) => samples.map((sample) => sample[key] ?? null))];
}

/**
 * The newest value that was measured.
 * @param {readonly (number | null)[]} values
 */
export function newest(values) {
  return values.findLast((value) => value !== null) ?? null;
}

/**
 * @param {number | null} value
 * @param {string} unit "ms", "%", "/s" or none
 */
export function figure(value, unit = "") {
  if (value === null) return "–";
  const shown = unit === "%" ? value * 100 : value;
  const digits = Math.abs(shown) >= 100 || Number.isInteger(shown) ? 0 : Math.abs(shown) >= 10 ? 1 : 2;
  const space = unit === "" || unit === "/s" ? "" : "\u00a0";
  return `${shown.toFixed(digits)}${space}${unit}`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
