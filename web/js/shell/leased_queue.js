/**
 * A queue for each tab, where the browser has no locks (plain http beyond localhost; docs/client-behaviour.md, R31).
 *
 * Law of this file: a tab sends what stands in queues whose lease it holds, and takes over queues whose owner has not
 * renewed for long. Two tabs may come to send the same message after all (one slept, one adopted): the server's
 * once-only makes it one event.
 */

/** @import { ChannelLike, Environment } from "./environment.js" */
/** @import { Lease, QueuedMessage, QueueStorage, StoredMessage } from "./idb_storage.js" */
/** @import { MessageQueue, QueueHandlers, Told } from "./memory_queue.js" */

import { FIXED } from "../core/constants.js";
import { newMessageId } from "../core/message.js";

const TAB_ID = /^[A-Za-z0-9_-]{22}$/;

/** @implements {MessageQueue} */
export class LeasedQueue {
  /**
   * @param {Environment} env
   * @param {QueueStorage} storage
   * @param {string} name of all queues of this user in this run
   * @param {QueueHandlers} handlers
   */
  constructor(env, storage, name, handlers) {
    this.env = env;
    this.storage = storage;
    this.name = name;
    this.handlers = handlers;
    this.durable = true;
    this.leads = true;
    this.me = newMessageId(env.randomBytes);
    this.own = `${name}|${this.me}`;
    /** @type {Set<string>} queues of tabs that are gone */
    this.adopted = new Set();
    this.stopped = false;
    /** @type {any} */
    this.timer = null;
    this.stopWatching = () => {};
    /** @type {ChannelLike | undefined} */
    this.channel = undefined;
  }

  async start() {
    this.channel = this.env.openChannel?.(this.name);
    if (this.channel !== undefined) this.channel.onmessage = ({ data }) => this.handlers.onTold(data.told);
    this.stopWatching = this.env.page.watch((change) => {
      if (change === "leaving") this.#giveBack();
    });
    await this.#keepOwn();
    await this.#adopt();
    this.#renewLater();
  }

  /** @param {StoredMessage} message */
  async append(message) {
    const queue = this.own;
    const number = await this.storage.append(queue, message);
    this.handlers.onMessages([{ ...message, queue, number }], false);
  }

  /** @param {QueuedMessage} message */
  attempted(message) {
    this.storage.update(message).catch(() => {});
  }

  /** @param {QueuedMessage} message */
  settled({ queue, number }) {
    this.#remove(queue, number).catch(() => {});
  }

  /** @param {Told} told */
  tell(told) {
    this.channel?.postMessage({ told });
  }

  tellCount() {}

  async stop() {
    this.stopped = true;
    this.env.clearTimeout(this.timer);
    this.stopWatching();
    this.channel?.close();
    this.#giveBack();
  }

  /**
   * @param {string} queue
   * @param {number} number
   */
  async #remove(queue, number) {
    await this.storage.remove(queue, number);
    if (!this.adopted.has(queue) || (await this.storage.count(queue)) > 0) return;
    this.adopted.delete(queue);
    await this.storage.dropQueue(queue);
  }

  #renewLater() {
    if (this.stopped) return;
    this.timer = this.env.setTimeout(() => void this.#renew().finally(() => this.#renewLater()), FIXED.leaseRenewMs);
  }

  async #renew() {
    try {
      await this.#keepOwn();
      for (const queue of this.adopted) if (!(await this.#hold(queue))) this.adopted.delete(queue);
      await this.#adopt();
    } catch {
      // The storage refuses for now; appending will say so where it matters.
    }
  }

  /** While this tab slept another may have taken its queue over: then it goes on with a new one. */
  async #keepOwn() {
    if (await this.#hold(this.own)) return;
    this.own = `${this.name}|${newMessageId(this.env.randomBytes)}`;
    await this.#hold(this.own);
  }

  /** @param {string} queue @returns {Promise<boolean>} whether this tab has it, for another lease */
  #hold(queue) {
    const mine = this.#lease();
    return this.storage.changeLease(queue, (lease) => ((lease?.owner ?? this.me) === this.me ? mine : null));
  }

  async #adopt() {
    const prefix = `${this.name}|`;
    for (const queue of await this.storage.leasedQueues(prefix)) {
      // A user id may contain the separator: only a tab's id may follow the name.
      if (queue === this.own || this.adopted.has(queue) || !TAB_ID.test(queue.slice(prefix.length))) continue;
      if (await this.#take(queue)) await this.#takeOver(queue);
    }
  }

  /** @param {string} queue */
  #take(queue) {
    const mine = this.#lease();
    const overdue = this.env.wall() - FIXED.leaseMs;
    return this.storage.changeLease(queue, (lease) => (lease !== undefined && lease.until < overdue ? mine : null));
  }

  /** @param {string} queue */
  async #takeOver(queue) {
    const messages = await this.storage.read(queue, 0);
    if (messages.length === 0) {
      await this.storage.dropQueue(queue);
      return;
    }
    this.adopted.add(queue);
    this.handlers.onMessages(messages, true);
  }

  /** Whoever comes next need not wait for the leases to run out. */
  #giveBack() {
    const ended = { owner: this.me, until: 0 };
    for (const queue of [this.own, ...this.adopted]) this.storage.writeLeaseInPassing(queue, ended);
  }

  /** @returns {Lease} */
  #lease() {
    return { owner: this.me, until: this.env.wall() + FIXED.leaseMs };
  }
}
