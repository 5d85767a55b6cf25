/**
 * When to try the WebSocket next, and when to poll meanwhile (docs/client-behaviour.md, R24 to R26, R70, R71).
 *
 * Law of this file: pure; time and randomness are arguments, in milliseconds of a steady clock.
 */

import { backoffMs } from "./backoff.js";
import { FIXED } from "./constants.js";

/** Counts what went wrong since the last stable connection. */
export class Redial {
  constructor() {
    this.failures = 0;
    /** Tries since the last live connection: the `reconnectAttempt` of the next one (R41). */
    this.tries = 0;
    this.notBefore = -Infinity;
  }

  /** A try begins. @returns {number} the `reconnectAttempt` to send; 0 for the very first try */
  begin() {
    const attempt = this.tries;
    this.tries += 1;
    return attempt;
  }

  /** WELCOME came. */
  welcomed() {
    this.tries = 1;
  }

  /** The connection has lived long enough to count as a success. */
  stable() {
    this.failures = 0;
  }

  failed() {
    this.failures += 1;
  }

  /**
   * The server named a time before which not to come back.
   * @param {number} until
   */
  told(until) {
    this.notBefore = Math.max(this.notBefore, until);
  }

  /**
   * @param {number} now
   * @param {() => number} random
   * @param {{fallback: boolean, atOnce?: boolean}} how
   * @returns {number} when to try
   */
  nextAt(now, random, { fallback, atOnce = false }) {
    const cap = fallback ? FIXED.probeCapMs : FIXED.backoffCapMs;
    const wait = atOnce ? 0 : backoffMs(Math.max(this.failures, 1), { base: FIXED.backoffBaseMs, cap }, random);
    return Math.max(now + wait, this.notBefore);
  }

  /** @param {number} maxReconnectAttempts */
  shouldPoll(maxReconnectAttempts) {
    return this.failures >= maxReconnectAttempts;
  }
}
