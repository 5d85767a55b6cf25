/**
 * Being connected: dialling, what the end of a socket means, coming back, polling meanwhile
 * (docs/client-behaviour.md, R24 to R29, R33, R41 to R44, R51, R70, R71, R73).
 *
 * Law of this file: it moves no events and no messages; it decides which way is open, and says so to its host.
 */

/** @import { HttpAnswer, Judgement } from "../core/answers.js" */
/** @import { Welcome } from "../core/types.js" */
/** @import { CollabdError } from "../errors.js" */
/** @import { Host, Target } from "./connection_types.js" */
/** @import { Environment } from "./environment.js" */
/** @import { End } from "./socket_link.js" */

import { isPollAnswer, judge } from "../core/answers.js";
import { closeRule } from "../core/close_codes.js";
import { FIXED } from "../core/constants.js";
import { Redial } from "../core/redial.js";
import { RefusedError, ServerBusyError, UnauthorizedError } from "../errors.js";
import { Fallback } from "./fallback.js";
import { goodbye, problemOf } from "./problems.js";
import { SocketLink } from "./socket_link.js";

const EXPIRED = "it has expired or is not accepted";

export class Connection {
  /**
   * @param {Environment} env
   * @param {Target} target
   * @param {Host} host
   */
  constructor(env, target, host) {
    this.env = env;
    this.target = target;
    this.host = host;
    this.redial = new Redial();
    this.closed = false;
    /** @type {SocketLink | null} live, or on its way to be */
    this.link = null;
    this.dialling = 0;
    /** @type {number | null} when the socket that is live got its WELCOME */
    this.liveSince = null;
    this.drained = false;
    this.rateLimitedMs = 10_000;
    /** An own try that presented the session ended before its WELCOME, and may yet reach the server (see #replaced). */
    this.ghost = false;
    this.presented = false;
    /** @type {string | null} the token of the newest try */
    this.shownToken = null;
    /** @type {any} */
    this.timer = null;
    /** @type {any} */
    this.drainTimer = null;
    this.fallback = new Fallback(env, target, host, {
      giveUp: (error) => this.#giveUp(error),
      mayTry: () => this.#mayTry(),
    });
  }

  start() {
    void this.#dial();
  }

  /** Leave, and never come back. @returns {Promise<void>} done when the server has closed too, or did not in time */
  close() {
    const { link } = this;
    this.#shutDown();
    return link === null ? Promise.resolve() : link.gone;
  }

  /** The live socket is of no use any more (R20, R35, R65): drop it and come back with backoff. */
  drop() {
    this.link?.drop();
  }

  /** R18, R66: drop the socket of the client's own will, and come back at once. */
  comeBackNow() {
    if (this.closed) return;
    this.#abandon();
    this.#schedule({ atOnce: true });
    this.fallback.hurry();
  }

  /** The page became visible or got a network, which is a reason to try at once (R26). */
  hurry() {
    if (this.closed || this.liveSince !== null) return;
    this.fallback.hurry();
    if (this.link === null && this.timer !== null) this.#schedule({ atOnce: true });
  }

  /** R33. @param {number} retryAfterMs */
  draining(retryAfterMs) {
    this.drained = true;
    this.redial.told(this.env.now() + retryAfterMs);
    this.host.onProblem(new ServerBusyError("draining", "it restarts"));
    this.drainTimer = this.env.setTimeout(() => this.link?.drop(), FIXED.drainWaitMs);
  }

  /** @param {number} retryAfterMs of a rate_limited ERROR; 4429 goes by the last one */
  rateLimited(retryAfterMs) {
    this.rateLimitedMs = retryAfterMs;
  }

  /** The token was refused on the live connection (R51): come back with a fresh one, or not at all. */
  tokenRefused() {
    const used = this.target.tokens.token;
    this.#abandon();
    this.#comeBackWithToken(used, EXPIRED);
  }

  /** Called about once a second while live. @param {number} now */
  look(now) {
    if (this.liveSince !== null && now - this.liveSince >= FIXED.stableAfterMs) this.redial.stable();
  }

  #mayTry() {
    return !(this.env.page.isHidden() && this.env.page.isOffline());
  }

  async #dial() {
    this.env.clearTimeout(this.timer);
    this.timer = null;
    const dialling = ++this.dialling;
    if (!this.fallback.active) this.host.onState("connecting");
    let token;
    try {
      token = await this.target.tokens.current();
    } catch (problem) {
      if (dialling === this.dialling) this.#failed(problemOf(problem, this.target.url));
      return;
    }
    if (dialling !== this.dialling) return;
    this.shownToken = token;
    this.presented = this.target.hasSession();
    const { url, protocols } = this.target.socket(this.redial.begin(), token);
    this.link = new SocketLink(
      this.env,
      { url, protocols, asked: this.host.position() },
      {
        onWelcome: (welcome) => this.#welcomed(welcome),
        onFrame: (frame) => this.host.onFrame(frame),
        onEnd: (end) => this.#ended(end),
      },
    );
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    const link = /** @type {SocketLink} */ (this.link);
    // A poll may have begun another history since this socket asked (R67): what it brings would not fit.
    if (link.asked?.epoch !== this.host.position()?.epoch) {
      this.comeBackNow();
      return;
    }
    this.fallback.end();
    this.liveSince = this.env.now();
    this.redial.welcomed();
    this.target.tokens.worked();
    this.host.onProblem(null);
    this.host.onState("live");
    this.host.onLive(welcome, link);
  }

  /** @param {End} end */
  #ended(end) {
    const wasStable = this.liveSince !== null && this.env.now() - this.liveSince >= FIXED.stableAfterMs;
    if (wasStable) this.redial.stable();
    const { drained } = this;
    this.#forgetLink(end.code);
    if (!end.opened) {
      void this.#askWhy();
      return;
    }
    if (end.problem !== "") {
      this.#failed(problemOf(end.problem, this.target.url));
      return;
    }
    if (drained) this.#schedule({ atOnce: true });
    else this.#goBy(end.code, wasStable);
  }

  /**
   * @param {number} code
   * @param {boolean} wasStable
   */
  #goBy(code, wasStable) {
    const rule = closeRule(code);
    if (rule.why === "replaced" && this.ghost) {
      this.#replacedByGhost();
    } else if (rule.act === "stop") {
      this.#giveUp(goodbye(/** @type {string} */ (rule.why)));
    } else if (rule.act === "token") {
      this.#comeBackWithToken(this.shownToken, EXPIRED);
    } else {
      if (code === 4429) this.redial.told(this.env.now() + this.rateLimitedMs);
      if (rule.failure && !wasStable) this.redial.failed();
      this.#schedule({});
    }
  }

  /**
   * Bytes of a handshake can lie in a stalled network or proxy for long after this client gave that try up, and replace
   * its later connection when they arrive. Coming back as a new session can replace nobody's, so it ends there.
   */
  #replacedByGhost() {
    this.ghost = false;
    this.target.forgetSession();
    this.#schedule({});
  }

  /** R43: a browser cannot see why a handshake failed, and the poll route makes the same checks. */
  async #askWhy() {
    const dialling = this.dialling;
    const answer = await this.target.pollForReason();
    if (dialling !== this.dialling || this.closed) return;
    const judgement = judge(answer, isPollAnswer);
    if (this.#goByStatus(judgement, answer)) return;
    if (judgement.kind === "later") this.redial.told(this.env.now() + judgement.retryAfterMs);
    if (judgement.failure) this.redial.failed();
    this.host.onProblem(problemOf(judgement, this.target.url, answer.cause));
    this.#schedule({});
  }

  /**
   * @param {Judgement} judgement
   * @param {HttpAnswer} answer
   * @returns {boolean} whether that settled it
   */
  #goByStatus({ kind, code, message }, { token = null }) {
    if (kind === "refused") this.#giveUp(new RefusedError(code, message));
    else if (kind === "token") this.#comeBackWithToken(token, message);
    else return false;
    return true;
  }

  /**
   * @param {string | null} used the token that was refused
   * @param {string} why
   */
  #comeBackWithToken(used, why) {
    if (this.target.tokens.refused(used)) this.#schedule({});
    else this.#giveUp(new UnauthorizedError(why));
  }

  /** @param {CollabdError} problem */
  #failed(problem) {
    this.redial.failed();
    this.host.onProblem(problem);
    this.#schedule({});
  }

  /** @param {{atOnce?: boolean}} how */
  #schedule({ atOnce = false }) {
    if (this.closed) return;
    if (!this.fallback.active && this.redial.shouldPoll(this.target.limits().maxReconnectAttempts))
      this.fallback.begin();
    if (!this.fallback.active) this.host.onState("waiting");
    const now = this.env.now();
    const at = this.redial.nextAt(now, this.env.random, { fallback: this.fallback.active, atOnce });
    this.env.clearTimeout(this.timer);
    this.timer = this.env.setTimeout(() => this.#due(), at - now);
  }

  /** R27: hidden and offline, the try waits until the page tells of a change (`hurry`). */
  #due() {
    if (this.#mayTry()) void this.#dial();
  }

  /** @param {CollabdError} error */
  #giveUp(error) {
    if (this.closed) return;
    this.#shutDown();
    this.host.onGivenUp(error);
  }

  /** @param {1000} [code] */
  #abandon(code) {
    // Also what is still on its way to be a link: a token asked for, or the question why a socket did not open.
    this.dialling += 1;
    this.link?.abandon(code);
    this.#forgetLink(code ?? 1005);
  }

  /** @param {number} code */
  #forgetLink(code) {
    const wasLive = this.liveSince !== null;
    if (this.link !== null && !wasLive && this.presented) this.ghost = true;
    this.link = null;
    this.liveSince = null;
    this.drained = false;
    this.env.clearTimeout(this.drainTimer);
    if (wasLive) this.host.onLost(code);
  }

  #shutDown() {
    if (this.closed) return;
    this.closed = true;
    this.fallback.end();
    this.#abandon(1000);
    this.env.clearTimeout(this.timer);
    this.host.onState("closed");
  }
}
