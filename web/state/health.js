/**
 * The state of a connection in one word, from whatever is known of it.
 *
 * Law of this file: pure; it knows neither the client library nor a page, so that the health element can be used
 * without either.
 */

/** @typedef {"connected" | "reconnected" | "disconnected" | "polling"} Status */

/**
 * @typedef {object} HealthInput
 * @property {string} [status] one of Status; absent or unknown: it follows from the rest
 * @property {number | null} [latency] milliseconds
 * @property {number} [reconnectionCount]
 * @property {number} [messageDeliveryRate] 0 to 1
 * @property {boolean} [isHealthy]
 */

/** @type {Record<Status, string>} */
export const STATUS_WORDS = {
  connected: "Connected",
  reconnected: "Reconnected",
  disconnected: "Disconnected",
  polling: "HTTP Polling",
};

/**
 * @param {HealthInput | null} health
 * @param {boolean} usingFallback
 * @returns {Status}
 */
export function statusOf(health, usingFallback) {
  const { status, isHealthy, reconnectionCount } = health ?? {};
  if (status !== undefined && Object.hasOwn(STATUS_WORDS, status)) return /** @type {Status} */ (status);
  if (usingFallback) return "polling";
  if (isHealthy !== true) return "disconnected";
  return (reconnectionCount ?? 0) > 0 ? "reconnected" : "connected";
}

/**
 * The points of a small line of values in a box, newest at the right end.
 * @param {readonly number[]} values
 * @param {{width: number, height: number, most: number}} box most: how many values fill the width
 * @returns {string} for an SVG polyline
 */
export function sparkline(values, { width, height, most }) {
  const shown = values.slice(-most);
  const top = Math.max(1, ...shown);
  const step = width / Math.max(1, most - 1);
  return shown
    .map((value, index) => {
      const x = width - (shown.length - 1 - index) * step;
      const y = height - 1 - (value / top) * (height - 2);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    })
    .join(" ");
}
