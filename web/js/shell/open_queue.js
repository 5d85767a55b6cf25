/**
 * Which queue a client gets (docs/client-behaviour.md, R30 to R32).
 *
 * Law of this file: the choice, and what is said when the browser leaves none.
 */

/** @import { Environment } from "./environment.js" */
/** @import { QueueStorage } from "./idb_storage.js" */
/** @import { MessageQueue, QueueHandlers } from "./memory_queue.js" */

import { FIXED } from "../core/constants.js";
import { StorageBlockedError } from "../errors.js";
import { IdbStorage } from "./idb_storage.js";
import { LeasedQueue } from "./leased_queue.js";
import { MemoryQueue } from "./memory_queue.js";
import { SharedQueue } from "./shared_queue.js";

/** @typedef {"auto" | "memory" | QueueStorage} StorageOption */

/**
 * A queue that has started.
 * @param {Environment} env
 * @param {StorageOption} option
 * @param {string} name
 * @param {QueueHandlers} handlers
 * @returns {Promise<{queue: MessageQueue, problem: StorageBlockedError | null}>}
 */
export async function openQueue(env, option, name, handlers) {
  const wanted = option === "auto" ? pageStorage(env) : option;
  if (wanted === "memory") return { queue: new MemoryQueue(handlers), problem: null };
  try {
    const storage = wanted instanceof Function ? wanted() : wanted;
    await inTime(env, storage.open());
    const queue = new (env.locks === undefined ? LeasedQueue : SharedQueue)(env, storage, name, handlers);
    await queue.start();
    return { queue, problem: null };
  } catch (cause) {
    return { queue: new MemoryQueue(handlers), problem: new StorageBlockedError(true, cause) };
  }
}

/**
 * Browsers have been seen to leave the opening of a database unanswered for ever; messages would wait as long.
 * @param {Environment} env
 * @param {Promise<void>} opening
 * @returns {Promise<void>}
 */
function inTime(env, opening) {
  return new Promise((resolve, reject) => {
    const late = new Error("the database did not open in time");
    const timer = env.setTimeout(() => reject(late), FIXED.storagePatienceMs);
    opening.then(resolve, reject).finally(() => env.clearTimeout(timer));
  });
}

/**
 * @param {Environment} env
 * @returns {"memory" | (() => QueueStorage)}
 */
function pageStorage(env) {
  if (env.indexedDB !== undefined) return () => new IdbStorage();
  if (!env.isPage) return "memory";
  return () => {
    throw new TypeError("this page has no IndexedDB");
  };
}
