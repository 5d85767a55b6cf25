/**
 * Filling a hole through replay (docs/client-behaviour.md, R64 to R66).
 *
 * Law of this file: it fetches and waits; what fits where is the timeline's decision.
 */

/** @import { HttpAnswer } from "../core/answers.js" */
/** @import { Step, Timeline } from "../core/timeline.js" */
/** @import { Environment } from "./environment.js" */

import { isReplayAnswer, judge } from "../core/answers.js";
import { backoffMs } from "../core/backoff.js";
import { FIXED } from "../core/constants.js";

const TRIES = 3;
const RETRY_RULE = { base: FIXED.backoffBaseMs, cap: FIXED.backoffCapMs };

/**
 * @typedef {object} RepairHandlers
 * @property {(from: number) => Promise<HttpAnswer>} ask
 * @property {(step: Step) => void} onStep
 * @property {() => void} onHopeless no useful answer after three tries
 */

export class Repairer {
  /**
   * @param {Environment} env
   * @param {Timeline} timeline
   * @param {RepairHandlers} handlers
   */
  constructor(env, timeline, handlers) {
    this.env = env;
    this.timeline = timeline;
    this.handlers = handlers;
    this.round = 0;
    /** @type {any} */
    this.timer = null;
  }

  /** The connection ended: coming back brings what was missing. */
  cancel() {
    this.round += 1;
    this.env.clearTimeout(this.timer);
  }

  /** @param {number} from */
  start(from) {
    this.cancel();
    void this.#try(from, 1, this.round);
  }

  /**
   * @param {number} from
   * @param {number} nth
   * @param {number} round
   */
  async #try(from, nth, round) {
    const answer = await this.handlers.ask(from);
    if (round !== this.round) return;
    if (judge(answer, isReplayAnswer).kind === "ok") {
      const step = this.timeline.repaired(answer.body);
      const useless = step.deliver.length === 0 && step.repairFrom !== null;
      if (!useless) {
        this.handlers.onStep(step);
        return;
      }
    }
    if (nth >= TRIES) this.handlers.onHopeless();
    else this.#later(from, nth, round);
  }

  /**
   * @param {number} from
   * @param {number} nth
   * @param {number} round
   */
  #later(from, nth, round) {
    const wait = backoffMs(nth, RETRY_RULE, this.env.random);
    this.timer = this.env.setTimeout(() => void this.#try(from, nth + 1, round), wait);
  }
}
