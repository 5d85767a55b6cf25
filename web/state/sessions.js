/**
 * Sessions and runs as the console's tables show them.
 *
 * Law of this file: pure; figures of the admin routes in (docs/protocol.md, "Admin"), figures of rows out.
 */

/**
 * @typedef {object} Session of GET /api/admin/websocket/metrics
 * @property {string} sessionId
 * @property {string} userId
 * @property {string} runId
 * @property {string} connectedAt RFC 3339
 * @property {string | null} disconnectedAt
 * @property {number} reconnectionCount
 * @property {number} messagesSent
 * @property {number} messagesReceived
 * @property {number} messageFailures
 * @property {number | null} averageLatencyMs
 * @property {number | null} p95LatencyMs
 * @property {number} messageDeliveryRate
 * @property {number} connectionQuality
 * @property {string} healthStatus
 * @property {number} queuedBytes
 * @property {string} lastActivity
 * @property {string} transport
 * @property {number | null} closeCode
 *
 * @typedef {object} RunFigures
 * @property {string} runId
 * @property {number} sessions that are there now
 * @property {string[]} users sorted
 * @property {number} polling sessions of them
 * @property {number | null} worstLatencyMs the highest average of a session
 * @property {number} worstQuality
 * @property {number} queuedBytes
 * @property {number} lastActivity milliseconds since 1970
 */

/** @param {Session} session */
export function isLive({ disconnectedAt }) {
  return disconnectedAt === null;
}

/**
 * How long a session has been there, or was.
 * @param {Session} session
 * @param {number} now
 */
export function ageOf({ connectedAt, disconnectedAt }, now) {
  return (disconnectedAt === null ? now : Date.parse(disconnectedAt)) - Date.parse(connectedAt);
}

/**
 * The runs that somebody is in.
 * @param {readonly Session[]} sessions
 * @returns {RunFigures[]}
 */
export function runsOf(sessions) {
  /** @type {Map<string, Session[]>} */
  const byRun = new Map();
  for (const session of sessions.filter(isLive))
    byRun.set(session.runId, [...(byRun.get(session.runId) ?? []), session]);
  return [...byRun].map(([runId, those]) => ({
    runId,
    sessions: those.length,
    users: [...new Set(those.map(({ userId }) => userId))].sort(),
    polling: those.filter(({ transport }) => transport === "polling").length,
    worstLatencyMs: those.reduce(worse, null),
    worstQuality: Math.min(...those.map(({ connectionQuality }) => connectionQuality)),
    queuedBytes: those.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0),
    lastActivity: Math.max(...those.map(({ lastActivity }) => Date.parse(lastActivity))),
  }));
}

/**
 * @param {number | null} worst
 * @param {Session} session
 * @returns {number | null}
 */
function worse(worst, { averageLatencyMs }) {
  if (averageLatencyMs === null) return worst;
  return worst === null ? averageLatencyMs : Math.max(worst, averageLatencyMs);
}

/** How a health status looks. @type {Record<string, "ok" | "warn" | "bad" | "accent">} */
export const HEALTH_LOOKS = { HEALTHY: "ok", NOTICE: "accent", DEGRADED: "warn", UNHEALTHY: "bad" };

/** @type {Record<string, string>} */
export const HEALTH_WORDS = { HEALTHY: "Healthy", NOTICE: "Notice", DEGRADED: "Degraded", UNHEALTHY: "Unhealthy" };

/** @type {Record<string, string>} */
export const TRANSPORT_WORDS = { websocket: "WebSocket", polling: "HTTP polling" };
