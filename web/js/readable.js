/**
 * Values that change, as the application reads them: called as functions, with a way to subscribe.
 *
 * Law of this file: the only one that knows which signal library is underneath. Read inside a `computed` or `effect` of
 * @preact/signals-core, these are tracked like any signal.
 */

/** @import { Signal } from "@preact/signals-core" */

import { signal } from "@preact/signals-core";

/**
 * @template T
 * @typedef {object} Subscribable
 * @property {(told: (value: T) => void) => () => void} subscribe tells the present value at once, then each new one;
 *   answers a function that ends it. What `told` throws is reported by the platform and stops nobody else
 * @property {() => T} peek reads without being tracked
 */

/**
 * @template T
 * @typedef {(() => T) & Subscribable<T>} Readable
 */

/**
 * @template T
 * @param {Signal<T>} source
 * @param {(problem: unknown) => void} onThrow told what a subscriber throws: else it would come out where the value is
 *   set, in the middle of the client's work
 * @returns {Readable<T>}
 */
export function readable(source, onThrow) {
  return Object.assign(() => source.value, {
    subscribe: (/** @type {(value: T) => void} */ told) =>
      source.subscribe((value) => {
        try {
          told(value);
        } catch (problem) {
          onThrow(problem);
        }
      }),
    peek: () => source.peek(),
  });
}

/**
 * Tells every listener of each thing that happens once, where a value would lose all but the last.
 * @template T
 */
export class Announcer {
  constructor() {
    /** @type {Set<(thing: T) => void>} */
    this.listeners = new Set();
  }

  /**
   * @param {(thing: T) => void} listener
   * @returns {() => void} ends it
   */
  listen(listener) {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /**
   * @param {T} thing
   * @param {(problem: unknown) => void} onThrow a listener's own mistake must not stop the others, nor the client
   */
  tell(thing, onThrow) {
    for (const listener of [...this.listeners]) {
      try {
        listener(thing);
      } catch (problem) {
        onThrow(problem);
      }
    }
  }
}

export { signal };
