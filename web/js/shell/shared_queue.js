/**
 * One queue for all tabs of a user in a run; the holder of a lock sends (docs/client-behaviour.md, R30).
 *
 * Law of this file: every tab writes, only the holder reads. The browser frees a crashed tab's lock, and who gets it
 * next starts with the oldest message that is not final. A browser that refuses the lock makes every tab send: the
 * server's once-only makes it one event.
 */

/** @import { ChannelLike, Environment } from "./environment.js" */
/** @import { QueuedMessage, QueueStorage, StoredMessage } from "./idb_storage.js" */
/** @import { Count, MessageQueue, QueueHandlers, Told } from "./memory_queue.js" */

import { FIXED } from "../core/constants.js";

/** @implements {MessageQueue} */
export class SharedQueue {
  /**
   * @param {Environment} env with locks
   * @param {QueueStorage} storage
   * @param {string} name
   * @param {QueueHandlers} handlers
   */
  constructor(env, storage, name, handlers) {
    this.env = env;
    this.storage = storage;
    this.name = name;
    this.handlers = handlers;
    this.durable = true;
    this.leads = false;
    this.readUpTo = 0;
    this.waiting = new AbortController();
    this.release = () => {};
    /** @type {Promise<void>} */
    this.reading = Promise.resolve();
    /** @type {ChannelLike | undefined} */
    this.channel = undefined;
    /** @type {any} */
    this.timer = null;
  }

  async start() {
    this.channel = this.env.openChannel?.(this.name);
    if (this.channel !== undefined) this.channel.onmessage = ({ data }) => this.#heard(data);
    const locks = /** @type {import("./environment.js").LocksLike} */ (this.env.locks);
    // Not waited for: with another tab sending, it is granted when that one ends.
    void this.#wait(locks);
  }

  /** @param {import("./environment.js").LocksLike} locks */
  async #wait(locks) {
    try {
      await locks.request(this.name, { signal: this.waiting.signal }, () => this.#lead());
    } catch {
      if (!this.waiting.signal.aborted) void this.#lead();
    }
  }

  /** @returns {Promise<void>} that ends when the lock is to be given back */
  #lead() {
    if (this.waiting.signal.aborted) return Promise.resolve();
    this.leads = true;
    void this.#readOn();
    return new Promise((resolve) => (this.release = resolve));
  }

  /** @param {StoredMessage} message */
  async append(message) {
    await this.storage.append(this.name, message);
    this.channel?.postMessage({ kind: "added" });
    await this.#readOn();
  }

  /** @param {QueuedMessage} message */
  attempted(message) {
    this.storage.update(message).catch(() => {});
  }

  /** @param {QueuedMessage} message */
  settled({ number }) {
    // What cannot be removed is sent again after a reload, and the server answers that it has it.
    this.storage.remove(this.name, number).catch(() => {});
  }

  /** @param {Told} told */
  tell(told) {
    if (this.leads) this.channel?.postMessage({ kind: "state", told });
  }

  /** @param {Count} count */
  tellCount(count) {
    if (this.leads) this.channel?.postMessage({ kind: "count", count });
  }

  async stop() {
    this.waiting.abort();
    this.leads = false;
    this.env.clearTimeout(this.timer);
    this.release();
    this.channel?.close();
    this.channel = undefined;
    await this.reading;
  }

  /** @param {{kind: "added" | "state" | "count", told: Told, count: Count}} message */
  #heard({ kind, told, count }) {
    if (kind === "added") void this.#readOn();
    else if (kind === "state") this.handlers.onTold(told);
    else if (!this.leads) this.handlers.onCount(count);
  }

  /** Read what was added since, by whichever tab; one reading after the other, so that nothing is read twice. */
  #readOn() {
    if (!this.leads) return Promise.resolve();
    this.reading = this.reading.then(() => this.#read()).catch(() => this.#readLater());
    return this.reading;
  }

  /** The storage refuses for now: what stands in it must not wait for the next message. */
  #readLater() {
    if (!this.leads) return;
    this.env.clearTimeout(this.timer);
    this.timer = this.env.setTimeout(() => void this.#readOn(), FIXED.leaseRenewMs);
  }

  async #read() {
    const messages = await this.storage.read(this.name, this.readUpTo);
    if (!this.leads || messages.length === 0) return;
    this.readUpTo = /** @type {QueuedMessage} */ (messages.at(-1)).number;
    this.handlers.onMessages(messages, false);
  }
}
