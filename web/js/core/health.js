/**
 * How the connection does, as one value (docs/client-behaviour.md, R81, R82).
 *
 * Law of this file: pure functions of the counts that are handed in.
 */

/**
 * @typedef {object} Counts
 * @property {number | null} latency milliseconds
 * @property {number} welcomes WELCOMEs so far
 * @property {number} committed
 * @property {number} rejected
 * @property {number} queuedMessages not final
 * @property {"websocket" | "polling" | "none"} transport
 * @property {boolean} usingFallback
 * @property {"durable" | "memory"} storage
 *
 * @typedef {object} ConnectionHealth
 * @property {"connected" | "reconnected" | "disconnected" | "polling"} status
 * @property {number | null} latency milliseconds, last measured
 * @property {number} reconnectionCount
 * @property {number} messageDeliveryRate committed ÷ (committed + rejected); 1 with none
 * @property {number} queuedMessages
 * @property {"websocket" | "polling" | "none"} transport what answers now; "none" also while polls get no answer
 * @property {boolean} usingFallback
 * @property {boolean} isHealthy
 * @property {"durable" | "memory"} storage whether queued messages survive a reload
 */

const HEALTHY_LATENCY_MS = 1_000;
const HEALTHY_DELIVERY_RATE = 0.95;

/**
 * @param {Counts} counts
 * @returns {ConnectionHealth}
 */
export function healthOf(counts) {
  const { latency, welcomes, committed, rejected, queuedMessages, transport, usingFallback, storage } = counts;
  const final = committed + rejected;
  const messageDeliveryRate = final === 0 ? 1 : committed / final;
  const reconnectionCount = Math.max(0, welcomes - 1);
  const quick = latency === null || latency <= HEALTHY_LATENCY_MS;
  const isHealthy = transport === "websocket" && quick && messageDeliveryRate >= HEALTHY_DELIVERY_RATE;
  const status = statusOf(transport, reconnectionCount);
  return {
    status,
    latency,
    reconnectionCount,
    messageDeliveryRate,
    queuedMessages,
    transport,
    usingFallback,
    isHealthy,
    storage,
  };
}

/**
 * Whoever gets no answer is disconnected, also while polling is tried.
 * @param {Counts["transport"]} transport
 * @param {number} reconnectionCount
 * @returns {ConnectionHealth["status"]}
 */
function statusOf(transport, reconnectionCount) {
  if (transport === "none") return "disconnected";
  if (transport === "polling") return "polling";
  return reconnectionCount > 0 ? "reconnected" : "connected";
}

/**
 * The data of CLIENT_HEALTH.
 * @param {ConnectionHealth} health
 */
export function healthReport(health) {
  const { latency, queuedMessages, reconnectionCount, usingFallback, transport } = health;
  const latencyMs = latency === null ? {} : { latencyMs: Math.round(latency) };
  return { ...latencyMs, queuedMessages, reconnectionCount, usingFallback, transport };
}
