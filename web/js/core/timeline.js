/**
 * Order and holes: what of the incoming events is handed on, and when (docs/client-behaviour.md, R40, R60 to R67, R75).
 *
 * Law of this file: pure; the caller moves messages and asks for replays. Two rules hold everywhere below: the position
 * moves only by events handed on in order (or to the head that a whole replay ends at), and nothing after a hole is
 * handed on before the hole is filled.
 */

/** @import { Answer, CollabEvent, PollAnswer, Position, Welcome } from "./types.js" */

import { FIXED } from "./constants.js";

/**
 * @typedef {object} Began a new view: the events handed on with it start it
 * @property {string | null} reason null for a first join; for a reset, why the old view is void
 * @property {string} epoch
 * @property {number} sequenceNumber where the view stands after the events
 *
 * @typedef {object} Step what the caller does next
 * @property {CollabEvent[]} deliver to be handed on, in this order
 * @property {Began | null} began
 * @property {number | null} repairFrom ask for a replay from this number
 * @property {"join" | "resume" | null} again drop the connection and come back: anew (the position is forgotten), or
 *   from the position
 */

/** @type {Readonly<Step>} */
const NOTHING = Object.freeze({ deliver: [], began: null, repairFrom: null, again: null });

/** One run's events, as one client has seen them. */
export class Timeline {
  constructor() {
    /** @type {Position | null} null until a first join is whole, and after a history that could not be continued */
    this.position = null;
    /** @type {Welcome | null} the WELCOME whose replay is still coming */
    this.joining = null;
    /** @type {CollabEvent[]} a join's replay, kept back until it is whole */
    this.collected = [];
    /** @type {Map<number, CollabEvent>} what came after a hole */
    this.held = new Map();
    /** @type {string | null} why the next join is a reset, when it was found out here and not by the server (R66) */
    this.resetReason = null;
    this.joinedBefore = false;
    this.replayLeft = 0;
    this.repairing = false;
  }

  /** A connection ended: what was kept back will come again; the position and the view stay. */
  disconnected() {
    this.joining = null;
    this.collected = [];
    this.held.clear();
    this.replayLeft = 0;
    this.repairing = false;
  }

  /**
   * @param {Welcome} welcome
   * @returns {Step}
   */
  welcome(welcome) {
    this.disconnected();
    this.joining = welcome;
    this.replayLeft = welcome.replayCount;
    return this.replayLeft === 0 ? this.#replayIsWhole() : NOTHING;
  }

  /**
   * @param {CollabEvent} event from a WebSocket
   * @returns {Step}
   */
  event(event) {
    if (event.sequenceNumber === undefined) return { ...NOTHING, deliver: [event] };
    if (this.joining === null) return this.#place([event]);
    this.replayLeft -= 1;
    const whole = this.replayLeft <= 0;
    if (this.#resuming()) {
      const step = this.#place([event]);
      return whole ? withRepair(step, this.#replayIsWhole()) : step;
    }
    this.collected.push(event);
    return whole ? this.#replayIsWhole() : NOTHING;
  }

  /**
   * The answer to a replay that was asked for by `repairFrom` (R65, R66).
   * @param {Answer} answer
   * @returns {Step} with nothing to deliver and `repairFrom` set: that answer was of no use, ask later
   */
  repaired(answer) {
    if (!this.repairing || this.position === null) return NOTHING;
    this.repairing = false;
    if (answer.epoch !== this.position.epoch) return this.#startOver("epoch_changed");
    const missing = this.position.sequence + 1;
    const first = answer.events[0]?.sequenceNumber ?? Infinity;
    if (first <= missing) return this.#place(answer.events);
    return answer.sequenceNumber >= missing ? this.#startOver("trimmed") : this.#repair(NOTHING);
  }

  /**
   * @param {PollAnswer} answer
   * @param {Position | null} asked the position that was sent with the request
   * @returns {Step}
   */
  polled(answer, asked) {
    const lost = asked !== null && (answer.epoch !== asked.epoch || (!answer.recovered && asked.sequence > 0));
    const moved = asked?.sequence !== this.position?.sequence || asked?.epoch !== this.position?.epoch;
    if (!lost && (moved || (asked !== null && asked.sequence > 0))) {
      return answer.epoch === this.position?.epoch ? this.#place(answer.events) : NOTHING;
    }
    // An answer about a history that the client has left meanwhile says nothing of the one it is in (R67).
    if (moved) return NOTHING;
    return this.#joinedByPoll(answer, lost, asked);
  }

  /**
   * @param {PollAnswer} answer
   * @param {boolean} lost
   * @param {Position | null} asked
   * @returns {Step}
   */
  #joinedByPoll(answer, lost, asked) {
    const last = answer.events.at(-1)?.sequenceNumber;
    const unmoved = answer.recovered && asked !== null && !lost ? asked.sequence : answer.sequenceNumber;
    const deliver = [...(answer.runState ?? []), ...answer.events];
    const position = { epoch: answer.epoch, sequence: last ?? unmoved };
    if (lost || asked === null) return this.#begin(position, deliver, answer.resetReason);
    this.position = position;
    return { ...NOTHING, deliver };
  }

  /** @returns {boolean} whether the replay that is coming continues the position (R61) */
  #resuming() {
    return this.position !== null && this.joining !== null && this.joining.recovered;
  }

  /** @returns {Step} */
  #replayIsWhole() {
    const welcome = /** @type {Welcome} */ (this.joining);
    const resumed = this.#resuming();
    this.joining = null;
    if (resumed) return this.#checkedAgainstHead(welcome.sequenceNumber);
    const deliver = [...(welcome.runState ?? []), ...this.collected];
    this.collected = [];
    return this.#begin({ epoch: welcome.epoch, sequence: welcome.sequenceNumber }, deliver, welcome.resetReason);
  }

  /**
   * @param {Position} position
   * @param {CollabEvent[]} deliver
   * @param {string | null | undefined} told the server's reason for a reset
   * @returns {Step}
   */
  #begin(position, deliver, told) {
    const reason = this.joinedBefore ? (told ?? this.resetReason ?? "epoch_changed") : null;
    this.held.clear();
    this.repairing = false;
    this.resetReason = null;
    this.joinedBefore = true;
    this.position = position;
    return { ...NOTHING, deliver, began: { reason, epoch: position.epoch, sequenceNumber: position.sequence } };
  }

  /**
   * A resume promises every event up to the head: what is missing then is a hole like any other.
   * @param {number} head
   * @returns {Step}
   */
  #checkedAgainstHead(head) {
    const behind = this.position !== null && this.position.sequence < head;
    return behind ? this.#repair(NOTHING) : NOTHING;
  }

  /**
   * @param {CollabEvent[]} events persisted ones
   * @returns {Step}
   */
  #place(events) {
    if (this.position === null) return NOTHING;
    const deliver = [];
    for (const event of events) {
      const number = /** @type {number} */ (event.sequenceNumber);
      if (number > this.position.sequence) this.held.set(number, event);
      for (let next = this.#take(); next !== undefined; next = this.#take()) deliver.push(next);
    }
    const step = { ...NOTHING, deliver };
    if (this.held.size > FIXED.heldEvents) return { ...step, again: "resume" };
    return this.held.size > 0 ? this.#repair(step) : step;
  }

  /** @returns {CollabEvent | undefined} the event after the position, which thereby moves */
  #take() {
    const { epoch, sequence } = /** @type {Position} */ (this.position);
    const event = this.held.get(sequence + 1);
    if (event === undefined) return undefined;
    this.held.delete(sequence + 1);
    this.position = { epoch, sequence: sequence + 1 };
    return event;
  }

  /**
   * @param {Step} step
   * @returns {Step} the same, with a request for a replay unless one is under way
   */
  #repair(step) {
    if (this.repairing) return step;
    this.repairing = true;
    return { ...step, repairFrom: /** @type {Position} */ (this.position).sequence + 1 };
  }

  /**
   * @param {string} reason
   * @returns {Step}
   */
  #startOver(reason) {
    this.disconnected();
    this.position = null;
    this.resetReason = reason;
    return { ...NOTHING, again: "join" };
  }
}

/**
 * @param {Step} step
 * @param {Step} after what the end of the replay found
 * @returns {Step}
 */
function withRepair(step, after) {
  return { ...step, repairFrom: step.repairFrom ?? after.repairFrom };
}
