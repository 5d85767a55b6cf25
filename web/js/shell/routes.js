/**
 * Addresses and queries of one membership in a run (docs/client-behaviour.md, R41, R43, R72, R76, R82).
 *
 * Law of this file: what goes into a URL or a POST, and nothing about when.
 */

/** @import { Position } from "../core/types.js" */
/** @import { Http } from "./http.js" */
/** @import { PostOutcome } from "./sender.js" */

import { FIXED } from "../core/constants.js";
import { isPublishAnswer, judge } from "../core/answers.js";
import { queryText } from "./http.js";

const PROTOCOL = "collabd.v1";
const PAGE_LIMIT = 1_000;

export class Routes {
  /**
   * @param {Http} http
   * @param {{base: string, runId: string, userId: string}} who
   */
  constructor(http, { base, runId, userId }) {
    this.http = http;
    this.socketBase = `${base.replace(/^http/, "ws")}/ws/runs/${runId}/collaboration`;
    this.userId = userId;
    /** @type {string | null} the server's name for this session, kept in memory only */
    this.sessionId = null;
  }

  /**
   * @param {Position | null} position
   * @param {number} reconnectAttempt 0: not a return
   * @param {string | null} token
   */
  socket(position, reconnectAttempt, token) {
    const query = {
      ...this.#who(),
      ...placeOf(position),
      reconnectAttempt: reconnectAttempt > 0 ? reconnectAttempt : null,
    };
    const protocols = token === null ? [PROTOCOL] : [PROTOCOL, `bearer.${token}`];
    return { url: this.socketBase + queryText(query), protocols };
  }

  /** @param {Position | null} position */
  poll(position) {
    return this.http.get("poll", { ...this.#who(), ...placeOf(position), limit: PAGE_LIMIT });
  }

  /** Why did a socket not open? */
  pollForReason() {
    return this.http.get("poll", { ...this.#who(), limit: 1 }, FIXED.connectTimeoutMs);
  }

  /** @param {number} fromSequence */
  replay(fromSequence) {
    return this.http.get("replay", { userId: this.userId, fromSequence, limit: PAGE_LIMIT });
  }

  /**
   * @param {string} body one message, or a batch
   * @returns {Promise<PostOutcome>}
   */
  async publish(body) {
    const answer = await this.http.publish(this.#who(), body);
    const judgement = judge(answer, isPublishAnswer);
    return { answer, judgement, acks: judgement.kind === "ok" ? answer.body.acks : [] };
  }

  clientConfig() {
    return this.http.clientConfig();
  }

  #who() {
    return { userId: this.userId, sessionId: this.sessionId };
  }
}

/** @param {Position | null} position */
function placeOf(position) {
  return position === null ? {} : { afterSequence: position.sequence, epoch: position.epoch };
}
