/**
 * Everything that the server tells of the run: events in order, presence, resets (docs/client-behaviour.md, R60 to R67,
 * R74, R75, R83, R84).
 *
 * Law of this file: it carries out what the timeline decides, and writes the result into the view.
 */

/** @import { HttpAnswer } from "../core/answers.js" */
/** @import { CollabEvent, PollAnswer, Position, Welcome } from "../core/types.js" */
/** @import { Began, Step } from "../core/timeline.js" */
/** @import { Environment } from "./environment.js" */
/** @import { View } from "./view.js" */

import { presenceAfter, wholePresence } from "../core/presence.js";
import { Timeline } from "../core/timeline.js";
import { Repairer } from "./repairer.js";

/**
 * @typedef {object} Reset the old view of the run is void, this is the new one
 * @property {string} reason "epoch_changed", "trimmed" or "ahead_of_log"
 * @property {string} epoch
 * @property {number} sequenceNumber
 * @property {CollabEvent[]} events kept state first, then the replay
 *
 * @typedef {object} IncomingHandlers
 * @property {(from: number) => Promise<HttpAnswer>} askReplay
 * @property {(event: CollabEvent) => void} onEvent
 * @property {(reset: Reset) => void} onReset
 * @property {() => void} onJoined a join is whole: the view shows the run
 * @property {() => void} onJoinAnew the history cannot be continued: drop the connection and come back at once (R66)
 * @property {() => void} onResume drop the connection and resume
 */

export class Incoming {
  /**
   * @param {Environment} env
   * @param {View} view
   * @param {IncomingHandlers} handlers
   */
  constructor(env, view, handlers) {
    this.view = view;
    this.handlers = handlers;
    this.timeline = new Timeline();
    this.repairer = new Repairer(env, this.timeline, {
      ask: handlers.askReplay,
      onStep: (step) => this.#do(step),
      onHopeless: () => this.#giveRepairUp(),
    });
  }

  /** @returns {Position | null} */
  position() {
    return this.timeline.position;
  }

  /** @returns {boolean} whether the replay after the last WELCOME is whole */
  get whole() {
    return this.timeline.joining === null;
  }

  /** The connection ended. */
  lost() {
    this.repairer.cancel();
    this.timeline.disconnected();
  }

  /** @param {Welcome} welcome */
  welcome(welcome) {
    this.repairer.cancel();
    this.#hear(welcome);
    this.#do(this.timeline.welcome(welcome));
  }

  /** @param {CollabEvent} event from a WebSocket */
  event(event) {
    this.view.presence.value = presenceAfter(this.view.presence.peek(), event);
    this.#do(this.timeline.event(event));
  }

  /**
   * @param {PollAnswer} answer
   * @param {Position | null} asked
   */
  polled(answer, asked) {
    this.#hear(answer);
    this.#do(this.timeline.polled(answer, asked));
  }

  /** @param {Welcome | PollAnswer} told */
  #hear(told) {
    this.view.presence.value = wholePresence(this.view.presence.peek(), told);
    const { sessionId, oldestSequence } = told;
    this.view.tell({ sessionId, oldestSequence });
  }

  /** @param {Step} step */
  #do({ deliver, began, repairFrom, again }) {
    if (deliver.length > 0 || began !== null) this.#handOn(deliver, began);
    if (repairFrom !== null) this.repairer.start(repairFrom);
    if (again === "join") this.handlers.onJoinAnew();
    if (again === "resume") this.handlers.onResume();
  }

  /**
   * @param {CollabEvent[]} events
   * @param {Began | null} began
   */
  #handOn(events, began) {
    const position = this.timeline.position;
    this.view.tell({ epoch: position?.epoch ?? null, sequenceNumber: position?.sequence ?? 0 });
    this.view.handOn(events, began);
    if (began !== null && began.reason !== null) this.handlers.onReset({ ...began, reason: began.reason, events });
    else for (const event of events) this.handlers.onEvent(event);
    if (began !== null) this.handlers.onJoined();
  }

  /** Three tries brought nothing: a new connection brings what is missing, and so does the next poll. */
  #giveRepairUp() {
    this.lost();
    this.handlers.onResume();
  }
}
