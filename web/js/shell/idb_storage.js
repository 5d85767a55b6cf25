/**
 * Queues in the browser's IndexedDB (docs/client-behaviour.md, R23, R30, R31).
 *
 * Law of this file: each method is one transaction, and is done only when that is complete. One object store holds
 * three kinds of keys, so that any number of queues needs no schema change:
 *
 *     [queue, "message", number]   a message, in its order
 *     [queue, "next"]              the next number of that queue
 *     ["lease", queue]             who owns a queue where the browser has no locks
 */

/** @import { UseStore } from "idb-keyval" */

import { createStore, promisifyRequest } from "idb-keyval";

/**
 * @typedef {object} StoredMessage
 * @property {string} clientMessageId
 * @property {string} eventType
 * @property {string} text the encoded message
 * @property {number} attempts counted refusals
 *
 * @typedef {StoredMessage & {queue: string, number: number}} QueuedMessage with its place
 *
 * @typedef {object} Lease
 * @property {string} owner
 * @property {number} until milliseconds since 1970
 *
 * @typedef {object} QueueStorage
 * @property {() => Promise<void>} open throws where the browser blocks it
 * @property {(queue: string, message: StoredMessage) => Promise<number>} append answers its number
 * @property {(queue: string, after: number) => Promise<QueuedMessage[]>} read those with a higher number, in order
 * @property {(message: QueuedMessage) => Promise<void>} update
 * @property {(queue: string, number: number) => Promise<void>} remove
 * @property {(queue: string) => Promise<number>} count
 * @property {(queue: string, change: (lease: Lease | undefined) => Lease | null) => Promise<boolean>} changeLease
 *   reads and writes in one transaction; null leaves it as it is and makes the answer false
 * @property {(queue: string, lease: Lease) => void} writeLeaseInPassing for a page that goes: written without looking,
 *   and without anyone left to wait for it
 * @property {(prefix: string) => Promise<string[]>} leasedQueues
 * @property {(queue: string) => Promise<void>} dropQueue forgets an empty queue's number and lease
 */

const DATABASE = "collabd-client";
const STORE = "queues";

/** @implements {QueueStorage} */
export class IdbStorage {
  constructor() {
    /** @type {UseStore} */
    this.use = createStore(DATABASE, STORE);
  }

  async open() {
    await this.use("readonly", (store) => promisifyRequest(store.count()));
  }

  /**
   * @param {string} queue
   * @param {StoredMessage} message
   */
  append(queue, message) {
    return this.#write(async (store) => {
      const number = (await promisifyRequest(store.get([queue, "next"]))) ?? 1;
      store.put(number + 1, [queue, "next"]);
      store.put(message, [queue, "message", number]);
      return number;
    });
  }

  /**
   * @param {string} queue
   * @param {number} after
   * @returns {Promise<QueuedMessage[]>}
   */
  async read(queue, after) {
    const range = IDBKeyRange.bound([queue, "message", after], [queue, "message", Infinity], true);
    const [keys, messages] = await this.use("readonly", (store) =>
      Promise.all([promisifyRequest(store.getAllKeys(range)), promisifyRequest(store.getAll(range))]),
    );
    return messages.map((message, index) => ({ ...message, queue, number: /** @type {any} */ (keys)[index][2] }));
  }

  /** @param {QueuedMessage} message */
  async update({ queue, number, ...message }) {
    await this.#write(async (store) => {
      const key = [queue, "message", number];
      // Another tab may have finished with it meanwhile: it must not come back.
      if ((await promisifyRequest(store.getKey(key))) !== undefined) store.put(message, key);
    });
  }

  /**
   * @param {string} queue
   * @param {number} number
   */
  async remove(queue, number) {
    await this.#write(async (store) => store.delete([queue, "message", number]));
  }

  /** @param {string} queue */
  count(queue) {
    const range = IDBKeyRange.bound([queue, "message"], [queue, "message", Infinity]);
    return this.use("readonly", (store) => promisifyRequest(store.count(range)));
  }

  /**
   * @param {string} queue
   * @param {(lease: Lease | undefined) => Lease | null} change
   */
  changeLease(queue, change) {
    return this.#write(async (store) => {
      const lease = change(await promisifyRequest(store.get(["lease", queue])));
      if (lease !== null) store.put(lease, ["lease", queue]);
      return lease !== null;
    });
  }

  /**
   * @param {string} queue
   * @param {Lease} lease
   */
  writeLeaseInPassing(queue, lease) {
    const written = this.use("readwrite", (store) => {
      store.put(lease, ["lease", queue]);
      // A page that is gone answers no request, and a transaction that waits for one more would be undone.
      store.transaction.commit();
    });
    written.catch(() => {});
  }

  /** @param {string} prefix */
  async leasedQueues(prefix) {
    const range = IDBKeyRange.bound(["lease", prefix], ["lease", `${prefix}\uffff`]);
    const keys = await this.use("readonly", (store) => promisifyRequest(store.getAllKeys(range)));
    return keys.map((key) => /** @type {any} */ (key)[1]);
  }

  /** @param {string} queue */
  async dropQueue(queue) {
    await this.#write(async (store) => {
      store.delete([queue, "next"]);
      store.delete(["lease", queue]);
    });
  }

  /**
   * @template T
   * @param {(store: IDBObjectStore) => Promise<T>} work awaits nothing but requests of this store
   * @returns {Promise<T>} once the transaction is complete, which is when it is durable
   */
  #write(work) {
    return this.use("readwrite", async (store) => {
      const done = promisifyRequest(store.transaction);
      // A failed request fails `work` first; its transaction's own failure says the same again.
      done.catch(() => {});
      const result = await work(store);
      await done;
      return result;
    });
  }
}
