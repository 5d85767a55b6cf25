/**
 * Polling while no WebSocket lives, as the connection sees it (docs/client-behaviour.md, R44, R51, R70, R73, R78).
 *
 * Law of this file: what HTTP statuses mean during a fallback; when to begin and end one is the connection's decision.
 */

/** @import { HttpAnswer, Judgement } from "../core/answers.js" */
/** @import { CollabdError } from "../errors.js" */
/** @import { Host, Target } from "./connection_types.js" */
/** @import { Environment } from "./environment.js" */

import { RefusedError, UnauthorizedError } from "../errors.js";
import { Poller } from "./poller.js";
import { problemOf } from "./problems.js";

export class Fallback {
  /**
   * @param {Environment} env
   * @param {Target} target
   * @param {Host} host
   * @param {{giveUp: (error: CollabdError) => void, mayTry: () => boolean}} connection
   */
  constructor(env, target, host, { giveUp, mayTry }) {
    this.target = target;
    this.host = host;
    this.giveUp = giveUp;
    this.active = false;
    this.poller = new Poller(env, () => target.limits().pollingIntervalMs, {
      position: () => host.position(),
      ask: (position) => target.poll(position),
      onAnswer: (answer, asked, tookMs) => {
        target.tokens.worked();
        host.onProblem(null);
        host.onPolled(answer, asked, tookMs);
      },
      onTrouble: (judgement, answer) => {
        host.onPollFailed();
        this.trouble(judgement, answer);
      },
      mayAsk: mayTry,
    });
  }

  begin() {
    this.active = true;
    this.host.onState("polling");
    this.host.onFallback();
    this.poller.start();
  }

  end() {
    this.active = false;
    this.poller.stop();
  }

  /** Do not wait for the next turn. */
  hurry() {
    this.poller.hurry();
  }

  /**
   * A publish was refused as a whole (R78): the other statuses are the sender's business.
   * @param {Judgement} judgement
   * @param {HttpAnswer} answer
   */
  publishRefused(judgement, answer) {
    if (judgement.kind === "token" || judgement.code === "run_not_found") this.trouble(judgement, answer);
  }

  /**
   * @param {Judgement} judgement
   * @param {HttpAnswer} answer
   */
  trouble(judgement, answer) {
    if (judgement.kind === "refused") this.giveUp(new RefusedError(judgement.code, judgement.message));
    else if (judgement.kind !== "token") this.host.onProblem(problemOf(judgement, this.target.url, answer.cause));
    else if (!this.target.tokens.refused(answer.token ?? null)) this.giveUp(new UnauthorizedError(judgement.message));
  }
}
