/**
 * The token that the client shows, asked for when there is none or a new one is due (docs/client-behaviour.md, R50 to
 * R52).
 *
 * Law of this file: it knows no connection; who was refused says so here, and learns whether to come back.
 */

/** @import { Environment } from "./environment.js" */

import { FIXED } from "../core/constants.js";
import { renewalDue, tokenExpiry } from "../core/token.js";
import { TokenUnavailableError } from "../errors.js";

/** @typedef {string | (() => string | Promise<string>)} TokenOption */

export class Tokens {
  /**
   * @param {Environment} env
   * @param {TokenOption | undefined} option
   */
  constructor(env, option) {
    this.env = env;
    this.option = option;
    /** @type {string | null} */
    this.token = typeof option === "string" ? option : null;
    /** Server clock minus own wall clock, milliseconds. */
    this.clockAheadMs = 0;
    this.dueAt = this.token === null ? Infinity : this.#dueAt(tokenExpiry(this.token));
    this.refusedFresh = false;
    /** @type {Promise<string> | null} */
    this.asking = null;
  }

  /** @returns {boolean} whether there is a function to ask */
  get canRenew() {
    return typeof this.option === "function";
  }

  /** @param {number} serverTime milliseconds since 1970 */
  hear(serverTime) {
    this.clockAheadMs = serverTime - this.env.wall();
  }

  /** @returns {boolean} */
  isDue() {
    return this.canRenew && this.#serverTime() >= this.dueAt;
  }

  /**
   * A known token is used on where the function fails: whether it is still good is for the server to say (R52).
   * @returns {Promise<string | null>} null where no token is used
   * @throws {TokenUnavailableError}
   */
  async current() {
    if (!this.canRenew || (this.token !== null && !this.isDue())) return this.token;
    try {
      return await this.#inTime(this.renew());
    } catch (problem) {
      if (this.token === null) throw problem;
      return this.token;
    }
  }

  /**
   * A function that never answers must not hold up whoever asks for ever; its answer still counts when it comes.
   * @param {Promise<string>} asking
   * @returns {Promise<string>}
   */
  #inTime(asking) {
    return new Promise((resolve, reject) => {
      const late = new Error(`it has given no token for ${FIXED.tokenPatienceMs / 1000} seconds`);
      const timer = this.env.setTimeout(() => reject(new TokenUnavailableError(late)), FIXED.tokenPatienceMs);
      asking.then(resolve, reject).finally(() => this.env.clearTimeout(timer));
    });
  }

  /**
   * Ask the function; who asks meanwhile gets the same answer.
   * @returns {Promise<string>}
   * @throws {TokenUnavailableError}
   */
  renew() {
    this.asking ??= this.#ask().finally(() => (this.asking = null));
    return this.asking;
  }

  /** @returns {Promise<string>} */
  async #ask() {
    let token;
    try {
      token = await /** @type {() => string | Promise<string>} */ (this.option)();
      if (typeof token !== "string" || token === "") throw new TypeError("it gave no text");
    } catch (cause) {
      this.dueAt = this.#serverTime() + FIXED.renewalRetryMs;
      throw new TokenUnavailableError(cause);
    }
    this.token = token;
    this.dueAt = this.#dueAt(tokenExpiry(token));
    return token;
  }

  /** AUTH_OK came. @param {number | undefined} expiresAt milliseconds since 1970 */
  accepted(expiresAt) {
    this.refusedFresh = false;
    if (typeof expiresAt === "number") this.dueAt = this.#dueAt(expiresAt);
  }

  /** WELCOME or an answered poll: the token is good. */
  worked() {
    this.refusedFresh = false;
  }

  /**
   * The server refused a token.
   * @param {string | null} used the one that was refused: another may have been got meanwhile
   * @returns {boolean} whether coming back makes sense
   */
  refused(used) {
    if (!this.canRenew) return false;
    if (used !== this.token) return true;
    if (this.refusedFresh) return false;
    this.refusedFresh = true;
    this.token = null;
    return true;
  }

  #serverTime() {
    return this.env.wall() + this.clockAheadMs;
  }

  /** @param {number | null} expiresAt */
  #dueAt(expiresAt) {
    return renewalDue(expiresAt, this.#serverTime());
  }
}
