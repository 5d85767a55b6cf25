/**
 * The client as the application sees it.
 *
 * Law of this file: the public interface and its checks; everything that happens is in `shell/session.js` and below.
 */

/** @import { CollabEvent } from "./core/types.js" */
/** @import { CollabdError } from "./errors.js" */
/** @import { Environment } from "./shell/environment.js" */
/** @import { Reset } from "./shell/incoming.js" */
/** @import { StorageOption } from "./shell/open_queue.js" */
/** @import { TokenOption } from "./shell/tokens.js" */
/** @import { View } from "./shell/view.js" */

import { computed } from "@preact/signals-core";
import { DEFAULT_QUEUE } from "./core/constants.js";
import { canonicalRunId, canonicalServerUrl, checkedUserId } from "./core/message.js";
import { ClosedError } from "./errors.js";
import { Announcer, readable, signal } from "./readable.js";
import { environment } from "./shell/environment.js";
import { Session } from "./shell/session.js";
import { View as RunView } from "./shell/view.js";

const CLOSE_WAIT_MS = 5_000;
const EVENT_LIMIT = 10_000;

/**
 * @typedef {object} ClientOptions
 * @property {string} url the server's address: http, https, ws or wss, with a path where it is behind a prefix
 * @property {string} userId who the user is; with tokens, the one whom the token names
 * @property {TokenOption} [token] a token, or a function that supplies one and is asked again when it is refused or due
 * @property {StorageOption} [storage] "auto" (default): IndexedDB in browsers, else memory; "memory"; or your own
 * @property {number} [maxReconnectAttempts] failures before polling takes over; else the server says
 * @property {number} [pollingIntervalMs] else the server says
 * @property {number} [messageRetryLimit] refused tries of one message; else the server says
 * @property {number} [maxQueuedMessages] 1000
 * @property {number} [maxQueuedBytes] 16 MiB
 * @property {number} [eventLimit] how many events `events()` keeps, the newest ones: 10000
 * @property {Partial<Environment>} [environment] what to use instead of the platform's own, e.g. `{WebSocket}` in Node
 */

/**
 * A client of one server for one user; it is in one run at a time.
 * @param {ClientOptions} options
 * @returns {StreamStore}
 * @throws {import("./errors.js").InvalidUrlError | import("./errors.js").InvalidUserIdError}
 */
export function createCollabClient(options) {
  return new StreamStore(options);
}

/** The run that the client is in: its events, who is there, how the connection does, and the means to take part. */
export class StreamStore {
  /** @type {import("@preact/signals-core").Signal<Session | null>} */
  #session = signal(/** @type {Session | null} */ (null));
  /** What is not finished of runs that were left. @type {Set<Promise<void>>} */
  #leaving = new Set();
  /** @type {Announcer<CollabEvent>} */
  #events = new Announcer();
  /** @type {Announcer<Reset>} */
  #resets = new Announcer();
  /** @type {Announcer<CollabdError>} */
  #problems = new Announcer();

  /** @param {ClientOptions} options */
  constructor(options) {
    const { url, userId, token, storage = "auto", eventLimit = EVENT_LIMIT } = options;
    this.env = environment(options.environment);
    const queue = pick(options, ["maxQueuedMessages", "maxQueuedBytes"]);
    const limits = pick(options, ["maxReconnectAttempts", "pollingIntervalMs", "messageRetryLimit"]);
    const base = canonicalServerUrl(url);
    this.plan = { base, userId: checkedUserId(userId), token, storage, eventLimit, limits, ...DEFAULT_QUEUE, ...queue };
    const nowhere = new RunView("", userId, 0);
    /** @template T @param {(view: View) => T} look */
    const seen = (look) => readable(computed(() => look(this.#session.value?.view ?? nowhere)), this.#listenerThrew);

    /** Events of the run in order: kept state first, then history, then live; cursor moves are not among them. */
    this.events = seen((view) => view.events.value);
    /** Sorted ids of the users who are in the run. */
    this.activeUsers = seen((view) => view.presence.value.users);
    /** User id → the data of the last cursor move. */
    this.cursorPositions = seen((view) => view.presence.value.cursors);
    /** Latency, reconnections, delivery rate, queue, transport: see `ConnectionHealth`. */
    this.connectionHealth = seen((view) => view.health.value);
    /** Messages that are not final yet, of all tabs where they share a queue. */
    this.queuedMessageCount = seen((view) => view.health.value.queuedMessages);
    /** Whether HTTP polling stands in for the WebSocket. */
    this.usingFallback = seen((view) => view.health.value.usingFallback);
    /** "connecting", "live", "waiting", "polling" or "closed". */
    this.connectionState = seen((view) => view.state.value);
    /** The last named problem; null while all is well. */
    this.problem = seen((view) => view.problem.value);
    /** Run, session, epoch, and how far the history reaches. */
    this.runInfo = seen((view) => view.run.value);
    /** Own messages and their states, the last 200 final ones included. */
    const messages = computed(() => this.#session.value?.messages.value ?? NO_MESSAGES);
    this.ownMessages = readable(messages, this.#listenerThrew);
  }

  /**
   * Go into a run; another one that the client is in is left. Sending is possible at once: what is sent before the
   * connection stands is queued.
   * @param {string} runId a UUID
   * @param {{failFast?: boolean}} [options] failFast: until the run is joined, give up at the first problem (an
   *   unreachable server, one that is no collabd) instead of trying again
   * @returns {Promise<void>} done when the run's state is there; rejects when the client gives up or is closed before.
   *   Nobody has to wait for it
   * @throws {import("./errors.js").InvalidRunIdError}
   */
  connectToRun(runId, { failFast = false } = {}) {
    const canonical = canonicalRunId(runId);
    const before = this.#session.peek();
    if (before !== null) this.#leave(before, CLOSE_WAIT_MS);
    let isJoined = false;
    const joined = new Promise((resolve, reject) => {
      const isCurrent = () => this.#session.peek() === session;
      const session = new Session(
        this.env,
        { ...this.plan, runId: canonical },
        {
          onEvent: (event) => isCurrent() && this.#events.tell(event, this.#listenerThrew),
          onReset: (reset) => isCurrent() && this.#resets.tell(reset, this.#listenerThrew),
          onJoined: () => {
            isJoined = true;
            resolve(undefined);
          },
          onGivenUp: reject,
          onThrow: this.#listenerThrew,
          onClosed: () => reject(new ClosedError("the client left the run before it had joined it")),
          onProblem: (problem) => {
            if (isCurrent()) this.#problems.tell(problem, this.#listenerThrew);
            if (failFast && !isJoined && problem.code !== "storage_blocked") session.giveUp(problem);
          },
        },
      );
      this.#session.value = session;
    });
    joined.catch(() => {});
    return joined;
  }

  /**
   * Leave the run. Messages that wait are given some time; what is not committed then stays in durable storage for the
   * next time, and without one is rejected with `closed`.
   * @param {{waitMs?: number}} [options] milliseconds, 5000
   * @returns {Promise<void>} done when nothing is left to be done, for runs that were left before as well
   */
  async close({ waitMs = CLOSE_WAIT_MS } = {}) {
    const session = this.#session.peek();
    if (session !== null) this.#leave(session, waitMs);
    await Promise.all(this.#leaving);
  }

  /** @param {Session} session @param {number} waitMs */
  #leave(session, waitMs) {
    const left = session.close(waitMs).finally(() => this.#leaving.delete(left));
    this.#leaving.add(left);
  }

  /**
   * @param {string} after the step after which the agent comes
   * @param {string} agentName
   */
  sendGraft(after, agentName) {
    return this.send("GRAFT", { after, agentName });
  }

  /**
   * @param {string} stepId
   * @param {boolean} isPruned false restores the step
   */
  sendPrune(stepId, isPruned) {
    return this.send("PRUNE", { stepId, isPruned });
  }

  /**
   * @param {string} stepId
   * @param {string} note
   */
  sendFlag(stepId, note) {
    return this.send("FLAG", { stepId, note });
  }

  /**
   * Where the user looks. Sent at most 20 times a second, the latest wins, never queued.
   * @param {string | null} nodeId null: nowhere
   * @param {Record<string, unknown>} [more] what else the others should know of it, e.g. `{color: "teal"}`
   */
  sendCursorMove(nodeId, more = {}) {
    this.#inRun().sendCursorMove({ ...more, nodeId });
  }

  /**
   * Send an event of any type.
   * @param {string} eventType [A-Z][A-Z0-9_]{0,49}, not one of the protocol's own
   * @param {unknown} [data] JSON
   * @returns {import("./shell/message_log.js").SentMessage} with `clientMessageId` and `state()`; await it to know that
   *   the message is committed
   * @throws {CollabdError} ClosedError, InvalidEventTypeError, UnserialisableError, MessageTooBigError, QueueFullError:
   *   nothing was queued
   */
  send(eventType, data) {
    return this.#inRun().send(eventType, data);
  }

  /**
   * Each event once, in order, cursor moves and presence included; not those of a reset.
   * @param {(event: CollabEvent) => void} listener
   * @returns {() => void} ends it
   */
  onEvent(listener) {
    return this.#events.listen(listener);
  }

  /**
   * The history was replaced or is no longer kept so far back: throw the old state away and take this one.
   * `events()` has done so already.
   * @param {(reset: Reset) => void} listener
   * @returns {() => void} ends it
   */
  onReset(listener) {
    return this.#resets.listen(listener);
  }

  /**
   * Each named problem as it is met.
   * @param {(problem: CollabdError) => void} listener
   * @returns {() => void} ends it
   */
  onProblem(listener) {
    return this.#problems.listen(listener);
  }

  #inRun() {
    const session = this.#session.peek();
    if (session === null) throw new ClosedError();
    return session;
  }

  #listenerThrew = (/** @type {unknown} */ problem) => {
    // Rethrown where the platform reports it: the application's mistake must be seen, and must not stop the client.
    this.env.setTimeout(() => {
      throw problem;
    }, 0);
  };
}

/** @type {readonly import("./shell/message_log.js").OwnMessage[]} */
const NO_MESSAGES = [];

/**
 * @param {Record<string, any>} options
 * @param {string[]} names
 * @returns {Record<string, any>} those that were given
 */
function pick(options, names) {
  return Object.fromEntries(names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]));
}
