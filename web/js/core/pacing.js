/**
 * When sending may go on after refusals (docs/client-behaviour.md, R19, R76).
 *
 * Law of this file: pure; time and randomness are arguments.
 */

import { backoffMs } from "./backoff.js";
import { FIXED } from "./constants.js";

const RETRY_RULE = { base: FIXED.backoffBaseMs, cap: FIXED.backoffCapMs };
const LEAST_PACE_MS = 20;
const MOST_PACE_MS = 1_000;
const BATCH_PAUSE_MS = 1_000;

/** The waits of one queue; all times in milliseconds of a steady clock. */
export class Pacing {
  constructor() {
    this.refusals = 0;
    this.resumeAt = 0;
    this.paceMs = 0;
    this.lastSentAt = -Infinity;
  }

  /** @param {number} now */
  sent(now) {
    this.lastSentAt = now;
  }

  /** An ACK came: the next refusal starts with a short wait again. */
  succeeded() {
    this.refusals = 0;
  }

  /** Everything has gone through once. */
  emptied() {
    this.paceMs = 0;
  }

  /**
   * @param {{code: string, retryAfterMs?: number}} refusal
   * @param {number} now
   * @param {() => number} random
   * @param {boolean} batch whether messages go out in POSTs
   */
  refused({ code, retryAfterMs }, now, random, batch) {
    this.refusals += 1;
    this.pause(now + (retryAfterMs ?? backoffMs(this.refusals, RETRY_RULE, random)));
    if (code !== "rate_limited") return;
    if (batch) this.pause(now + BATCH_PAUSE_MS);
    this.paceMs = Math.min(MOST_PACE_MS, Math.max(LEAST_PACE_MS, retryAfterMs ?? LEAST_PACE_MS, 2 * this.paceMs));
  }

  /**
   * Nothing is sent before then.
   * @param {number} until
   */
  pause(until) {
    this.resumeAt = Math.max(this.resumeAt, until);
  }

  /**
   * @param {boolean} batch
   * @returns {number} when the next message may go out
   */
  nextAt(batch) {
    return batch || this.paceMs === 0 ? this.resumeAt : Math.max(this.resumeAt, this.lastSentAt + this.paceMs);
  }
}
