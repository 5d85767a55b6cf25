/**
 * The client's side of a WebSocket that is live: PING, health reports, token renewal
 * (docs/client-behaviour.md, R35, R51, R52, R82).
 *
 * Law of this file: it speaks only of the connection itself; events and messages pass it by.
 */

/** @import { Frame } from "../core/types.js" */
/** @import { Environment } from "./environment.js" */
/** @import { SocketLink } from "./socket_link.js" */
/** @import { Tokens } from "./tokens.js" */

import { FIXED } from "../core/constants.js";
import { encodeControl } from "../core/message.js";
import { TokenUnavailableError } from "../errors.js";
import { Heartbeat } from "./heartbeat.js";

/**
 * @typedef {object} LiveHandlers
 * @property {() => number} lastSequence
 * @property {() => object} healthReport
 * @property {(latencyMs: number) => void} onLatency
 * @property {(now: number) => void} onLook about once a second
 * @property {() => void} onSilent
 * @property {(problem: TokenUnavailableError | null) => void} onProblem null: it is over
 */

export class LiveSocket {
  /**
   * @param {Environment} env
   * @param {SocketLink} link
   * @param {{heartbeatIntervalMs: number, tokens: Tokens}} plan
   * @param {LiveHandlers} handlers
   */
  constructor(env, link, { heartbeatIntervalMs, tokens }, handlers) {
    this.env = env;
    this.link = link;
    this.tokens = tokens;
    this.handlers = handlers;
    this.begun = false;
    this.quietUntil = -Infinity;
    this.healthDueAt = Infinity;
    this.renewAfter = -Infinity;
    this.renewalFailed = false;
    this.heartbeat = new Heartbeat(env, heartbeatIntervalMs, {
      ping: () => this.#ping(),
      silent: () => handlers.onSilent(),
      look: (now) => this.#look(now),
    });
  }

  stop() {
    this.heartbeat.stop();
  }

  wake() {
    this.heartbeat.wake();
  }

  /** The replay is whole: from now on the beat goes. */
  begin() {
    if (this.begun) return;
    this.begun = true;
    this.heartbeat.beat();
  }

  /** A rate limit on everything: no health reports before then. @param {number} until */
  quiet(until) {
    this.quietUntil = until;
  }

  /** @param {Frame} frame any that came */
  heard({ eventType, data }) {
    this.heartbeat.heard();
    if (eventType === "PONG") this.#ponged(data);
    if (eventType === "AUTH_OK") this.#renewed(data?.expiresAt);
  }

  /** @param {number | undefined} expiresAt milliseconds since 1970 */
  #renewed(expiresAt) {
    this.tokens.accepted(expiresAt);
    if (this.renewalFailed) this.handlers.onProblem(null);
    this.renewalFailed = false;
  }

  /** @param {{sentAt?: number, serverTime?: number}} data */
  #ponged({ sentAt, serverTime }) {
    if (typeof serverTime === "number") this.tokens.hear(serverTime);
    const latency = this.heartbeat.ponged(sentAt);
    if (latency === null) return;
    this.handlers.onLatency(latency);
    if (this.healthDueAt === Infinity) this.#reportHealth(this.env.now());
  }

  #ping() {
    const sentAt = this.env.wall();
    this.heartbeat.pinged(sentAt);
    this.link.send(encodeControl("PING", { sentAt, lastSequence: this.handlers.lastSequence() }));
  }

  /** @param {number} now */
  #look(now) {
    if (now >= this.healthDueAt && now >= this.quietUntil) this.#reportHealth(now);
    if (now >= this.renewAfter && this.tokens.isDue()) void this.#renewToken(now);
    this.handlers.onLook(now);
  }

  /** @param {number} now */
  #reportHealth(now) {
    this.healthDueAt = now + FIXED.healthIntervalMs;
    this.link.send(encodeControl("CLIENT_HEALTH", this.handlers.healthReport()));
  }

  /** @param {number} now */
  async #renewToken(now) {
    this.renewAfter = now + FIXED.renewalRetryMs;
    try {
      this.link.send(encodeControl("AUTH", { token: await this.tokens.renew() }));
    } catch (problem) {
      this.renewalFailed = true;
      this.handlers.onProblem(/** @type {TokenUnavailableError} */ (problem));
    }
  }
}
