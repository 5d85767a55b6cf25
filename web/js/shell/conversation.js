/**
 * One live WebSocket, from its WELCOME to its end: each frame goes to the part that it concerns.
 *
 * Law of this file: it routes. What a frame means is decided by the part that gets it.
 */

/** @import { Frame, Welcome } from "../core/types.js" */
/** @import { CollabdError } from "../errors.js" */
/** @import { Connection } from "./connection.js" */
/** @import { CursorPace } from "./cursor_pace.js" */
/** @import { Environment } from "./environment.js" */
/** @import { Incoming } from "./incoming.js" */
/** @import { LimitKeeper } from "./limits.js" */
/** @import { Outgoing } from "./outgoing.js" */
/** @import { SocketLink } from "./socket_link.js" */
/** @import { Tokens } from "./tokens.js" */
/** @import { View } from "./view.js" */

import { healthReport } from "../core/health.js";
import { LiveSocket } from "./live_socket.js";

const RATE_LIMIT_PAUSE_MS = 1_000;

/**
 * @typedef {object} Parts
 * @property {Incoming} incoming
 * @property {Outgoing} outgoing
 * @property {Connection} connection
 * @property {CursorPace} cursor
 * @property {Tokens} tokens
 * @property {LimitKeeper} limits
 * @property {View} view
 * @property {(problem: CollabdError | null) => void} onProblem
 */

export class Conversation {
  /**
   * @param {Environment} env
   * @param {SocketLink} link
   * @param {Parts} parts
   */
  constructor(env, link, parts) {
    this.env = env;
    this.link = link;
    this.parts = parts;
    const { incoming, connection, tokens, limits, view, onProblem } = parts;
    this.live = new LiveSocket(
      env,
      link,
      { heartbeatIntervalMs: limits.now.heartbeatIntervalMs, tokens },
      {
        lastSequence: () => incoming.position()?.sequence ?? 0,
        healthReport: () => healthReport(view.health.peek()),
        onLatency: (latency) => view.count({ latency }),
        onLook: (now) => this.#look(now),
        onSilent: () => connection.drop(),
        onProblem,
      },
    );
  }

  /** @param {Welcome} welcome */
  begin(welcome) {
    const { incoming, outgoing, cursor, tokens, view } = this.parts;
    if (typeof welcome.serverTime === "number") tokens.hear(welcome.serverTime);
    view.count({ welcomes: view.counts.welcomes + 1 });
    incoming.welcome(welcome);
    this.#beginBeat();
    outgoing.open({ batch: false, send: (text) => this.link.send(text) });
    cursor.open((text) => this.link.send(text));
  }

  /** @param {number} code of the close */
  end(code) {
    const { incoming, outgoing, cursor } = this.parts;
    this.live.stop();
    cursor.shut();
    incoming.lost();
    outgoing.lost(code);
  }

  wake() {
    this.live.wake();
  }

  /** @param {Frame} frame */
  hear(frame) {
    this.live.heard(frame);
    const { eventType, data } = frame;
    if (eventType === "ACK") this.parts.outgoing.answered(frame);
    else if (eventType === "ERROR") this.#refused(frame);
    else if (eventType === "DRAIN") this.#draining(data.retryAfterMs);
    else if (!NO_EVENTS.has(eventType)) this.parts.incoming.event(/** @type {any} */ (frame));
    this.#beginBeat();
  }

  #beginBeat() {
    if (this.parts.incoming.whole) this.live.begin();
  }

  /** @param {Frame} frame ERROR */
  #refused(frame) {
    const { outgoing, connection } = this.parts;
    const { code, clientMessageId, retryAfterMs } = frame.data;
    if (code === "rate_limited") this.#rateLimited(retryAfterMs ?? RATE_LIMIT_PAUSE_MS, clientMessageId === undefined);
    outgoing.answered(frame);
    if (code === "unauthorized" && clientMessageId !== undefined) connection.tokenRefused();
  }

  /**
   * @param {number} pauseMs
   * @param {boolean} everything no message was named: cursors and health reports wait too (R19)
   */
  #rateLimited(pauseMs, everything) {
    this.parts.connection.rateLimited(pauseMs);
    if (!everything) return;
    const until = this.env.now() + pauseMs;
    this.parts.cursor.pause(until);
    this.live.quiet(until);
  }

  /** R33. @param {number} retryAfterMs */
  #draining(retryAfterMs) {
    const { outgoing, cursor, connection } = this.parts;
    outgoing.sender.hold();
    cursor.shut();
    connection.draining(retryAfterMs);
  }

  /** @param {number} now */
  #look(now) {
    const { outgoing, connection, limits } = this.parts;
    connection.look(now);
    if (outgoing.outbox.overdue(now, 2 * limits.now.heartbeatIntervalMs)) connection.drop();
  }
}

/** Frames that concern the connection alone; LiveSocket has heard them. */
const NO_EVENTS = new Set(["WELCOME", "PONG", "AUTH_OK"]);
