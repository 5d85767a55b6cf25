/**
 * Messages on their way, and what becomes of them. Law of this file: types only.
 */

/**
 * @typedef {"queued" | "sent" | "committed" | "rejected"} MessageState
 *
 * @typedef {object} Entry one message that is not final
 * @property {string} clientMessageId
 * @property {string} text the encoded message
 * @property {number} bytes of the text in UTF-8
 * @property {number} attempts counted refusals (R18)
 * @property {MessageState} state
 * @property {number} sentAt when it went out last
 * @property {any} [stored] where the queue keeps it; nothing to the outbox
 *
 * @typedef {object} Change what became of one message
 * @property {Entry} entry
 * @property {MessageState} state
 * @property {number | null} [sequenceNumber] of a committed one; null for a transient event
 * @property {boolean} [duplicate] of a committed one
 * @property {string} [code] of a rejected one
 * @property {string} [message] of a rejected one
 *
 * @typedef {object} Verdict
 * @property {Change[]} changes
 * @property {boolean} drop the connection holds back later messages for one that will not come again: drop it (R18)
 *
 * @typedef {object} Way how the connection takes messages
 * @property {boolean} batch one POST at a time instead of a window of frames
 */

export {};
