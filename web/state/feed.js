/**
 * The rows of the feed, newest first: own messages that are on their way, events, where history ends, kept state.
 *
 * Law of this file: pure; rows are described, not drawn. The list is read by index, so that a thousand events cost no
 * more than the rows that are seen.
 */

/** @import { CollabEvent, OwnMessage } from "../js/index.js" */
/** @import { RunHistory } from "./history.js" */

/**
 * @typedef {{kind: "own", key: string, message: OwnMessage}} OwnRow on its way, or rejected
 * @typedef {{kind: "event", key: string, event: CollabEvent, isKept: boolean}} EventRow
 * @typedef {{kind: "cut", key: string, oldest: number, hasKept: boolean}} CutRow history before this number is not kept
 * @typedef {OwnRow | EventRow | CutRow} Row
 */

/**
 * Own messages that the events do not show yet, oldest first.
 * @param {readonly OwnMessage[]} messages
 * @param {number} head the newest number among the events
 * @returns {OwnMessage[]}
 */
export function onTheirWay(messages, head) {
  return messages.filter(({ state, sequenceNumber }) => state !== "committed" || (sequenceNumber ?? 0) > head);
}

export class FeedRows {
  /**
   * @param {RunHistory} history
   * @param {readonly OwnMessage[]} own those on their way, oldest first
   */
  constructor(history, own) {
    this.own = own;
    this.events = history.feed;
    this.kept = history.kept;
    this.oldest = history.oldest;
    this.isCut = history.isCut;
    this.generation = history.generation;
  }

  get length() {
    return this.own.length + this.events.length + (this.isCut ? 1 + this.kept.length : 0);
  }

  /**
   * @param {number} index 0 is the newest
   * @returns {Row}
   */
  at(index) {
    const { own, events, kept } = this;
    if (index < own.length) return ownRow(/** @type {OwnMessage} */ (own[own.length - 1 - index]));
    const eventIndex = index - own.length;
    if (eventIndex < events.length) {
      return this.#eventRow(/** @type {CollabEvent} */ (events[events.length - 1 - eventIndex]), false);
    }
    const keptIndex = eventIndex - events.length - 1;
    if (keptIndex < 0) return { kind: "cut", key: "cut", oldest: this.oldest, hasKept: kept.length > 0 };
    return this.#eventRow(/** @type {CollabEvent} */ (kept[kept.length - 1 - keptIndex]), true);
  }

  /**
   * @param {CollabEvent} event
   * @param {boolean} isKept
   * @returns {EventRow}
   */
  #eventRow(event, isKept) {
    const key = event.sequenceNumber ?? `${event.eventType} ${event.userId} ${event.timestamp}`;
    return { kind: "event", key: `event ${this.generation} ${key}`, event, isKept };
  }
}

/** @param {OwnMessage} message @returns {OwnRow} */
function ownRow(message) {
  return { kind: "own", key: `own ${message.clientMessageId}`, message };
}
