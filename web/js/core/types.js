/**
 * The shapes that travel (docs/protocol.md) and the shapes that the application sees. Law of this file: types only.
 *
 * @typedef {object} CollabEvent one event of a run; persisted ones have a number
 * @property {string} eventType
 * @property {string} userId
 * @property {number} timestamp milliseconds since 1970, the server's clock
 * @property {number} [sequenceNumber]
 * @property {any} data
 * @property {boolean} isCritical
 * @property {string} [clientMessageId]
 *
 * @typedef {object} Position where a client stands in a run's history
 * @property {string} epoch
 * @property {number} sequence
 *
 * @typedef {object} Welcome the data of a WELCOME
 * @property {string | null} sessionId
 * @property {string} runId
 * @property {string} userId
 * @property {string} epoch
 * @property {number} sequenceNumber
 * @property {number} oldestSequence
 * @property {boolean} recovered
 * @property {string | null} [resetReason]
 * @property {number} replayCount
 * @property {CollabEvent[]} [runState]
 * @property {string[]} [activeUsers]
 * @property {Record<string, any>} [cursorPositions]
 * @property {number} [serverTime] milliseconds since 1970
 * @property {number} [heartbeatIntervalMs]
 * @property {number} [maxMessageBytes]
 *
 * @typedef {object} Answer one page of a replay, or what a poll has in common with it
 * @property {string} epoch
 * @property {number} sequenceNumber head of the log
 * @property {number} oldestSequence
 * @property {CollabEvent[]} events
 *
 * @typedef {object} PollOnly what only a poll's answer has
 * @property {string | null} sessionId
 * @property {boolean} recovered
 * @property {string | null} [resetReason]
 * @property {CollabEvent[]} [runState]
 * @property {boolean} hasMore
 * @property {string[]} [activeUsers]
 * @property {Record<string, any>} [cursorPositions]
 * @property {number} [nextPollMs]
 *
 * @typedef {Answer & PollOnly} PollAnswer
 *
 * @typedef {object} Frame a message from the server
 * @property {string} eventType
 * @property {any} data
 *
 * @typedef {object} AckData
 * @property {string} clientMessageId
 * @property {number} [sequenceNumber]
 * @property {boolean} duplicate
 *
 * @typedef {object} ErrorData
 * @property {string} code
 * @property {string} message
 * @property {string} [clientMessageId]
 * @property {boolean} retryable
 * @property {number} [retryAfterMs]
 */
export {};
