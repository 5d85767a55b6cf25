/**
 * A run's history as one client knows it, and the state after any of its events.
 *
 * Law of this file: pure (no clock, no network, no page). Memory is bounded: what is pushed out goes into the base
 * state, just as the server keeps the state of events that it trims.
 */

/** @import { CollabEvent } from "../js/index.js" */
/** @import { Places } from "./places.js" */

import { apply } from "./places.js";

const CHECKPOINT_EVERY = 250;
const LIMIT = 20_000;

/** @param {CollabEvent} event */
export function numberOf(event) {
  return event.sequenceNumber ?? 0;
}

export class RunHistory {
  /** @param {{limit?: number, checkpointEvery?: number}} [sizes] limit: how many events are kept */
  constructor({ limit = LIMIT, checkpointEvery = CHECKPOINT_EVERY } = {}) {
    this.limit = limit;
    this.every = checkpointEvery;
    /** State from before the history that is kept, oldest first. @type {CollabEvent[]} */
    this.kept = [];
    /** Numbered events, in order. @type {CollabEvent[]} */
    this.events = [];
    /** All that a feed shows: numbered events and transient ones, as they came. @type {CollabEvent[]} */
    this.feed = [];
    /** The first number that is, or would be, in `events`: history before it is no longer kept. */
    this.oldest = 1;
    /** States after 0, `every`, 2 × `every` … events. @type {Map<string, CollabEvent>[]} */
    this.checkpoints = [new Map()];
    /** @type {Map<string, CollabEvent>} */
    this.now = new Map();
    /** Which history this is: the same number is another event in another one. */
    this.generation = 0;
  }

  /** Forget everything: another history begins. */
  clear() {
    const { limit, every, generation } = this;
    Object.assign(this, new RunHistory({ limit, checkpointEvery: every }), { generation: generation + 1 });
  }

  /** The number of the newest event; what the base holds counts. */
  get head() {
    const newest = this.events.at(-1) ?? this.kept.at(-1);
    return newest === undefined ? 0 : numberOf(newest);
  }

  /** Whether events before the first one were there and are no longer kept. */
  get isCut() {
    return this.oldest > 1;
  }

  /**
   * @param {CollabEvent} event in the order in which the client library hands them on
   * @param {number} oldest the oldest number that the server keeps in its log, as it was last told
   */
  add(event, oldest) {
    if (event.sequenceNumber === undefined) {
      this.#show(event);
    } else if (this.events.length === 0 && event.sequenceNumber < oldest) {
      this.#keep(event);
    } else if (event.sequenceNumber > this.head) {
      this.#append(event, oldest);
    }
  }

  /**
   * @param {number} index after how many of `events`
   * @returns {Places}
   */
  placesAt(index) {
    if (index >= this.events.length) return this.now;
    const checkpoint = Math.floor(index / this.every);
    const places = new Map(this.checkpoints[checkpoint]);
    return apply(places, this.events.slice(checkpoint * this.every, index));
  }

  /**
   * @param {number} sequenceNumber
   * @returns {number} how many of `events` have this number or a lower one
   */
  indexAfter(sequenceNumber) {
    let [low, high] = [0, this.events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numberOf(/** @type {CollabEvent} */ (this.events[middle])) <= sequenceNumber) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {CollabEvent} event */
  #keep(event) {
    this.kept.push(event);
    apply(this.now, [event]);
    this.checkpoints = [new Map(this.now)];
    this.oldest = Math.max(this.oldest, numberOf(event) + 1);
  }

  /**
   * @param {CollabEvent} event
   * @param {number} oldest
   */
  #append(event, oldest) {
    if (this.events.length === 0) this.oldest = Math.max(this.oldest, Math.min(oldest, numberOf(event)));
    this.events.push(event);
    this.#show(event);
    apply(this.now, [event]);
    if (this.events.length % this.every === 0) this.checkpoints.push(new Map(this.now));
    if (this.events.length >= this.limit + this.every) this.#trim();
  }

  /** @param {CollabEvent} event */
  #show(event) {
    this.feed.push(event);
    if (this.feed.length >= this.limit + 2 * this.every) this.feed.splice(0, this.every);
  }

  /** Push the oldest events out into the base. */
  #trim() {
    const out = this.events.splice(0, this.every);
    this.checkpoints.shift();
    const base = this.checkpoints[0] ?? new Map();
    this.kept = [...base.values()].sort((one, other) => numberOf(one) - numberOf(other));
    this.oldest = numberOf(/** @type {CollabEvent} */ (out.at(-1))) + 1;
    const first = this.feed.findIndex((event) => numberOf(event) >= this.oldest);
    this.feed.splice(0, Math.max(0, first));
  }
}
