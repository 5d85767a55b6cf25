/**
 * The numbers of docs/client-behaviour.md, "Constants", by the same names. Law of this file: nothing but those.
 * Times are in milliseconds, sizes in bytes.
 */

/** What neither the application nor the server changes. */
export const FIXED = Object.freeze({
  backoffBaseMs: 500,
  backoffCapMs: 10_000,
  probeCapMs: 20_000,
  connectTimeoutMs: 5_000,
  stableAfterMs: 5_000,
  wakeTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  sendWindow: 32,
  cursorIntervalMs: 50,
  healthIntervalMs: 30_000,
  tokenLeewayMs: 60_000,
  renewalRetryMs: 5_000,
  tokenPatienceMs: 30_000,
  storagePatienceMs: 5_000,
  leaseMs: 10_000,
  leaseRenewMs: 3_000,
  httpBatchMessages: 100,
  httpBatchBytes: 524_288,
  heldEvents: 1_000,
  drainWaitMs: 5_000,
  closeWaitMs: 2_000,
  lookMs: 1_000,
});

/**
 * @typedef {object} Limits what the server says, and the application may set; the latter wins
 * @property {number} heartbeatIntervalMs
 * @property {number} maxMessageBytes
 * @property {number} maxReconnectAttempts
 * @property {number} pollingIntervalMs
 * @property {number} messageRetryLimit
 */

/** @type {Readonly<Limits>} */
export const DEFAULT_LIMITS = Object.freeze({
  heartbeatIntervalMs: 10_000,
  maxMessageBytes: 65_536,
  maxReconnectAttempts: 5,
  pollingIntervalMs: 2_000,
  messageRetryLimit: 3,
});

export const DEFAULT_QUEUE = Object.freeze({ maxQueuedMessages: 1_000, maxQueuedBytes: 16_777_216 });
