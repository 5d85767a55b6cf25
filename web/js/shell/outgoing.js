/**
 * Everything between `send()` and a message's end: storage, queue, sending, states (docs/client-behaviour.md, R10 to
 * R23, R32, R34).
 *
 * Law of this file: a message goes on the wire only after the storage has it, and leaves the storage only when final.
 */

/** @import { Limits } from "../core/constants.js" */
/** @import { Change, Entry } from "../core/outbox_types.js" */
/** @import { Frame } from "../core/types.js" */
/** @import { Environment } from "./environment.js" */
/** @import { QueuedMessage } from "./idb_storage.js" */
/** @import { Count, MessageQueue, Told } from "./memory_queue.js" */
/** @import { SentMessage } from "./message_log.js" */
/** @import { StorageOption } from "./open_queue.js" */
/** @import { FrameWay, PostWay } from "./sender.js" */

import { closeRule } from "../core/close_codes.js";
import { byteLength, checkSize, encodeMessage, newMessageId } from "../core/message.js";
import { Outbox } from "../core/outbox.js";
import { ClosedError, QueueFullError } from "../errors.js";
import { MessageLog } from "./message_log.js";
import { openQueue } from "./open_queue.js";
import { Sender } from "./sender.js";

/**
 * @typedef {object} OutgoingPlan
 * @property {string} queueName
 * @property {StorageOption} storage
 * @property {number} maxQueuedMessages
 * @property {number} maxQueuedBytes
 * @property {() => Limits} limits
 *
 * @typedef {object} OutgoingHandlers
 * @property {() => void} onChange counts changed
 * @property {() => void} onHeldBack
 * @property {(problem: import("../errors.js").CollabdError) => void} onStorageProblem
 * @property {(problem: unknown) => void} onThrow a subscriber of the application threw this
 */

export class Outgoing {
  /**
   * @param {Environment} env
   * @param {OutgoingPlan} plan
   * @param {OutgoingHandlers} handlers
   */
  constructor(env, plan, handlers) {
    this.env = env;
    this.plan = plan;
    this.handlers = handlers;
    this.log = new MessageLog(handlers.onThrow);
    this.outbox = new Outbox({ retryLimit: () => plan.limits().messageRetryLimit });
    this.sender = new Sender(env, this.outbox, {
      onChanges: (changes) => this.#changed(changes),
      onHeldBack: () => handlers.onHeldBack(),
    });
    this.storingBytes = 0;
    this.closed = false;
    /** @type {Count} what the tab that sends says of the shared queue */
    this.told = { messages: 0, bytes: 0 };
    /** @type {MessageQueue | null} */
    this.queue = null;
    this.ready = this.#openQueue();
  }

  async #openQueue() {
    const { queue, problem } = await openQueue(this.env, this.plan.storage, this.plan.queueName, {
      onMessages: (messages, older) => this.#toSend(messages, older),
      onTold: (told) => this.#heard(told),
      onCount: (count) => this.#counted(count),
    });
    this.queue = queue;
    if (problem !== null) this.handlers.onStorageProblem(problem);
    this.handlers.onChange();
    return queue;
  }

  get durable() {
    return this.queue?.durable ?? false;
  }

  /** Messages that are not final: of all tabs where they share a queue. */
  get waiting() {
    if (this.queue === null || this.queue.leads) return this.outbox.size + this.log.storing;
    return Math.max(this.told.messages, this.log.pending);
  }

  /**
   * @param {string} eventType
   * @param {unknown} data
   * @returns {SentMessage}
   */
  send(eventType, data) {
    if (this.closed) throw new ClosedError();
    const clientMessageId = newMessageId(this.env.randomBytes);
    const text = encodeMessage(eventType, data, clientMessageId);
    checkSize(text, this.plan.limits().maxMessageBytes);
    const bytes = byteLength(text);
    this.#checkRoom(bytes);
    const sent = this.log.add(clientMessageId, eventType, JSON.parse(text).data);
    void this.#store({ clientMessageId, eventType, text, attempts: 0 }, bytes);
    this.handlers.onChange();
    return sent;
  }

  /** @param {number} bytes */
  #checkRoom(bytes) {
    const { maxQueuedMessages, maxQueuedBytes } = this.plan;
    if (this.waiting >= maxQueuedMessages) throw new QueueFullError(`${maxQueuedMessages} messages`);
    const before = this.outbox.entries.reduce((sum, entry) => sum + entry.bytes, this.storingBytes);
    if (Math.max(before, this.told.bytes) + bytes > maxQueuedBytes) throw new QueueFullError(`${maxQueuedBytes} bytes`);
  }

  /**
   * @param {import("./idb_storage.js").StoredMessage} message
   * @param {number} bytes
   */
  async #store(message, bytes) {
    this.storingBytes += bytes;
    try {
      const queue = await this.ready;
      await queue.append(message);
      this.log.stored(message.clientMessageId);
    } catch (cause) {
      this.log.notStored(message.clientMessageId, cause);
    }
    this.storingBytes -= bytes;
    this.handlers.onChange();
  }

  /**
   * Messages that stand in the storage and are this tab's to send.
   * @param {QueuedMessage[]} messages
   * @param {boolean} older
   */
  #toSend(messages, older) {
    if (this.closed && this.queue === null) return;
    const entries = messages.map(entryOf);
    for (const message of messages) this.log.found(message);
    if (older) this.outbox.addBefore(entries);
    else this.outbox.add(entries);
    this.#rejectTooBig();
    this.sender.pump();
    this.#tellCount();
  }

  /** @param {Told} told by another tab */
  #heard(told) {
    if (told.state === "committed" || told.state === "rejected") {
      const entry = this.outbox.forget(told.clientMessageId);
      if (entry !== undefined) this.queue?.settled(entry.stored);
    }
    this.log.apply(told);
    this.handlers.onChange();
  }

  /** @param {Count} count */
  #counted(count) {
    this.told = count;
    this.handlers.onChange();
  }

  /** @param {FrameWay | PostWay} way */
  open(way) {
    this.#rejectTooBig();
    this.sender.open(way);
  }

  #rejectTooBig() {
    this.#changed(this.outbox.rejectLargerThan(this.plan.limits().maxMessageBytes));
  }

  /** @param {number} code of the close */
  lost(code) {
    if (closeRule(code).content) this.#changed(this.outbox.closedBy(code));
    this.sender.shut();
  }

  /** @param {Frame} frame */
  answered(frame) {
    this.sender.answered(frame);
  }

  /**
   * Wait until nothing waits any more.
   * @param {number} atMostMs
   */
  async drained(atMostMs) {
    const deadline = this.env.now() + atMostMs;
    await this.ready;
    while (this.waiting > 0 && this.env.now() < deadline) {
      await new Promise((resolve) => this.env.setTimeout(() => resolve(undefined), Math.min(50, atMostMs)));
    }
  }

  /** @param {import("../errors.js").CollabdError | null} because why, when it was not the application's wish */
  async close(because) {
    this.closed = true;
    this.sender.shut();
    const queue = await this.ready;
    await queue.stop();
    this.log.close(queue.durable, because);
    this.handlers.onChange();
  }

  /** @param {Change[]} changes */
  #changed(changes) {
    for (const { entry, ...change } of changes) this.#changedOne(entry, change);
    if (changes.length === 0) return;
    this.#tellCount();
    this.handlers.onChange();
  }

  /**
   * @param {Entry} entry
   * @param {Omit<Change, "entry">} change
   */
  #changedOne(entry, change) {
    const told = { ...change, clientMessageId: entry.clientMessageId };
    this.log.apply(told);
    // Told first and removed then: a crash in between makes another tab send it again, which is safe.
    this.queue?.tell(told);
    if (change.state === "committed" || change.state === "rejected") this.queue?.settled(entry.stored);
    else if (entry.stored.attempts !== entry.attempts) {
      entry.stored = { ...entry.stored, attempts: entry.attempts };
      this.queue?.attempted(entry.stored);
    }
  }

  #tellCount() {
    const bytes = this.outbox.entries.reduce((sum, entry) => sum + entry.bytes, 0);
    this.queue?.tellCount({ messages: this.waiting, bytes });
  }
}

/**
 * @param {QueuedMessage} stored
 * @returns {Entry}
 */
function entryOf(stored) {
  const { clientMessageId, text, attempts } = stored;
  return { clientMessageId, text, bytes: byteLength(text), attempts, state: "queued", sentAt: 0, stored };
}
