/**
 * One user in one run: what comes in, what goes out, and how it does.
 *
 * Law of this file: it joins the parts and decides nothing that a part can decide.
 */

/** @import { Limits } from "../core/constants.js" */
/** @import { CollabEvent, Welcome } from "../core/types.js" */
/** @import { CollabdError } from "../errors.js" */
/** @import { ConnectionState } from "./connection_types.js" */
/** @import { Environment } from "./environment.js" */
/** @import { Reset } from "./incoming.js" */
/** @import { StorageOption } from "./open_queue.js" */
/** @import { SocketLink } from "./socket_link.js" */
/** @import { TokenOption } from "./tokens.js" */

import { healthReport } from "../core/health.js";
import { checkSize, encodeMessage } from "../core/message.js";
import { NOBODY } from "../core/presence.js";
import { ClosedError } from "../errors.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { CursorPace } from "./cursor_pace.js";
import { Http } from "./http.js";
import { Incoming } from "./incoming.js";
import { LimitKeeper } from "./limits.js";
import { Outgoing } from "./outgoing.js";
import { PollingSide } from "./polling_side.js";
import { Routes } from "./routes.js";
import { Tokens } from "./tokens.js";
import { View } from "./view.js";

/**
 * @typedef {object} SessionPlan
 * @property {string} base canonical address of the server
 * @property {string} runId canonical
 * @property {string} userId
 * @property {TokenOption | undefined} token
 * @property {StorageOption} storage
 * @property {Partial<Limits>} limits what the application set
 * @property {number} maxQueuedMessages
 * @property {number} maxQueuedBytes
 * @property {number} eventLimit
 *
 * @typedef {object} SessionHandlers
 * @property {(event: CollabEvent) => void} onEvent
 * @property {(reset: Reset) => void} onReset
 * @property {() => void} onJoined
 * @property {(problem: CollabdError) => void} onProblem
 * @property {(error: CollabdError) => void} onGivenUp
 * @property {() => void} onClosed close() was called
 * @property {(problem: unknown) => void} onThrow a subscriber of the application threw this
 */

export class Session {
  /**
   * @param {Environment} env
   * @param {SessionPlan} plan
   * @param {SessionHandlers} handlers
   */
  constructor(env, plan, handlers) {
    this.env = env;
    this.plan = plan;
    this.handlers = handlers;
    this.view = new View(plan.runId, plan.userId, plan.eventLimit);
    this.limits = new LimitKeeper(plan.limits);
    /** @type {CollabdError | null} why nothing can be sent any more */
    this.ended = null;
    /** @type {Promise<void> | null} */
    this.closing = null;
    this.tokens = new Tokens(env, plan.token);
    this.routes = new Routes(new Http(env, plan.base, plan.runId, this.tokens), plan);
    this.cursor = new CursorPace(env);
    /** @type {Conversation | null} while a WebSocket is live */
    this.conversation = null;
    this.incoming = this.#makeIncoming();
    this.outgoing = this.#makeOutgoing();
    this.connection = this.#makeConnection();
    this.pollingSide = new PollingSide(env, this.routes, this.cursor, {
      onRefused: (judgement, answer) => this.connection.fallback.publishRefused(judgement, answer),
      healthReport: () => healthReport(this.view.health.peek()),
    });
    this.stopWatching = env.page.watch((change) => this.#pageChanged(change));
    this.connection.start();
  }

  get messages() {
    return this.outgoing.log.list;
  }

  /**
   * @param {string} eventType
   * @param {unknown} data
   */
  send(eventType, data) {
    if (this.ended !== null) throw this.ended;
    return this.outgoing.send(eventType, data);
  }

  /** @param {unknown} data */
  sendCursorMove(data) {
    if (this.ended !== null) throw this.ended;
    const text = encodeMessage("CURSOR_MOVE", data);
    checkSize(text, this.limits.now.maxMessageBytes);
    this.cursor.move(text);
  }

  /** The application does not want to wait for a better time. @param {CollabdError} error */
  giveUp(error) {
    if (this.ended !== null) return;
    void this.connection.close();
    this.#givenUp(error);
  }

  /**
   * Leave the run (R34).
   * @param {number} waitMs how long to wait for queued messages
   * @returns {Promise<void>} the same one for whoever asks again
   */
  close(waitMs) {
    this.closing ??= this.#leave(waitMs);
    return this.closing;
  }

  /** @param {number} waitMs */
  async #leave(waitMs) {
    this.ended = new ClosedError("close() was called: call connectToRun(runId) before sending");
    this.handlers.onClosed();
    if (waitMs > 0) await this.outgoing.drained(waitMs);
    await this.#end(null);
  }

  /** @param {CollabdError | null} because */
  async #end(because) {
    this.stopWatching();
    this.cursor.shut();
    const closed = this.connection.close();
    await this.outgoing.close(because);
    await closed;
  }

  #makeIncoming() {
    return new Incoming(this.env, this.view, {
      askReplay: (from) => this.routes.replay(from),
      onEvent: (event) => this.handlers.onEvent(event),
      onReset: (reset) => this.handlers.onReset(reset),
      onJoined: () => this.handlers.onJoined(),
      onJoinAnew: () => this.connection.comeBackNow(),
      onResume: () => this.connection.drop(),
    });
  }

  #makeOutgoing() {
    const { base, runId, userId, storage, maxQueuedMessages, maxQueuedBytes } = this.plan;
    const queueName = `collabd:${base}|${runId}|${userId}`;
    const limits = () => this.limits.now;
    return new Outgoing(
      this.env,
      { queueName, storage, maxQueuedMessages, maxQueuedBytes, limits },
      {
        onChange: () => this.#counted(),
        onHeldBack: () => this.connection.comeBackNow(),
        onStorageProblem: (problem) => this.#storageProblem(problem),
        onThrow: (problem) => this.handlers.onThrow(problem),
      },
    );
  }

  #makeConnection() {
    const target = {
      url: this.plan.base,
      tokens: this.tokens,
      limits: () => this.limits.now,
      socket: (/** @type {number} */ attempt, /** @type {string | null} */ token) =>
        this.routes.socket(this.incoming.position(), attempt, token),
      hasSession: () => this.routes.sessionId !== null,
      forgetSession: () => void (this.routes.sessionId = null),
      poll: this.routes.poll.bind(this.routes),
      pollForReason: () => this.routes.pollForReason(),
    };
    return new Connection(this.env, target, {
      position: () => this.incoming.position(),
      onLive: (welcome, link) => this.#liveNow(welcome, link),
      onFrame: (frame) => this.conversation?.hear(frame),
      onLost: (code) => this.#lost(code),
      onFallback: () => this.#fellBack(),
      onPolled: (answer, asked, tookMs) => this.#polled(answer, asked, tookMs),
      onPollFailed: () => this.view.count({ transport: "none" }),
      onState: (state) => this.#stateIs(state),
      onProblem: (problem) => this.#problemIs(problem),
      onGivenUp: (error) => this.#givenUp(error),
    });
  }

  /**
   * @param {Welcome} welcome
   * @param {SocketLink} link
   */
  #liveNow(welcome, link) {
    const { env, incoming, outgoing, connection, cursor, tokens, limits, view } = this;
    const onProblem = (/** @type {CollabdError | null} */ problem) => this.#problemIs(problem);
    this.routes.sessionId = welcome.sessionId;
    limits.hear(welcome);
    const parts = { incoming, outgoing, connection, cursor, tokens, limits, view, onProblem };
    this.conversation = new Conversation(env, link, parts);
    this.conversation.begin(welcome);
    void limits.askOnce(() => this.routes.clientConfig());
  }

  /** @param {number} code */
  #lost(code) {
    this.conversation?.end(code);
    this.conversation = null;
  }

  #fellBack() {
    this.outgoing.open(this.pollingSide.begin());
  }

  /**
   * @param {import("../core/types.js").PollAnswer} answer
   * @param {import("../core/types.js").Position | null} asked
   * @param {number} latency
   */
  #polled(answer, asked, latency) {
    if (answer.sessionId !== null) this.routes.sessionId = answer.sessionId;
    this.view.count({ latency, transport: "polling" });
    this.incoming.polled(answer, asked);
    this.pollingSide.polled();
    void this.limits.askOnce(() => this.routes.clientConfig());
  }

  /** @param {ConnectionState} state */
  #stateIs(state) {
    this.view.state.value = state;
    const usingFallback = state === "polling";
    // Polling is a transport once a poll was answered, and until one is not.
    this.view.count({ transport: state === "live" ? "websocket" : "none", usingFallback });
  }

  /** @param {CollabdError | null} problem */
  #problemIs(problem) {
    this.view.problem.value = problem;
    if (problem !== null) this.handlers.onProblem(problem);
  }

  /** @param {CollabdError} problem */
  #storageProblem(problem) {
    this.env.warn(`collabd: ${problem.message}`);
    this.handlers.onProblem(problem);
  }

  /** @param {CollabdError} error */
  #givenUp(error) {
    this.ended = new ClosedError(`the client gave up: ${error.message}`, { cause: error });
    this.view.problem.value = error;
    this.view.presence.value = NOBODY;
    this.closing = this.#end(error);
    this.handlers.onGivenUp(error);
  }

  #counted() {
    const { log, durable, waiting } = this.outgoing;
    const storage = durable ? "durable" : "memory";
    this.view.count({ committed: log.committed, rejected: log.rejected, queuedMessages: waiting, storage });
  }

  /** @param {"online" | "offline" | "visible" | "hidden" | "leaving"} change */
  #pageChanged(change) {
    if (change !== "online" && change !== "visible") return;
    this.conversation?.wake();
    this.connection.hurry();
  }
}
