/**
 * Cursor moves: the latest wins, and never too many (docs/client-behaviour.md, R85).
 *
 * Law of this file: nothing is queued; at most one position waits.
 */

/** @import { Environment } from "./environment.js" */

import { FIXED } from "../core/constants.js";

export class CursorPace {
  /** @param {Environment} env */
  constructor(env) {
    this.env = env;
    /** @type {string | null} the encoded message that waits */
    this.latest = null;
    /** @type {((text: string) => void) | null} */
    this.out = null;
    this.notBefore = -Infinity;
    /** @type {any} */
    this.timer = null;
  }

  /** @param {string} text */
  move(text) {
    this.latest = text;
    this.#flush();
  }

  /** @param {(text: string) => void} out */
  open(out) {
    this.out = out;
    this.#flush();
  }

  shut() {
    this.out = null;
    this.env.clearTimeout(this.timer);
  }

  /** Nothing goes out before then. @param {number} until */
  pause(until) {
    this.notBefore = Math.max(this.notBefore, until);
  }

  /** @returns {string | null} the position that waits, which is taken: for a way that sends in its own time */
  take() {
    const text = this.latest;
    this.latest = null;
    return text;
  }

  #flush() {
    if (this.out === null || this.latest === null) return;
    const now = this.env.now();
    this.env.clearTimeout(this.timer);
    if (now < this.notBefore) {
      this.timer = this.env.setTimeout(() => this.#flush(), this.notBefore - now);
      return;
    }
    this.notBefore = now + FIXED.cursorIntervalMs;
    this.out(/** @type {string} */ (this.take()));
  }
}
