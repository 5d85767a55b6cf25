/** The picture of a run: the same for whoever looks, whenever they came. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { RunHistory, numberOf } from "../history.js";
import { allNodes, asText, flow, picture, withPending } from "../picture.js";
import { apply, placeOf } from "../places.js";
import { chance, event } from "./support.js";

/** @import { CollabEvent } from "../../js/index.js" */

const STEPS = ["PM", "ARCHITECT", "TESTER"];

/** @param {CollabEvent[]} events */
function drawn(...events) {
  return asText(picture(STEPS, apply(new Map(), events)));
}

test("the newest event wins at each place, and places do not disturb each other", () => {
  const lines = drawn(
    event(1, "GRAFT", { after: "PM", agentName: "old" }),
    event(2, "PRUNE", { stepId: "TESTER", isPruned: true }),
    event(3, "GRAFT", { after: "PM", agentName: "new" }),
    event(4, "FLAG", { stepId: "PM", note: "look" }),
    event(5, "PRUNE", { stepId: "ARCHITECT", isPruned: true }),
    event(6, "PRUNE", { stepId: "ARCHITECT", isPruned: false }),
  );
  assert.deepEqual(lines, ["PM [flag: look]", "  new", "ARCHITECT", "TESTER (pruned)"]);
});

test("an agent can be grafted after an agent, and be pruned and flagged like a step", () => {
  const lines = drawn(
    event(1, "GRAFT", { after: "PM", agentName: "scanner" }),
    event(2, "GRAFT", { after: "scanner", agentName: "auditor" }),
    event(3, "PRUNE", { stepId: "scanner", isPruned: true }),
    event(4, "FLAG", { stepId: "auditor", note: "slow" }),
  );
  assert.deepEqual(lines, ["PM", "  scanner (pruned)", "  auditor [flag: slow]", "ARCHITECT", "TESTER"]);
});

test("an empty note takes a flag off", () => {
  const flags = [event(1, "FLAG", { stepId: "PM", note: "x" }), event(2, "FLAG", { stepId: "PM", note: " " })];
  assert.deepEqual(drawn(...flags), STEPS);
});

test("what has no place in the pipeline stands elsewhere instead of being lost", () => {
  const lines = drawn(
    event(1, "GRAFT", { after: "b", agentName: "c" }),
    event(2, "GRAFT", { after: "DEPLOY", agentName: "b" }),
    event(3, "FLAG", { stepId: "LEGAL", note: "sign" }),
    event(4, "PRUNE", { stepId: "GONE", isPruned: false }),
  );
  assert.deepEqual(lines, [...STEPS, "Elsewhere:", "DEPLOY", "  b", "  c", "LEGAL [flag: sign]"]);
});

test("agents grafted in a circle end, and every one is drawn", () => {
  const circle = [event(1, "GRAFT", { after: "a", agentName: "b" }), event(2, "GRAFT", { after: "b", agentName: "a" })];
  assert.deepEqual(drawn(...circle), [...STEPS, "Elsewhere:", "a", "  b", "  a"]);
  const own = drawn(event(1, "GRAFT", { after: "PM", agentName: "PM" }));
  assert.deepEqual(own, ["PM", "  PM", "ARCHITECT", "TESTER"]);
  const back = drawn(
    event(1, "GRAFT", { after: "PM", agentName: "TESTER" }),
    event(2, "GRAFT", { after: "TESTER", agentName: "x" }),
  );
  assert.deepEqual(back, ["PM", "  TESTER", "ARCHITECT", "TESTER", "  x"]);
});

test("data that makes no sense takes its place and draws nothing", () => {
  for (const data of [null, 5, "x", [], {}, { stepId: null }, { stepId: true }, { stepId: { x: 1 } }]) {
    assert.equal(placeOf(event(1, "FLAG", data)), null);
    assert.deepEqual(drawn(event(1, "FLAG", data)), STEPS);
  }
  assert.deepEqual(
    drawn(event(1, "GRAFT", { after: "PM", agentName: "a" }), event(2, "GRAFT", { after: "PM", agentName: 5 })),
    STEPS,
  );
  assert.deepEqual(drawn(event(1, "PRUNE", { stepId: "PM", isPruned: "yes" })), STEPS);
  assert.deepEqual(drawn(event(1, "GRAFT", { after: "__proto__", agentName: "constructor" })), [
    ...STEPS,
    "Elsewhere:",
    "__proto__",
    "  constructor",
  ]);
  assert.equal(placeOf(event(1, "toString", { stepId: "PM" })), null);
});

test("work flows through steps and their agents, past what is pruned", () => {
  const places = apply(new Map(), [
    event(1, "GRAFT", { after: "PM", agentName: "scanner" }),
    event(2, "PRUNE", { stepId: "ARCHITECT", isPruned: true }),
  ]);
  assert.deepEqual(
    flow(picture(STEPS, places)).map(({ id }) => id),
    ["PM", "scanner", "TESTER"],
  );
});

test("own messages on their way are drawn over what is in force, and change nothing of it", () => {
  const places = apply(new Map(), [event(1, "PRUNE", { stepId: "PM", isPruned: true })]);
  const pending = { ...event(2, "PRUNE", { stepId: "PM", isPruned: false }), pendingState: "queued" };
  const [pm] = picture(STEPS, withPending(places, [pending])).steps;
  assert.equal(pm?.isPruned, false);
  assert.equal(pm?.prune?.pendingState, "queued");
  assert.equal(picture(STEPS, places).steps[0]?.isPruned, true);
  assert.equal(withPending(places, []), places);
});

/** @param {(below: number) => number} pick @param {number} number */
function anyEvent(pick, number) {
  const names = ["PM", "ARCHITECT", "TESTER", "a", "b", "LEGAL"];
  const name = () => names[pick(names.length)];
  const kinds = [
    () => event(number, "GRAFT", { after: name(), agentName: pick(8) === 0 ? null : name() }),
    () => event(number, "PRUNE", { stepId: name(), isPruned: pick(2) === 0 }),
    () => event(number, "FLAG", { stepId: name(), note: pick(3) === 0 ? "" : `note ${number}` }),
    () => event(number, "FLAG", { stepId: pick(3), note: "n" }),
    () => event(number, "NOTE", { text: "no state" }),
  ];
  return /** @type {() => CollabEvent} */ (kinds[pick(kinds.length)])();
}

/** What a server does that keeps so many events: the rest, and the newest trimmed event of each place. */
function asServed(/** @type {CollabEvent[]} */ events, /** @type {number} */ retained) {
  const trimmed = events.slice(0, Math.max(0, events.length - retained));
  const state = [...apply(new Map(), trimmed).values()].sort((one, other) => numberOf(one) - numberOf(other));
  return { state, log: events.slice(trimmed.length), oldest: trimmed.length + 1 };
}

test("a late joiner sees the same picture as those who were there, at the end and after every retained event", () => {
  for (let seed = 0; seed < 40; seed += 1) {
    const pick = chance(seed);
    const events = Array.from({ length: 60 + pick(60) }, (_, index) => anyEvent(pick, index + 1));
    const { state, log, oldest } = asServed(events, 1 + pick(50));
    const there = new RunHistory({ checkpointEvery: 7 });
    const small = new RunHistory({ limit: 14, checkpointEvery: 7 });
    const late = new RunHistory({ checkpointEvery: 5 });
    for (const each of events) {
      there.add(each, 1);
      small.add(each, 1);
    }
    for (const each of [...state, ...log]) late.add(each, oldest);
    assert.equal(late.oldest, oldest);
    assert.ok(small.events.length < 21);
    for (const { sequenceNumber = 0 } of log) {
      const truth = asText(picture(STEPS, there.placesAt(there.indexAfter(sequenceNumber))));
      assert.deepEqual(asText(picture(STEPS, late.placesAt(late.indexAfter(sequenceNumber)))), truth, `seed ${seed}`);
      if (sequenceNumber >= small.oldest) {
        const index = small.indexAfter(sequenceNumber);
        assert.deepEqual(asText(picture(STEPS, small.placesAt(index))), truth, `seed ${seed}, small`);
      }
    }
    assert.deepEqual(asText(picture(STEPS, small.now)), asText(picture(STEPS, there.now)));
    assert.deepEqual(allNodes(picture(STEPS, late.placesAt(0))).length > 0, true);
  }
});

test("time can be turned back to before the first event that is kept", () => {
  const history = new RunHistory();
  history.add(event(3, "FLAG", { stepId: "PM", note: "before" }), 9);
  history.add(event(9, "FLAG", { stepId: "PM", note: "after" }), 9);
  assert.deepEqual(asText(picture(["PM"], history.placesAt(0))), ["PM [flag: before]"]);
  assert.deepEqual(asText(picture(["PM"], history.placesAt(1))), ["PM [flag: after]"]);
});

test("an event that comes again, or a transient one, changes no state", () => {
  const history = new RunHistory();
  history.add(event(1, "FLAG", { stepId: "PM", note: "x" }), 1);
  history.add(event(2, "FLAG", { stepId: "PM", note: "y" }), 1);
  history.add(event(1, "FLAG", { stepId: "PM", note: "x" }), 1);
  const { sequenceNumber: _, ...transient } = event(0, "USER_JOIN", { userId: "bob" });
  history.add(transient, 1);
  assert.deepEqual(asText(picture(["PM"], history.now)), ["PM [flag: y]"]);
  assert.equal(history.events.length, 2);
  assert.equal(history.feed.length, 3);
  assert.equal(history.head, 2);
  history.clear();
  assert.equal(history.head, 0);
  assert.equal(history.isCut, false);
});
