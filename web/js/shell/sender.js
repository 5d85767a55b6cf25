/**
 * Sending what waits, over whatever way is open (docs/client-behaviour.md, R13 to R20, R33, R71, R76 to R78).
 *
 * Law of this file: it owns the outbox and the one timer of sending; what became of a message is told through
 * `onChanges`, and only that.
 */

/** @import { Judgement } from "../core/answers.js" */
/** @import { Change, Entry } from "../core/outbox_types.js" */
/** @import { Frame } from "../core/types.js" */
/** @import { Environment } from "./environment.js" */

import { Outbox } from "../core/outbox.js";

/**
 * @typedef {object} FrameWay a WebSocket
 * @property {false} batch
 * @property {(text: string) => void} send
 *
 * @typedef {object} PostOutcome
 * @property {import("../core/answers.js").HttpAnswer} answer
 * @property {Judgement} judgement
 * @property {any[]} acks
 *
 * @typedef {object} PostWay HTTP
 * @property {true} batch
 * @property {(body: string) => Promise<PostOutcome>} post
 *
 * @typedef {object} SenderHandlers
 * @property {(changes: Change[]) => void} onChanges
 * @property {() => void} onHeldBack the connection waits for a message that will not come again: drop it (R18)
 */

const PAUSE_WITHOUT_ID_MS = 1_000;

export class Sender {
  /**
   * @param {Environment} env
   * @param {Outbox} outbox
   * @param {SenderHandlers} handlers
   */
  constructor(env, outbox, handlers) {
    this.env = env;
    this.outbox = outbox;
    this.handlers = handlers;
    /** @type {FrameWay | PostWay | null} */
    this.way = null;
    this.posting = false;
    /** @type {any} */
    this.timer = null;
  }

  /** @param {FrameWay | PostWay} way */
  open(way) {
    this.way = way;
    this.#tell(this.outbox.disconnected());
    this.pump();
  }

  /** The way is no more. */
  shut() {
    this.way = null;
    this.env.clearTimeout(this.timer);
    this.#tell(this.outbox.disconnected());
  }

  /** DRAIN: nothing more goes out, answers still count. */
  hold() {
    this.way = null;
    this.env.clearTimeout(this.timer);
  }

  /** Send what may be sent, and come back when time allows more. */
  pump() {
    const way = this.way;
    // A POST over the way before is waited for, so that nothing transient goes twice (R71).
    if (way === null || this.posting) return;
    const now = this.env.now();
    const taken = this.outbox.take(now, way);
    this.#tell(taken.map((entry) => ({ entry, state: entry.state })));
    if (way.batch) void this.#post(way, taken);
    else for (const { text } of taken) way.send(text);
    this.#pumpLater(way, now);
  }

  /**
   * @param {FrameWay | PostWay} way
   * @param {number} now the same that was taken at: a later look might find the wait over, and nothing would be sent
   */
  #pumpLater(way, now) {
    this.env.clearTimeout(this.timer);
    const at = this.outbox.nextTakeAt(way);
    // Due, and yet nothing was taken: the window is full, and the next answer pumps again.
    if (at !== null && at > now) this.timer = this.env.setTimeout(() => this.pump(), at - now);
  }

  /**
   * ACK or ERROR.
   * @param {Frame} frame
   */
  answered(frame) {
    if (frame.eventType === "ACK") this.#tell(this.outbox.acked(frame.data));
    else this.#refused(frame.data, this.way?.batch ?? false);
    this.pump();
  }

  /**
   * @param {import("../core/types.js").ErrorData} error
   * @param {boolean} batch
   */
  #refused(error, batch) {
    const { now, random } = this.env;
    if (error.clientMessageId === undefined) {
      if (error.code === "rate_limited") this.outbox.pacing.pause(now() + (error.retryAfterMs ?? PAUSE_WITHOUT_ID_MS));
      return;
    }
    const { changes, drop } = this.outbox.refused(error, now(), random, { batch });
    this.#tell(changes);
    if (drop) this.handlers.onHeldBack();
  }

  /**
   * @param {PostWay} way
   * @param {Entry[]} taken
   */
  async #post(way, taken) {
    if (taken.length === 0) return;
    this.posting = true;
    const outcome = await way.post(`{"events":[${taken.map((entry) => entry.text).join(",")}]}`);
    this.posting = false;
    this.#posted(outcome, taken);
    this.pump();
  }

  /**
   * @param {PostOutcome} outcome
   * @param {Entry[]} taken
   */
  #posted({ judgement, acks }, taken) {
    const { now, random } = this.env;
    if (judgement.kind === "ok") {
      acks.forEach((answer, index) => this.#answeredInPost(answer, taken[index]));
      // An answer that is missing says nothing: what it was about goes out again, over whatever way is open by now.
      this.#tell(this.outbox.disconnected());
      this.outbox.postAnswered();
      return;
    }
    if (judgement.kind === "later") this.outbox.pacing.pause(now() + judgement.retryAfterMs);
    const refusal = judgement.kind === "refused" && judgement.code !== "run_not_found" ? judgement : null;
    this.#tell(this.outbox.postFailed(refusal, now(), random));
  }

  /**
   * @param {any} answer
   * @param {Entry | undefined} entry
   */
  #answeredInPost(answer, entry) {
    const data = { clientMessageId: entry?.clientMessageId, ...answer };
    if (typeof data.code === "string") this.#refused(data, true);
    else this.#tell(this.outbox.acked(data));
  }

  /** @param {Change[]} changes */
  #tell(changes) {
    if (changes.length > 0) this.handlers.onChanges(changes);
  }
}
