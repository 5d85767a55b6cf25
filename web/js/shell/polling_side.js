/**
 * What goes out while polling: messages by POST, the cursor and health reports alone (docs/client-behaviour.md, R76,
 * R82, R85).
 *
 * Law of this file: one way out of several requests; when a poll is due is not its business.
 */

/** @import { HttpAnswer, Judgement } from "../core/answers.js" */
/** @import { CursorPace } from "./cursor_pace.js" */
/** @import { Environment } from "./environment.js" */
/** @import { Routes } from "./routes.js" */
/** @import { PostWay } from "./sender.js" */

import { FIXED } from "../core/constants.js";
import { encodeControl } from "../core/message.js";

/**
 * @typedef {object} PollingHandlers
 * @property {(judgement: Judgement, answer: HttpAnswer) => void} onRefused
 * @property {() => object} healthReport
 */

export class PollingSide {
  /**
   * @param {Environment} env
   * @param {Routes} routes
   * @param {CursorPace} cursor
   * @param {PollingHandlers} handlers
   */
  constructor(env, routes, cursor, handlers) {
    this.env = env;
    this.routes = routes;
    this.cursor = cursor;
    this.handlers = handlers;
    this.healthDueAt = 0;
  }

  /** A fallback begins. @returns {PostWay} */
  begin() {
    this.healthDueAt = this.env.now();
    return { batch: true, post: (body) => this.#post(body) };
  }

  /** A poll was answered: now is the time for what goes once a poll. */
  polled() {
    const cursor = this.cursor.take();
    if (cursor !== null) void this.routes.publish(cursor);
    const now = this.env.now();
    if (now < this.healthDueAt) return;
    this.healthDueAt = now + FIXED.healthIntervalMs;
    void this.routes.publish(encodeControl("CLIENT_HEALTH", this.handlers.healthReport()));
  }

  /** @param {string} body */
  async #post(body) {
    const outcome = await this.routes.publish(body);
    if (outcome.judgement.kind !== "ok") this.handlers.onRefused(outcome.judgement, outcome.answer);
    return outcome;
  }
}
