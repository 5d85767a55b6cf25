/**
 * What the application sees of a run, as values that change (docs/client-behaviour.md, R80 to R84).
 *
 * Law of this file: it keeps and derives; it asks nobody.
 */

/** @import { Began } from "../core/timeline.js" */
/** @import { CollabEvent } from "../core/types.js" */
/** @import { ConnectionHealth } from "../core/health.js" */
/** @import { ConnectionState } from "./connection_types.js" */
/** @import { CollabdError } from "../errors.js" */

import { NOBODY } from "../core/presence.js";
import { healthOf } from "../core/health.js";
import { signal } from "../readable.js";

/**
 * @typedef {object} RunInfo
 * @property {string} runId
 * @property {string} userId
 * @property {string | null} sessionId
 * @property {string | null} epoch
 * @property {number} sequenceNumber where this client stands; 0 before it joined
 * @property {number} oldestSequence the oldest number that the server still had when it was last asked; what is older
 *   in `events()` is kept state
 */

/** @type {import("../core/health.js").Counts} */
const NO_COUNTS = {
  latency: null,
  welcomes: 0,
  committed: 0,
  rejected: 0,
  queuedMessages: 0,
  transport: "none",
  usingFallback: false,
  storage: "memory",
};

export class View {
  /**
   * @param {string} runId
   * @param {string} userId
   * @param {number} eventLimit how many events are kept
   */
  constructor(runId, userId, eventLimit) {
    this.eventLimit = eventLimit;
    /** @type {import("@preact/signals-core").Signal<readonly CollabEvent[]>} */
    this.events = signal(/** @type {readonly CollabEvent[]} */ ([]));
    this.presence = signal(NOBODY);
    /** @type {import("@preact/signals-core").Signal<ConnectionHealth>} */
    this.health = signal(healthOf(NO_COUNTS));
    /** @type {import("@preact/signals-core").Signal<ConnectionState>} */
    this.state = signal(/** @type {ConnectionState} */ ("closed"));
    /** @type {import("@preact/signals-core").Signal<CollabdError | null>} */
    this.problem = signal(/** @type {CollabdError | null} */ (null));
    /** @type {import("@preact/signals-core").Signal<RunInfo>} */
    this.run = signal(
      /** @type {RunInfo} */ ({ runId, userId, sessionId: null, epoch: null, sequenceNumber: 0, oldestSequence: 1 }),
    );
    this.counts = NO_COUNTS;
  }

  /** @param {Partial<import("../core/health.js").Counts>} changed */
  count(changed) {
    this.counts = { ...this.counts, ...changed };
    const health = healthOf(this.counts);
    if (JSON.stringify(health) !== JSON.stringify(this.health.peek())) this.health.value = health;
  }

  /** @param {Partial<RunInfo>} changed */
  tell(changed) {
    const before = this.run.peek();
    const after = { ...before, ...changed };
    if (JSON.stringify(after) !== JSON.stringify(before)) this.run.value = after;
  }

  /**
   * Cursor moves are state (`cursorPositions`), not history: a feed of them would be all that one sees.
   * @param {CollabEvent[]} delivered
   * @param {Began | null} began
   */
  handOn(delivered, began) {
    const shown = delivered.filter((event) => event.eventType !== "CURSOR_MOVE");
    if (began === null && shown.length === 0) return;
    const before = began === null ? this.events.peek() : [];
    this.events.value = [...before, ...shown].slice(-this.eventLimit);
  }
}
