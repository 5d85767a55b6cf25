/**
 * Whether a live WebSocket still lives (docs/client-behaviour.md, R2, R20, R25, R35).
 *
 * Law of this file: one timer that looks about once a second; every deadline of a live connection is compared at that
 * look, so that a machine that slept finds them all at once, and none fires in its sleep.
 */

/** @import { Environment } from "./environment.js" */

import { FIXED } from "../core/constants.js";
import { WakeWatch } from "../core/wake.js";

/**
 * @typedef {object} HeartbeatHandlers
 * @property {() => void} ping send a PING and call `pinged`
 * @property {() => void} silent nothing came for too long
 * @property {(now: number) => void} look called about once a second
 */

export class Heartbeat {
  /**
   * @param {Environment} env
   * @param {number} intervalMs
   * @param {HeartbeatHandlers} handlers
   */
  constructor(env, intervalMs, handlers) {
    this.env = env;
    this.intervalMs = intervalMs;
    this.everyMs = Math.min(FIXED.lookMs, intervalMs / 4);
    this.handlers = handlers;
    const now = env.now();
    this.watch = new WakeWatch(now, env.wall());
    this.heardAt = now;
    this.pingAt = Infinity;
    this.wakeDeadline = Infinity;
    /** @type {Map<number, number>} sentAt on the wire → when, on the steady clock */
    this.pings = new Map();
    this.timer = env.setTimeout(() => this.#look(), this.everyMs);
  }

  stop() {
    this.env.clearTimeout(this.timer);
  }

  /** Something came. */
  heard() {
    this.heardAt = this.env.now();
    this.wakeDeadline = Infinity;
  }

  /** PING now, and from now on at every interval. */
  beat() {
    const now = this.env.now();
    this.pingAt = now + this.intervalMs;
    this.handlers.ping();
  }

  /**
   * @param {number} sentAt of the PING on the wire
   */
  pinged(sentAt) {
    this.pings.set(sentAt, this.env.now());
  }

  /**
   * @param {unknown} sentAt as PONG echoes it
   * @returns {number | null} the round trip in milliseconds
   */
  ponged(sentAt) {
    const began = this.pings.get(Number(sentAt));
    this.pings.delete(Number(sentAt));
    return began === undefined ? null : this.env.now() - began;
  }

  /** The machine slept, or the page was hidden or offline: the socket has to show that it lives. */
  wake() {
    const now = this.env.now();
    this.heardAt = now;
    this.wakeDeadline = now + FIXED.wakeTimeoutMs;
    this.beat();
  }

  #look() {
    const now = this.env.now();
    this.timer = this.env.setTimeout(() => this.#look(), this.everyMs);
    const plan = { everyMs: this.everyMs, toleranceMs: this.intervalMs };
    if (this.watch.look(now, this.env.wall(), plan)) {
      this.wake();
    } else if (now >= this.wakeDeadline || now - this.heardAt >= 2 * this.intervalMs) {
      this.handlers.silent();
      return;
    } else if (now >= this.pingAt) {
      this.beat();
    }
    this.handlers.look(now);
  }
}
