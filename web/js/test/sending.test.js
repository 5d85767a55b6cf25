/** Messages on their way (docs/client-behaviour.md, R10 to R22, R34). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../core/outbox.js";
import { Sender } from "../shell/sender.js";
import { numbers, RUN, world } from "./support/world.js";

/** @param {any} frame */
const isMessage = (frame) => frame.clientMessageId !== undefined;

/** @param {any[]} events */
const notes = (events) => events.map((event) => event.data.note);

/** @param {import("../client.js").StreamStore} store @param {number} count @param {string} [name] */
function flags(store, count, name = "n") {
  return Array.from({ length: count }, (_, index) => store.sendFlag("PM", `${name}${index + 1}`));
}

/** @param {import("./support/fake_server.js").FakeServer} server @param {any} data */
function tellAll(server, data) {
  for (const { socket } of server.live) socket.deliver({ eventType: "ERROR", data: { message: "", ...data } });
}

test("R10, R13: fifty messages that were queued while disconnected go out in order, each with one id of 22 characters", async () => {
  const { time, store, server } = world();
  server.down = true;
  store.connectToRun(RUN);
  await time.advance(1_000);
  flags(store, 50);
  assert.equal(store.queuedMessageCount(), 50);
  server.down = false;
  await time.advance(5_000);
  assert.deepEqual(notes(server.events), flags50());
  assert.equal(store.queuedMessageCount(), 0);
  const ids = server.received.filter(isMessage).map((frame) => frame.clientMessageId);
  assert.equal(new Set(ids).size, 50);
  assert.ok(ids.every((id) => /^[A-Za-z0-9_-]{22}$/.test(id)));
  assert.ok(server.received.filter(isMessage).every((frame) => Object.keys(frame).length === 3));
});

function flags50() {
  return Array.from({ length: 50 }, (_, index) => `n${index + 1}`);
}

test("R11: what cannot be sent is refused where it is sent, by name, and nothing is queued", async () => {
  const { time, store } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  const loop = { self: {} };
  loop.self = loop;
  const bad = [undefined, NaN, Infinity, 1n, () => {}, Symbol("s"), new Map(), "half \ud800", "nul \0"];
  for (const value of [...bad, loop]) {
    assert.throws(() => store.send("NOTE", { value }), { code: "unserialisable" }, String(value));
  }
  assert.throws(() => store.send("NOTE", { "nul \0": 1 }), { code: "unserialisable" });
  assert.throws(() => store.send("NOTE", nested(33)), { code: "unserialisable" });
  for (const type of ["note", "", "1A", "A".repeat(51), "A-B", "PING", "WELCOME", "USER_JOIN", "DRAIN"]) {
    assert.throws(() => store.send(type, null), { code: "invalid_event_type" }, type);
  }
  assert.throws(() => store.send("NOTE", "é".repeat(40_000)), { code: "message_too_big", limit: 65_536 });
  assert.equal(store.queuedMessageCount(), 0);
  store.send("NOTE", nested(32));
  store.send("NOTE");
  assert.equal(store.queuedMessageCount(), 2);
});

/** @param {number} levels */
function nested(levels) {
  /** @type {any} */
  let value = 1;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

test("R11: a full queue refuses the next message and keeps the others", async () => {
  const { time, store, server } = world({ maxQueuedMessages: 3, maxQueuedBytes: 1_000 });
  server.down = true;
  store.connectToRun(RUN);
  await time.advance(10);
  flags(store, 2);
  assert.throws(() => store.sendFlag("PM", "x".repeat(900)), { code: "queue_full" });
  store.sendFlag("PM", "third");
  assert.throws(() => store.sendFlag("PM", "fourth"), { code: "queue_full" });
  server.down = false;
  await time.advance(5_000);
  assert.deepEqual(notes(server.events), ["n1", "n2", "third"]);
});

test("R12: the states of a message can be watched", async () => {
  const { time, store, server } = world();
  server.down = true;
  store.connectToRun(RUN);
  await time.advance(10);
  const sent = store.sendFlag("PM", "watched");
  /** @type {string[]} */
  const states = [];
  sent.state.subscribe(({ state }) => states.push(state));
  await time.advance(10);
  server.down = false;
  await time.advance(1_000);
  assert.deepEqual(states, ["storing", "queued", "sent", "committed"]);
  assert.deepEqual(
    store.ownMessages().map(({ eventType, data, sequenceNumber }) => ({ eventType, data, sequenceNumber })),
    [{ eventType: "FLAG", data: { stepId: "PM", note: "watched" }, sequenceNumber: 1 }],
  );
});

test("R12, R22: an event that is not persisted is committed without a number", async () => {
  const { time, store } = world();
  store.connectToRun(RUN);
  const sent = store.send("WAVE", { at: "bob" });
  await time.advance(20);
  assert.equal((await sent).sequenceNumber, null);
  assert.deepEqual(
    store.events().map((event) => event.eventType),
    ["WAVE"],
  );
});

test("R14: at most 32 messages are on the wire without an answer", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  server.swallowAck = () => true;
  flags(store, 40);
  await time.advance(50);
  assert.equal(server.received.filter(isMessage).length, 32);
});

test("R14, R18: answers that are lost with their connection are asked for again, and each message is there once", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  server.swallowAck = () => true;
  const sent = flags(store, 10);
  await time.advance(50);
  server.cut();
  server.swallowAck = () => false;
  await time.advance(1_000);
  const ends = await Promise.all(sent);
  assert.ok(ends.every(({ duplicate }) => duplicate));
  assert.deepEqual(numbers(store.events()), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.equal(server.head, 10);
});

test("R16: a refusal that is final rejects that message and no other", async () => {
  const { time, store, server } = world();
  server.refuse = ({ data }) => (data.note === "n2" ? { code: "forbidden", retryable: false } : undefined);
  store.connectToRun(RUN);
  const [one, two, three] = flags(store, 3);
  await time.advance(50);
  await assert.rejects(async () => two, { code: "rejected", reason: "forbidden" });
  assert.equal((await one)?.sequenceNumber, 1);
  assert.equal((await three)?.sequenceNumber, 2);
  assert.equal(store.connectionHealth().messageDeliveryRate, 2 / 3);
});

test("R17, R18: after a refusal for now the message goes again, alone and before the later ones", async () => {
  const { time, store, server } = world();
  let refusals = 0;
  server.refuse = ({ data }) => {
    if (data.note !== "n2" || refusals >= 2) return undefined;
    refusals += 1;
    return { code: "internal_error", retryable: true };
  };
  store.connectToRun(RUN);
  const sent = flags(store, 5);
  await time.advance(5_000);
  await Promise.all(sent);
  assert.deepEqual(notes(server.events), ["n1", "n2", "n3", "n4", "n5"]);
  const order = server.received.filter(isMessage).map((frame) => frame.data.note);
  assert.deepEqual(order, ["n1", "n2", "n3", "n4", "n5", "n2", "n2", "n3", "n4", "n5"]);
  assert.equal(server.dials.length, 1);
});

test("R18: the third counted refusal rejects the message, and the others go on over a new connection", async () => {
  const { time, store, server } = world();
  server.refuse = ({ data }) => (data.note === "n2" ? { code: "internal_error", retryable: true } : undefined);
  store.connectToRun(RUN);
  const [one, two, three] = flags(store, 3);
  await time.advance(10_000);
  await assert.rejects(async () => two, { code: "rejected", reason: "internal_error" });
  assert.equal((await one)?.sequenceNumber, 1);
  assert.equal((await three)?.sequenceNumber, 2);
  assert.equal(server.received.filter((frame) => frame.data?.note === "n2").length, 3);
  assert.equal(server.dials.length, 2);
  assert.equal(store.usingFallback(), false);
});

for (const code of ["rate_limited", "storage_unavailable", "draining", "too_many_connections"]) {
  test(`R18: ${code} is never counted against the message`, async () => {
    const { time, store, server } = world();
    let left = 8;
    server.refuse = () => (left-- > 0 ? { code, retryable: true, retryAfterMs: 100 } : undefined);
    store.connectToRun(RUN);
    const sent = store.sendFlag("PM", "patient");
    await time.advance(20_000);
    assert.equal(sent.state().sequenceNumber, 1);
    assert.equal(server.received.filter(isMessage).length, 9);
  });
}

test("R19: a message that was refused for now waits as long as the server says", async () => {
  const { time, store, server } = world();
  let refused = false;
  server.refuse = () => {
    if (refused) return undefined;
    refused = true;
    return { code: "storage_unavailable", retryable: true, retryAfterMs: 2_000 };
  };
  store.connectToRun(RUN);
  const sent = store.sendFlag("PM", "patient");
  await time.advance(1_900);
  assert.equal(server.received.filter(isMessage).length, 1);
  await time.advance(200);
  assert.equal(sent.state().state, "committed");
});

test("R19: after a rate limit messages wait as told, and go out at a pace until the queue was empty", async () => {
  const { time, store, server } = world();
  let refused = false;
  /** @type {number[]} */
  const times = [];
  server.refuse = () => {
    times.push(time.now());
    if (refused) return undefined;
    refused = true;
    return { code: "rate_limited", retryable: true, retryAfterMs: 300 };
  };
  store.connectToRun(RUN);
  flags(store, 4);
  await time.advance(5_000);
  assert.equal(server.head, 4);
  const gaps = times.slice(1).map((at, index) => at - /** @type {number} */ (times[index]));
  assert.ok(
    gaps.every((gap) => gap >= 299),
    String(gaps),
  );
  flags(store, 3, "later");
  await time.advance(20);
  assert.equal(server.head, 7);
});

test("R19: a rate limit that names no message pauses cursors as well", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  tellAll(server, { code: "rate_limited", retryable: true, retryAfterMs: 2_000 });
  await time.advance(10);
  store.sendCursorMove("PM");
  store.sendFlag("PM", "waits");
  await time.advance(1_900);
  assert.ok(!server.received.some((frame) => ["CURSOR_MOVE", "FLAG"].includes(frame.eventType)));
  await time.advance(200);
  assert.equal(server.head, 1);
  assert.ok(server.received.some((frame) => frame.eventType === "CURSOR_MOVE"));
});

test("R20: a message without an answer for two intervals, on a connection that lives otherwise, goes again", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  server.swallowAck = () => true;
  const sent = store.sendFlag("PM", "unanswered");
  await time.advance(19_000);
  assert.equal(server.dials.length, 1);
  server.swallowAck = () => false;
  await time.advance(3_000);
  assert.deepEqual(await sent, { clientMessageId: sent.clientMessageId, sequenceNumber: 1, duplicate: true });
  assert.equal(server.head, 1);
});

test("R21: 1009 rejects the largest message on its way, and the others go on", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  server.swallowAck = () => true;
  server.refuse = () => {
    server.time.setTimeout(() => server.cut(1009), 0);
    return { code: "none", retryable: true };
  };
  const small = store.sendFlag("PM", "small");
  const large = store.sendFlag("PM", "x".repeat(50_000));
  await time.advance(2);
  Object.assign(server, { refuse: () => undefined, swallowAck: () => false });
  await time.advance(1_000);
  await assert.rejects(async () => large, { code: "rejected", reason: "message_too_big" });
  assert.equal((await small).sequenceNumber, 1);
});

test("R21: when the server takes less than was thought, what is too large is rejected", async () => {
  const { time, store, server } = world();
  server.maxMessageBytes = 1_000;
  store.connectToRun(RUN);
  const large = store.sendFlag("PM", "x".repeat(2_000));
  const small = store.sendFlag("PM", "small");
  await time.advance(50);
  await assert.rejects(async () => large, { reason: "message_too_big" });
  assert.equal((await small).sequenceNumber, 1);
  assert.throws(() => store.sendFlag("PM", "x".repeat(2_000)), { code: "message_too_big" });
});

test("R34: close() waits for what is queued, and then says what was not sent", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  const first = store.sendFlag("PM", "in time");
  void store.close();
  await time.advance(200);
  assert.equal((await first).sequenceNumber, 1);

  const other = world();
  other.server.down = true;
  other.store.connectToRun(RUN);
  const lost = other.store.sendFlag("PM", "too late");
  void other.store.close({ waitMs: 1_000 });
  await other.time.advance(2_000);
  await assert.rejects(async () => lost, { code: "closed" });
  assert.equal(other.store.ownMessages()[0]?.code, "closed");
  assert.equal(server.head, 1);
});

test("R34: whoever asks to close waits until it is closed, for runs that were left before as well", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  server.swallowAck = () => true;
  store.sendFlag("PM", "never answered");
  await time.advance(10);
  store.connectToRun("123e4567-e89b-42d3-a456-426614174001");
  await time.advance(10);
  /** @type {string[]} */
  const done = [];
  void store.close({ waitMs: 0 }).then(() => done.push("first"));
  void store.close({ waitMs: 0 }).then(() => done.push("again"));
  await time.advance(4_000);
  assert.deepEqual(done, [], "the run before still has a second to send what waits");
  await time.advance(4_000);
  assert.deepEqual(done, ["first", "again"]);
});

test("who fails fast does so until the run is joined, and comes back like everybody afterwards", async () => {
  const gone = world();
  gone.server.down = true;
  const joined = gone.store.connectToRun(RUN, { failFast: true });
  await gone.time.advance(10_000);
  await assert.rejects(joined, { code: "unreachable" });
  assert.equal(gone.store.connectionState(), "closed");

  const { time, store, server } = world();
  store.connectToRun(RUN, { failFast: true });
  await time.advance(100);
  server.down = true;
  server.cut();
  await time.advance(5_000);
  assert.equal(store.problem()?.code, "unreachable");
  server.down = false;
  await time.advance(15_000);
  assert.equal(store.connectionState(), "live");
});

test("nobody has to wait: a rejection that nobody looks at is no unhandled one", async () => {
  const { time, store, server } = world();
  server.refuse = () => ({ code: "forbidden", retryable: false });
  store.connectToRun(RUN);
  store.sendFlag("PM", "unwatched");
  await time.advance(50);
  assert.equal(store.ownMessages()[0]?.state, "rejected");
});

test("R19: a wait that ends between two looks at the clock does not leave the queue waiting for ever", () => {
  const clock = [10, 11];
  /** @type {number[]} */
  const timers = [];
  const env = /** @type {any} */ ({
    now: () => clock.shift() ?? 11,
    setTimeout: (/** @type {() => void} */ _work, /** @type {number} */ ms) => timers.push(ms),
    clearTimeout: () => {},
  });
  const outbox = new Outbox({ retryLimit: () => 3 });
  outbox.add([{ clientMessageId: "a", text: "{}", bytes: 2, attempts: 0, state: "queued", sentAt: 0 }]);
  outbox.pacing.pause(10.5);
  const sender = new Sender(env, outbox, { onChanges: () => {}, onHeldBack: () => {} });
  sender.open({ batch: false, send: () => {} });
  assert.deepEqual(timers, [0.5]);
});
