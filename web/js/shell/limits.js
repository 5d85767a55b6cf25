/**
 * The numbers that the application or the server sets (docs/client-behaviour.md, "Constants").
 *
 * Law of this file: the application's word first, then what WELCOME said, then the server's client-config, then the
 * defaults.
 */

/** @import { Limits } from "../core/constants.js" */
/** @import { HttpAnswer } from "../core/answers.js" */

import { DEFAULT_LIMITS } from "../core/constants.js";

export class LimitKeeper {
  /** @param {Partial<Limits>} chosen by the application */
  constructor(chosen) {
    this.chosen = chosen;
    /** @type {Partial<Limits>} */
    this.told = {};
    this.asked = false;
  }

  /** @returns {Limits} */
  get now() {
    return { ...DEFAULT_LIMITS, ...this.told, ...this.chosen };
  }

  /** @param {object} told by the server; what is no limit, or no number, is passed over */
  hear(told) {
    const known = Object.entries(told).filter(([name, value]) => name in DEFAULT_LIMITS && Number(value) > 0);
    this.told = { ...this.told, ...Object.fromEntries(known) };
  }

  /**
   * Ask once, and go on with what is known if there is no answer.
   * @param {() => Promise<HttpAnswer>} ask
   */
  async askOnce(ask) {
    if (this.asked) return;
    this.asked = true;
    const { body } = await ask();
    // What WELCOME said of this connection is newer.
    if (typeof body === "object" && body !== null) this.hear({ ...body, ...this.told });
  }
}
