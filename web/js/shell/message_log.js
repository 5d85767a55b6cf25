/**
 * The client's own messages and what became of each (docs/client-behaviour.md, R12, R34).
 *
 * Law of this file: states only move forward to a final one, and whoever waits is told exactly once.
 */

/** @import { CollabdError } from "../errors.js" */
/** @import { Readable } from "../readable.js" */
/** @import { Told } from "./memory_queue.js" */

import { ClosedError, MessageRejectedError, StorageBlockedError } from "../errors.js";
import { readable, signal } from "../readable.js";

/**
 * @typedef {object} OwnMessage
 * @property {string} clientMessageId
 * @property {string} eventType
 * @property {any} data
 * @property {"storing" | "queued" | "sent" | "committed" | "rejected"} state "storing" until the storage has it
 * @property {number | null} [sequenceNumber] of a committed one; null for a transient event
 * @property {boolean} [duplicate] of a committed one: an earlier sending of it had been committed
 * @property {string} [code] why it was rejected
 * @property {string} [message] why it was rejected, in words
 *
 * @typedef {object} Committed
 * @property {string} clientMessageId
 * @property {number | null} sequenceNumber null for a transient event
 * @property {boolean} duplicate
 *
 * @typedef {object} SentExtras
 * @property {string} clientMessageId
 * @property {Readable<OwnMessage>} state
 *
 * @typedef {Promise<Committed> & SentExtras} SentMessage resolves once committed; rejects with MessageRejectedError,
 *   StorageBlockedError or ClosedError. Nobody has to wait: a rejection that is not looked at raises nothing
 *
 * @typedef {object} Record
 * @property {import("@preact/signals-core").Signal<OwnMessage>} own
 * @property {(committed: Committed) => void} resolve
 * @property {(error: CollabdError) => void} reject
 * @property {SentMessage} sent
 */

/** How many final messages stay readable; the others are those that are still on their way. */
const FINAL_KEPT = 200;

export class MessageLog {
  /** @param {(problem: unknown) => void} onThrow told what a subscriber throws */
  constructor(onThrow) {
    this.onThrow = onThrow;
    /** @type {Map<string, Record>} in the order of sending */
    this.records = new Map();
    /** @type {import("@preact/signals-core").Signal<readonly OwnMessage[]>} */
    this.list = signal(/** @type {readonly OwnMessage[]} */ ([]));
    this.committed = 0;
    this.rejected = 0;
  }

  /**
   * @param {string} clientMessageId
   * @param {string} eventType
   * @param {any} data
   * @returns {SentMessage}
   */
  add(clientMessageId, eventType, data) {
    const own = signal(/** @type {OwnMessage} */ ({ clientMessageId, eventType, data, state: "storing" }));
    const { promise, resolve, reject } = deferred();
    const sent = Object.assign(promise, { clientMessageId, state: readable(own, this.onThrow) });
    this.records.set(clientMessageId, { own, resolve, reject, sent });
    this.#publish();
    return sent;
  }

  /**
   * A message found in the storage: an earlier page, or another tab, accepted it.
   * @param {{clientMessageId: string, eventType: string, text: string}} stored
   */
  found({ clientMessageId, eventType, text }) {
    if (!this.records.has(clientMessageId)) this.add(clientMessageId, eventType, JSON.parse(text).data);
    this.apply({ clientMessageId, state: "queued" });
  }

  /** It stands in the storage. @param {string} clientMessageId */
  stored(clientMessageId) {
    const record = this.records.get(clientMessageId);
    if (record?.own.peek().state === "storing") this.apply({ clientMessageId, state: "queued" });
  }

  /** @param {Told} told */
  apply(told) {
    const record = this.records.get(told.clientMessageId);
    if (record === undefined || isFinal(record.own.peek())) return;
    record.own.value = { ...record.own.peek(), ...told };
    if (told.state === "committed") this.#committed(record, told);
    else if (told.state === "rejected") this.#rejected(record, told);
    this.#publish();
  }

  /**
   * @param {string} clientMessageId
   * @param {unknown} cause
   */
  notStored(clientMessageId, cause) {
    const error = new StorageBlockedError(false, cause);
    this.records.get(clientMessageId)?.reject(error);
    this.apply({ clientMessageId, state: "rejected", code: error.code, message: error.message });
  }

  /**
   * The client leaves the run.
   * @param {boolean} durable whether what is not final goes on with a later page
   * @param {CollabdError | null} because why, when it was not close()
   */
  close(durable, because) {
    const why = `${because === null ? "the client left the run" : because.message}; ${durable ? KEPT : LOST}`;
    for (const { own, reject } of this.records.values()) {
      const { clientMessageId } = own.peek();
      if (isFinal(own.peek())) continue;
      reject(new ClosedError(why, { cause: because ?? undefined }));
      if (!durable) this.apply({ clientMessageId, state: "rejected", code: "closed", message: why });
    }
  }

  /** Own messages that are not final. */
  get pending() {
    return [...this.records.values()].filter(({ own }) => !isFinal(own.peek())).length;
  }

  /** Own messages that do not stand in the storage yet. */
  get storing() {
    return [...this.records.values()].filter(({ own }) => own.peek().state === "storing").length;
  }

  /**
   * @param {Record} record
   * @param {Told} told
   */
  #committed({ resolve }, { clientMessageId, sequenceNumber = null, duplicate = false }) {
    this.committed += 1;
    resolve({ clientMessageId, sequenceNumber, duplicate });
  }

  /**
   * @param {Record} record
   * @param {Told} told
   */
  #rejected({ reject }, { clientMessageId, code = "", message = "" }) {
    this.rejected += 1;
    reject(new MessageRejectedError(clientMessageId, code, message));
  }

  #publish() {
    const finals = [...this.records.values()].filter(({ own }) => isFinal(own.peek()));
    for (const { own } of finals.slice(0, Math.max(0, finals.length - FINAL_KEPT))) {
      this.records.delete(own.peek().clientMessageId);
    }
    this.list.value = [...this.records.values()].map(({ own }) => own.peek());
  }
}

const KEPT = "the message stays queued for the next time";
const LOST = "the server does not have the message: send it again after connectToRun(runId)";

/** @param {OwnMessage} message */
function isFinal({ state }) {
  return state === "committed" || state === "rejected";
}

/** @returns {{promise: Promise<Committed>, resolve: (value: Committed) => void, reject: (error: Error) => void}} */
function deferred() {
  let resolve = (/** @type {Committed} */ _value) => {};
  let reject = (/** @type {Error} */ _error) => {};
  /** @type {Promise<Committed>} */
  const promise = new Promise((...settle) => ([resolve, reject] = settle));
  // Its state is visible without waiting: nobody waiting is no mistake.
  promise.catch(() => {});
  return { promise, resolve, reject };
}
