/** Order under a hostile network (docs/client-behaviour.md, R40, R60 to R67, R75), as a property of many histories. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Timeline } from "../core/timeline.js";

/** Chance that a test can repeat. @param {number} seed */
function chance(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** @param {number} number @param {string} epoch */
function event(number, epoch) {
  const data = { epoch, number };
  return { eventType: "FLAG", userId: "bob", timestamp: 0, sequenceNumber: number, data, isCritical: true };
}

/** A log, a client, and a network between them that loses, doubles, cuts, and delays answers. */
class Trial {
  /** @param {number} seed */
  constructor(seed) {
    this.random = chance(seed);
    this.timeline = new Timeline();
    this.epoch = "e1";
    this.head = 0;
    this.oldest = 1;
    /** @type {any[]} what the application holds */
    this.view = [];
    /** where the application's view began @type {number} */
    this.viewFrom = 0;
    this.connected = false;
    /** @type {{asked: any, answer: any}[]} answers on their way */
    this.polls = [];
  }

  log(from = 1) {
    const numbers = Array.from({ length: this.head }, (_, index) => index + 1);
    return numbers.filter((number) => number >= Math.max(from, this.oldest)).map((number) => event(number, this.epoch));
  }

  /** @param {import("../core/timeline.js").Step} step */
  do({ deliver, began, repairFrom, again }) {
    if (began !== null) {
      this.view = [];
      this.viewFrom = began.sequenceNumber - deliver.length;
    }
    this.view.push(...deliver);
    if (again !== null) this.disconnect();
    else if (repairFrom !== null) this.do(this.timeline.repaired(this.page(this.log(repairFrom))));
  }

  /** @param {any[]} events */
  page(events) {
    return { epoch: this.epoch, sequenceNumber: this.head, oldestSequence: this.oldest, events };
  }

  resumable() {
    const { position } = this.timeline;
    if (position === null || position.epoch !== this.epoch) return false;
    return position.sequence >= this.oldest - 1 && position.sequence <= this.head;
  }

  connect() {
    const recovered = this.resumable();
    const asked = this.timeline.position;
    const replay = this.log(recovered ? (asked?.sequence ?? 0) + 1 : 1);
    const welcome = { ...this.page([]), sessionId: "s", runId: "", userId: "", recovered, replayCount: replay.length };
    this.connected = true;
    this.do(this.timeline.welcome(/** @type {any} */ (welcome)));
    const cut = this.random() < 0.2 ? Math.floor(this.random() * replay.length) : replay.length;
    for (const each of replay.slice(0, cut)) if (this.connected) this.do(this.timeline.event(each));
    if (cut < replay.length) this.disconnect();
  }

  disconnect() {
    this.connected = false;
    this.timeline.disconnected();
  }

  commit() {
    this.head += 1;
    if (!this.connected) return;
    const copies = this.random() < 0.15 ? 0 : this.random() < 0.1 ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      if (this.connected) this.do(this.timeline.event(event(this.head, this.epoch)));
    }
  }

  askPoll() {
    const asked = this.timeline.position;
    const recovered = asked !== null && this.resumable();
    const events = this.log(recovered ? asked.sequence + 1 : 1).slice(0, 3);
    this.polls.push({ asked, answer: { ...this.page(events), recovered, sessionId: null, hasMore: false } });
  }

  answerPoll() {
    const poll = this.polls.shift();
    if (poll !== undefined && !this.connected) this.do(this.timeline.polled(poll.answer, poll.asked));
  }

  step() {
    const roll = this.random();
    if (roll < 0.55) this.commit();
    else if (roll < 0.68 && !this.connected) this.connect();
    else if (roll < 0.74) this.disconnect();
    else if (roll < 0.84) this.askPoll();
    else if (roll < 0.95) this.answerPoll();
    else if (roll < 0.98) this.oldest = Math.min(this.head + 1, this.oldest + 3);
    else if (roll < 0.985) this.replaceHistory();
  }

  /** Takes a restart, which no connection survives; answers of before may still be on their way. */
  replaceHistory() {
    this.disconnect();
    this.epoch = `e${Number(this.epoch.slice(1)) + 1}`;
    this.head = 0;
    this.oldest = 1;
  }

  check() {
    const numbers = this.view.map(({ sequenceNumber }) => sequenceNumber);
    numbers.forEach((number, index) => assert.equal(number, (numbers[0] ?? 0) + index, `gapless: ${numbers}`));
    assert.ok(
      this.view.every(({ data }) => data.epoch === this.view[0].data.epoch),
      "one history in one view",
    );
  }
}

test("whatever the network does, an application's view is one history, gapless and without doubles", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const trial = new Trial(seed);
    for (let turn = 0; turn < 80; turn += 1) {
      trial.step();
      trial.check();
    }
  }
});

test("whatever the network did, a good connection in the end brings the view to the head of the log", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const trial = new Trial(seed);
    for (let turn = 0; turn < 60; turn += 1) trial.step();
    trial.disconnect();
    trial.random = () => 0.5;
    trial.connect();
    trial.commit();
    trial.check();
    assert.equal(trial.view.at(-1)?.sequenceNumber, trial.head, `seed ${seed}`);
    assert.deepEqual(trial.timeline.position, { epoch: trial.epoch, sequence: trial.head });
  }
});
