/**
 * collabd-client: take part in the runs of a collabd server, from a browser or from Node.
 *
 * Law of this file: exports only.
 */

/** @typedef {import("./client.js").ClientOptions} ClientOptions */
/** @typedef {import("./core/types.js").CollabEvent} CollabEvent */
/** @typedef {import("./core/health.js").ConnectionHealth} ConnectionHealth */
/** @typedef {import("./shell/connection_types.js").ConnectionState} ConnectionState */
/** @typedef {import("./shell/environment.js").Environment} Environment */
/** @typedef {import("./shell/incoming.js").Reset} Reset */
/** @typedef {import("./shell/message_log.js").OwnMessage} OwnMessage */
/** @typedef {import("./shell/message_log.js").SentMessage} SentMessage */
/** @typedef {import("./shell/view.js").RunInfo} RunInfo */
/** @template T @typedef {import("./readable.js").Readable<T>} Readable */

export { createCollabClient, StreamStore } from "./client.js";
export * from "./errors.js";
