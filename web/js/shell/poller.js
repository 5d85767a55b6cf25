/**
 * Asking for events by HTTP while no WebSocket passes (docs/client-behaviour.md, R72, R73).
 *
 * Law of this file: one request at a time, and the answer to one that was asked before `stop` is thrown away.
 */

/** @import { HttpAnswer, Judgement } from "../core/answers.js" */
/** @import { PollAnswer, Position } from "../core/types.js" */
/** @import { Environment } from "./environment.js" */

import { isPollAnswer, judge } from "../core/answers.js";
import { backoffMs } from "../core/backoff.js";
import { FIXED } from "../core/constants.js";

/**
 * @typedef {object} PollerHandlers
 * @property {() => Position | null} position
 * @property {(position: Position | null) => Promise<HttpAnswer>} ask
 * @property {(answer: PollAnswer, asked: Position | null, tookMs: number) => void} onAnswer
 * @property {(judgement: Judgement, answer: HttpAnswer) => void} onTrouble may stop it
 * @property {() => boolean} mayAsk false while the page is hidden and offline
 */

const RETRY_RULE = { base: FIXED.backoffBaseMs, cap: FIXED.backoffCapMs };

export class Poller {
  /**
   * @param {Environment} env
   * @param {() => number} intervalMs
   * @param {PollerHandlers} handlers
   */
  constructor(env, intervalMs, handlers) {
    this.env = env;
    this.intervalMs = intervalMs;
    this.handlers = handlers;
    this.running = false;
    this.asking = false;
    this.round = 0;
    this.failures = 0;
    /** @type {any} */
    this.timer = null;
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.failures = 0;
    this.#again(0);
  }

  stop() {
    this.running = false;
    this.asking = false;
    this.round += 1;
    this.env.clearTimeout(this.timer);
  }

  /** The network is back, or the page: do not wait for the next turn. */
  hurry() {
    if (this.running && !this.asking) this.#again(0);
  }

  /** @param {number} ms */
  #again(ms) {
    this.env.clearTimeout(this.timer);
    this.timer = this.env.setTimeout(() => this.#turn(), ms);
  }

  #turn() {
    if (this.handlers.mayAsk()) void this.#poll(++this.round);
    else this.#again(this.intervalMs());
  }

  /** @param {number} round */
  async #poll(round) {
    this.asking = true;
    const asked = this.handlers.position();
    const began = this.env.now();
    const answer = await this.handlers.ask(asked);
    if (round !== this.round) return;
    this.asking = false;
    const judgement = judge(answer, isPollAnswer);
    if (judgement.kind === "ok") {
      this.#answered(answer.body, asked, this.env.now() - began);
      return;
    }
    this.handlers.onTrouble(judgement, answer);
    if (this.running) this.#again(this.#waitAfter(judgement));
  }

  /**
   * @param {PollAnswer} answer
   * @param {Position | null} asked
   * @param {number} tookMs
   */
  #answered(answer, asked, tookMs) {
    this.failures = 0;
    this.handlers.onAnswer(answer, asked, tookMs);
    if (this.running) this.#again(answer.hasMore ? 0 : (answer.nextPollMs ?? this.intervalMs()));
  }

  /** @param {Judgement} judgement */
  #waitAfter(judgement) {
    if (judgement.kind === "token") return 0;
    if (judgement.kind === "later") return Math.max(this.intervalMs(), judgement.retryAfterMs);
    this.failures += 1;
    return Math.max(this.intervalMs(), backoffMs(this.failures, RETRY_RULE, this.env.random));
  }
}
