/**
 * Messages on their way: what may be sent now, and what an answer means (docs/client-behaviour.md, R12 to R21, R76 to
 * R78).
 *
 * Law of this file: pure; time and randomness are arguments. An entry leaves only by becoming final, and no entry
 * overtakes an earlier one.
 */

/** @import { Change, Entry, Verdict, Way } from "./outbox_types.js" */
/** @import { AckData, ErrorData } from "./types.js" */

import { FIXED } from "./constants.js";
import { Pacing } from "./pacing.js";

/** Refusals that say nothing against the message itself (R18). */
const NOT_COUNTED = new Set([
  "rate_limited",
  "storage_unavailable",
  "draining",
  "too_many_connections",
  "not_attempted",
  "unauthorized",
]);

/** The messages of one queue that are not final, in the order in which they were accepted. */
export class Outbox {
  /** @param {{retryLimit: () => number}} rules */
  constructor({ retryLimit }) {
    this.retryLimit = retryLimit;
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {string | null} the refused message that has to be sent again, alone, before any later one (R17) */
    this.blocked = null;
    this.pacing = new Pacing();
    this.batchLimit = Number(FIXED.httpBatchMessages);
  }

  /** Messages that are not final. */
  get size() {
    return this.entries.length;
  }

  /** @param {Entry[]} entries */
  add(entries) {
    this.entries.push(...entries);
  }

  /**
   * Messages adopted from a queue that is older than this one: they go before what is not yet on its way (R31).
   * @param {Entry[]} entries
   */
  addBefore(entries) {
    const begun = this.entries.findIndex((entry) => entry.state === "queued" && entry.clientMessageId !== this.blocked);
    this.entries.splice(begun < 0 ? this.entries.length : begun, 0, ...entries);
  }

  /** @returns {Entry[]} */
  inFlight() {
    return this.entries.filter((entry) => entry.state === "sent");
  }

  /**
   * Entries to send now; they count as sent.
   * @param {number} now
   * @param {Way} way
   * @returns {Entry[]}
   */
  take(now, way) {
    if (now < this.pacing.nextAt(way.batch)) return [];
    const taken = way.batch ? this.#nextBatch() : this.#nextFrames();
    for (const entry of taken) Object.assign(entry, { state: "sent", sentAt: now });
    if (taken.length > 0) this.pacing.sent(now);
    return taken;
  }

  /**
   * When `take` may have more, as far as that is a matter of time alone.
   * @param {Way} way
   * @returns {number | null}
   */
  nextTakeAt(way) {
    return this.entries.some((entry) => entry.state === "queued") ? this.pacing.nextAt(way.batch) : null;
  }

  /** @returns {Entry[]} */
  #nextBatch() {
    if (this.inFlight().length > 0) return [];
    let bytes = 0;
    const fits = this.entries.findIndex((entry, index) => {
      bytes += entry.bytes;
      return index >= this.batchLimit || (index > 0 && bytes > FIXED.httpBatchBytes);
    });
    return this.entries.slice(0, fits < 0 ? this.entries.length : fits);
  }

  /** @returns {Entry[]} */
  #nextFrames() {
    const window = this.blocked === null ? FIXED.sendWindow : 1;
    const room = Math.max(0, window - this.inFlight().length);
    const atOnce = this.pacing.paceMs > 0 ? Math.min(1, room) : room;
    return this.entries.filter((entry) => entry.state === "queued").slice(0, atOnce);
  }

  /**
   * @param {AckData} ack
   * @returns {Change[]} empty for a message that is final already
   */
  acked(ack) {
    const entry = this.#remove(ack.clientMessageId);
    if (entry === undefined) return [];
    this.pacing.succeeded();
    const sequenceNumber = ack.sequenceNumber ?? null;
    return [{ entry, state: "committed", sequenceNumber, duplicate: ack.duplicate === true }];
  }

  /**
   * An ERROR, over a WebSocket or in a publish answer.
   * @param {ErrorData} error
   * @param {number} now
   * @param {() => number} random
   * @param {Way} way
   * @returns {Verdict}
   */
  refused(error, now, random, way) {
    const index = this.entries.findIndex((entry) => entry.clientMessageId === error.clientMessageId);
    const entry = this.entries[index];
    // Not on its way: this answers an older sending, or repeats the answer to the blocked one (R17).
    if (entry === undefined || entry.state !== "sent") return { changes: [], drop: false };
    if (!error.retryable && error.code !== "unauthorized") return { changes: this.#reject(entry, error), drop: false };
    if (error.code === "not_attempted") return { changes: [this.#requeue(entry)], drop: false };
    return this.#block(entry, index, error, now, random, way);
  }

  /**
   * @param {Entry} entry
   * @param {number} index
   * @param {ErrorData} error
   * @param {number} now
   * @param {() => number} random
   * @param {Way} way
   * @returns {Verdict}
   */
  #block(entry, index, error, now, random, way) {
    // The server already waits for a later one and will answer nothing else before it: only a new connection helps.
    const crossed = this.blocked !== null && this.blocked !== entry.clientMessageId;
    this.pacing.refused(error, now, random, way.batch);
    if (!NOT_COUNTED.has(error.code)) entry.attempts += 1;
    if (entry.attempts >= this.retryLimit()) {
      return { changes: this.#reject(entry, error), drop: !way.batch };
    }
    const unanswered = this.entries.slice(index).filter((later) => later.state === "sent");
    const changes = unanswered.map((later) => this.#requeue(later));
    if (!way.batch) this.blocked = entry.clientMessageId;
    return { changes, drop: crossed && !way.batch };
  }

  /**
   * The connection ended: what it carried is to be sent again; nothing counts as an attempt (R14, R18).
   * @returns {Change[]}
   */
  disconnected() {
    this.blocked = null;
    return this.inFlight().map((entry) => this.#requeue(entry));
  }

  /**
   * R20: the oldest message on its way has had no answer for too long.
   * @param {number} now
   * @param {number} patienceMs
   */
  overdue(now, patienceMs) {
    return this.entries.some((entry) => entry.state === "sent" && now - entry.sentAt >= patienceMs);
  }

  /**
   * R21: the server closed because of the content of a message.
   * @param {number} code of the close
   * @returns {Change[]}
   */
  closedBy(code) {
    const flying = this.inFlight();
    const bytes = Math.max(...flying.map((entry) => entry.bytes));
    const culprit = code === 1009 ? flying.find((entry) => entry.bytes === bytes) : flying[0];
    if (culprit === undefined) return [];
    return this.#reject(culprit, {
      code: code === 1009 ? "message_too_big" : "invalid_json",
      message: `the server closed the connection with ${code} because of a message, most likely this one`,
    });
  }

  /**
   * R21: the server takes less than was thought when these were accepted.
   * @param {number} maxBytes
   * @returns {Change[]}
   */
  rejectLargerThan(maxBytes) {
    return this.entries
      .filter((entry) => entry.bytes > maxBytes)
      .flatMap((entry) =>
        this.#reject(entry, {
          code: "message_too_big",
          message: `it has ${entry.bytes} bytes and the server takes ${maxBytes}`,
        }),
      );
  }

  /**
   * A POST had no per-message answers (R77, R78).
   * @param {{code: string, message: string} | null} refusal null when nothing was said of the content
   * @param {number} now
   * @param {() => number} random
   * @returns {Change[]}
   */
  postFailed(refusal, now, random) {
    const flying = this.inFlight();
    const [only] = flying;
    if (refusal !== null && flying.length === 1 && only !== undefined) return this.#reject(only, refusal);
    if (refusal === null) this.pacing.refused({ code: "" }, now, random, true);
    else this.batchLimit = refusal.code === "message_too_big" ? Math.max(1, flying.length >> 1) : 1;
    return flying.map((entry) => this.#requeue(entry));
  }

  /** Everything of a POST was answered: the next one may be larger again. */
  postAnswered() {
    this.batchLimit = Math.min(FIXED.httpBatchMessages, this.batchLimit * 2);
  }

  /** @param {string} clientMessageId */
  forget(clientMessageId) {
    return this.#remove(clientMessageId);
  }

  /**
   * @param {Entry} entry
   * @param {{code: string, message: string}} why
   * @returns {Change[]}
   */
  #reject(entry, { code, message }) {
    this.#remove(entry.clientMessageId);
    return [{ entry, state: "rejected", code, message }];
  }

  /**
   * @param {Entry} entry
   * @returns {Change}
   */
  #requeue(entry) {
    entry.state = "queued";
    return { entry, state: "queued" };
  }

  /** @param {string | undefined} clientMessageId */
  #remove(clientMessageId) {
    const index = this.entries.findIndex((entry) => entry.clientMessageId === clientMessageId);
    if (index < 0) return undefined;
    if (this.blocked === clientMessageId) this.blocked = null;
    const [entry] = this.entries.splice(index, 1);
    if (this.entries.length === 0) this.pacing.emptied();
    return entry;
  }
}
