/** What is handed on, and in which order (docs/client-behaviour.md, R60 to R67, R83, R84). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { numbers, RUN, world } from "./support/world.js";

/** @param {import("./support/fake_server.js").FakeServer} server @param {number} count */
function commits(server, count) {
  for (let nth = 0; nth < count; nth += 1) server.commit("bob", "FLAG", { stepId: "PM", note: `b${server.head + 1}` });
}

/** Events that are lost on their way to the client. @param {import("./support/fake_server.js").FakeServer} server @param {() => void} work */
function unheard(server, work) {
  const live = new Set(server.live);
  server.live.clear();
  work();
  for (const session of live) server.live.add(session);
}

/** @param {import("../client.js").StreamStore} store */
function record(store) {
  /** @type {any[]} */
  const events = [];
  /** @type {any[]} */
  const resets = [];
  store.onEvent((event) => events.push(event));
  store.onReset((reset) => resets.push(reset));
  return { events, resets };
}

const replays = (/** @type {any} */ server) =>
  server.requests.filter((/** @type {any} */ request) => request.url.pathname.endsWith("/replay"));

test("R62: a late joiner is handed the kept state, then the history, then what comes live", async () => {
  const { time, store, server } = world();
  commits(server, 8);
  server.trim(5);
  const { events, resets } = record(store);
  const joined = store.connectToRun(RUN);
  await time.advance(20);
  await joined;
  commits(server, 2);
  await time.advance(20);
  assert.deepEqual(numbers(store.events()), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(numbers(events), numbers(store.events()));
  assert.equal(store.runInfo().oldestSequence, 6);
  assert.deepEqual(resets, []);
});

test("R62: a join that is cut in the middle hands nothing on, and the next one hands everything on once", async () => {
  const { time, store, server } = world();
  commits(server, 5);
  server.welcome = (welcome) => ({ ...welcome, replayCount: 6 });
  const { events } = record(store);
  store.connectToRun(RUN);
  await time.advance(50);
  assert.deepEqual(events, []);
  server.welcome = (welcome) => welcome;
  server.cut();
  await time.advance(1_000);
  assert.deepEqual(numbers(events), [1, 2, 3, 4, 5]);
  assert.equal(server.dials[1]?.searchParams.get("afterSequence"), null);
});

test("R61: what came while the client was away comes once, in order, without a reset", async () => {
  const { time, store, server } = world();
  const { events, resets } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 3);
  await time.advance(20);
  server.cut();
  commits(server, 4);
  await time.advance(1_000);
  commits(server, 1);
  await time.advance(20);
  assert.deepEqual(numbers(events), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(resets, []);
});

test("R64, R65: a hole is noticed at the next event and filled before anything after it is handed on", async () => {
  const { time, store, server } = world();
  const { events } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 2);
  await time.advance(20);
  unheard(server, () => commits(server, 3));
  commits(server, 2);
  await time.advance(5);
  commits(server, 1);
  await time.advance(20);
  assert.deepEqual(numbers(events), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(
    replays(server).map((/** @type {any} */ { url }) => url.searchParams.get("fromSequence")),
    ["3"],
  );
});

test("R64: an event that comes twice is handed on once", async () => {
  const { time, store, server } = world();
  const { events } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 3);
  for (const event of server.events) server.tell(event);
  await time.advance(20);
  assert.deepEqual(numbers(events), [1, 2, 3]);
});

test("R65: a replay that fails is asked for again, and after three tries the connection is resumed", async () => {
  const { time, store, server } = world();
  const { events } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 1);
  unheard(server, () => commits(server, 1));
  server.intercept = (url) =>
    url.pathname.endsWith("/replay") ? Response.json({ code: "internal_error" }, { status: 500 }) : null;
  commits(server, 1);
  await time.advance(5_000);
  assert.equal(replays(server).length, 3);
  assert.equal(server.dials.length, 2);
  assert.deepEqual(numbers(events), [1, 2, 3]);
});

test("R64: more than a thousand events behind a hole are not kept: the client resumes", async () => {
  const { time, store, server } = world();
  const { events } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  unheard(server, () => commits(server, 1));
  server.intercept = (url) => (url.pathname.endsWith("/replay") ? new Promise(() => {}) : null);
  commits(server, 1_001);
  await time.advance(5_000);
  assert.equal(server.dials.length, 2);
  assert.deepEqual(
    numbers(events),
    Array.from({ length: 1_002 }, (_, index) => index + 1),
  );
});

test("R66: a hole that can no longer be filled is a reset with the new state", async () => {
  const { time, store, server } = world();
  const { events, resets } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 1);
  unheard(server, () => commits(server, 3));
  server.trim(3);
  commits(server, 1);
  await time.advance(1_000);
  assert.deepEqual(numbers(events), [1]);
  assert.equal(resets.length, 1);
  assert.equal(resets[0].reason, "trimmed");
  assert.deepEqual(numbers(resets[0].events), [1, 2, 3, 4, 5]);
  assert.deepEqual(numbers(store.events()), [1, 2, 3, 4, 5]);
  commits(server, 1);
  await time.advance(20);
  assert.deepEqual(numbers(events), [1, 6]);
});

test("R66: a replay of another history is a reset", async () => {
  const { time, store, server } = world();
  const { events, resets } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 1);
  unheard(server, () => commits(server, 1));
  server.intercept = (url) => {
    if (url.pathname.endsWith("/replay")) server.replaceHistory("epoch-2");
    return null;
  };
  commits(server, 1);
  await time.advance(1_000);
  assert.deepEqual(numbers(events), [1]);
  assert.deepEqual(
    resets.map(({ reason, epoch }) => [reason, epoch]),
    [["epoch_changed", "epoch-2"]],
  );
});

test("after close() a hole is no longer worked at", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(20);
  unheard(server, () => commits(server, 1));
  server.intercept = (url) => (url.pathname.endsWith("/replay") ? Response.json({}, { status: 500 }) : null);
  commits(server, 1);
  await time.advance(5);
  void store.close();
  await time.advance(10_000);
  assert.equal(replays(server).length, 1);
});

test("R62, R63: another history is told as a reset, and the old view is gone", async () => {
  const { time, store, server } = world();
  const { resets } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 3);
  await time.advance(20);
  server.replaceHistory("epoch-2");
  server.commit("bob", "GRAFT", { after: "PM", agentName: "new" });
  server.cut();
  await time.advance(1_000);
  assert.deepEqual(
    store.events().map((event) => event.data.agentName),
    ["new"],
  );
  const [{ events, ...reset }] = resets;
  assert.deepEqual(reset, { reason: "epoch_changed", epoch: "epoch-2", sequenceNumber: 1 });
  assert.equal(events.length, 1);
});

test("R62: being away for so long that the history was trimmed is a reset, not silence", async () => {
  const { time, store, server } = world();
  const { resets } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 1);
  await time.advance(20);
  server.cut();
  commits(server, 5);
  server.trim(4);
  await time.advance(1_000);
  assert.equal(resets[0]?.reason, "trimmed");
  assert.deepEqual(numbers(store.events()), [1, 2, 3, 4, 5, 6]);
});

test("R63: a server that resumes another history than asked is not believed", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(20);
  server.welcome = (welcome) => ({ ...welcome, epoch: "other" });
  server.cut();
  await time.advance(400);
  assert.equal(store.problem()?.code, "not_collabd");
});

test("R40: an ACK that overtakes its event moves nothing", async () => {
  const { time, store, server } = world();
  const { events } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  unheard(server, () => commits(server, 1));
  store.sendFlag("PM", "mine");
  await time.advance(20);
  assert.deepEqual(numbers(events), [1, 2]);
});

test("R83: active users are those that WELCOME names, with who came and without who went", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(20);
  assert.deepEqual(store.activeUsers(), ["ann"]);
  server.tell({ eventType: "USER_JOIN", userId: "bob", data: { userId: "bob", activeUserCount: 2 } });
  server.tell({ eventType: "USER_JOIN", userId: "cai", data: { userId: "cai", activeUsers: ["ann", "bob", "cai"] } });
  await time.advance(20);
  assert.deepEqual(store.activeUsers(), ["ann", "bob", "cai"]);
  server.tell({ eventType: "USER_LEAVE", userId: "bob", data: { userId: "bob", reason: "left" } });
  await time.advance(20);
  assert.deepEqual(store.activeUsers(), ["ann", "cai"]);
});

test("R84: cursor positions are the last move of each present user, and no part of the history", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(20);
  for (const nodeId of ["PM", "TESTER"]) server.tell({ eventType: "CURSOR_MOVE", userId: "bob", data: { nodeId } });
  await time.advance(20);
  assert.deepEqual(store.cursorPositions(), { bob: { nodeId: "TESTER" } });
  assert.deepEqual(store.events(), []);
  server.tell({ eventType: "USER_LEAVE", userId: "bob", data: { userId: "bob", activeUsers: ["ann"] } });
  await time.advance(20);
  assert.deepEqual(store.cursorPositions(), {});
});

test("R85: cursor moves go out at most twenty times a second, and the latest wins", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(20);
  for (let nth = 1; nth <= 100; nth += 1) {
    store.sendCursorMove(`n${nth}`);
    await time.advance(5);
  }
  await time.advance(100);
  const moves = server.received.filter((frame) => frame.eventType === "CURSOR_MOVE").map((frame) => frame.data.nodeId);
  assert.ok(moves.length >= 9 && moves.length <= 12, String(moves.length));
  assert.equal(moves[0], "n1");
  assert.equal(moves.at(-1), "n100");
});

test("R85: what a cursor tells besides its place goes with it", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(20);
  store.sendCursorMove("PM", { color: "violet" });
  await time.advance(20);
  const moves = server.received.filter((frame) => frame.eventType === "CURSOR_MOVE");
  assert.deepEqual(moves, [{ eventType: "CURSOR_MOVE", data: { color: "violet", nodeId: "PM" } }]);
});

test("R85: while there is no connection only the latest cursor move is kept", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  store.sendCursorMove("old");
  store.sendCursorMove("new");
  await time.advance(200);
  const moves = server.received.filter((frame) => frame.eventType === "CURSOR_MOVE");
  assert.deepEqual(moves, [{ eventType: "CURSOR_MOVE", data: { nodeId: "new" } }]);
});

test("R82: health is reported after the first PONG and every thirty seconds", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(65_000);
  const reports = server.received.filter((frame) => frame.eventType === "CLIENT_HEALTH").map((frame) => frame.data);
  const expected = {
    latencyMs: 2,
    queuedMessages: 0,
    reconnectionCount: 0,
    usingFallback: false,
    transport: "websocket",
  };
  assert.deepEqual(reports, [expected, expected, expected]);
});

test("a listener that throws stops neither the others nor the client", async () => {
  const { time, store, server } = world();
  store.onEvent(() => {
    throw new Error("the application's own");
  });
  const { events } = record(store);
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 1);
  await time.settle();
  await assert.rejects(() => time.advance(10), /the application's own/);
  commits(server, 1);
  await assert.rejects(() => time.advance(10));
  assert.deepEqual(numbers(events), [1, 2]);
});

test("a subscriber that throws stops neither the others nor the client", async () => {
  const { time, store, server } = world();
  let others = 0;
  for (const value of [store.events, store.activeUsers, store.connectionHealth, store.ownMessages, store.problem]) {
    /** @type {any} */ (value).subscribe(() => {
      throw new Error("the application's own");
    });
    /** @type {any} */ (value).subscribe(() => void (others += 1));
  }
  /** @type {string[]} */
  const reported = [];
  const advance = async (/** @type {number} */ ms) => {
    const end = time.now() + ms;
    while (time.now() < end) await time.advance(end - time.now()).catch((problem) => reported.push(problem.message));
  };
  store.connectToRun(RUN);
  const sent = store.sendFlag("PM", "note");
  sent.state.subscribe(() => {
    throw new Error("the application's own");
  });
  await advance(100);
  assert.equal((await sent).sequenceNumber, 1);
  assert.deepEqual(numbers([...store.events()]), [1]);
  assert.ok(others > 8, String(others));
  assert.deepEqual([...new Set(reported)], ["the application's own"]);
  server.cut();
  await advance(1_000);
  assert.equal(store.connectionState(), "live");
});

test("values can be subscribed to, and say nothing when nothing changed", async () => {
  const { time, store, server } = world();
  /** @type {any[]} */
  const seen = [];
  const stop = store.activeUsers.subscribe((users) => seen.push(users));
  store.connectToRun(RUN);
  await time.advance(20);
  commits(server, 3);
  await time.advance(20);
  assert.deepEqual(seen, [[], ["ann"]]);
  stop();
  server.tell({ eventType: "USER_JOIN", userId: "bob", data: { userId: "bob" } });
  await time.advance(20);
  assert.equal(seen.length, 2);
});
