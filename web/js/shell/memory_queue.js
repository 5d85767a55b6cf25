/**
 * A queue that lives as long as its page: where there is no storage, or none is wanted.
 *
 * Law of this file: the same interface as the queues that last, and nothing else.
 */

/** @import { QueuedMessage, StoredMessage } from "./idb_storage.js" */

/**
 * @typedef {object} Told the state of one message, as one tab tells the others
 * @property {string} clientMessageId
 * @property {import("../core/outbox_types.js").MessageState} state
 * @property {number | null} [sequenceNumber]
 * @property {boolean} [duplicate]
 * @property {string} [code]
 * @property {string} [message]
 *
 * @typedef {object} Count
 * @property {number} messages
 * @property {number} bytes
 *
 * @typedef {object} QueueHandlers
 * @property {(messages: QueuedMessage[], older: boolean) => void} onMessages for this tab to send; older: adopted ones
 * @property {(told: Told) => void} onTold another tab says what became of a message
 * @property {(count: Count) => void} onCount another tab says how much waits
 *
 * @typedef {object} MessageQueue
 * @property {boolean} durable
 * @property {boolean} leads whether this tab is one that sends
 * @property {() => Promise<void>} start
 * @property {(message: StoredMessage) => Promise<void>} append done when the message stands in the storage
 * @property {(message: QueuedMessage) => void} attempted its counted attempts changed
 * @property {(message: QueuedMessage) => void} settled it is final
 * @property {(told: Told) => void} tell
 * @property {(count: Count) => void} tellCount
 * @property {() => Promise<void>} stop
 */

/** @implements {MessageQueue} */
export class MemoryQueue {
  /** @param {QueueHandlers} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    this.durable = false;
    this.leads = true;
    this.number = 0;
  }

  async start() {}

  /** @param {StoredMessage} message */
  async append(message) {
    this.handlers.onMessages([{ ...message, queue: "", number: ++this.number }], false);
  }

  attempted() {}

  settled() {}

  tell() {}

  tellCount() {}

  async stop() {}
}
