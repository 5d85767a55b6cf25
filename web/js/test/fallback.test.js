/** Polling while no WebSocket passes (docs/client-behaviour.md, R70 to R78, R82, R85). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { numbers, RUN, world } from "./support/world.js";

/** @param {Partial<import("../client.js").ClientOptions>} [options] */
function behindAProxy(options = {}) {
  const made = world({ maxReconnectAttempts: 1, ...options });
  made.server.noWebSocket = true;
  return made;
}

/** @param {any} server @param {string} route */
const asked = (server, route) =>
  server.requests.filter(
    (/** @type {any} */ { url }) => url.pathname.endsWith(route) && url.searchParams.get("limit") !== "1",
  );

test("R70, R72: polling goes on from the same position, every two seconds, and hands the same events on", async () => {
  const { time, store, server } = behindAProxy();
  server.noWebSocket = false;
  store.connectToRun(RUN);
  server.commit("bob", "FLAG", { stepId: "PM", note: "before" });
  await time.advance(6_000);
  server.noWebSocket = true;
  server.cut();
  await time.advance(1_000);
  server.commit("bob", "FLAG", { stepId: "PM", note: "while polling" });
  await time.advance(4_100);
  assert.equal(store.usingFallback(), true);
  assert.deepEqual(numbers(store.events()), [1, 2]);
  const polls = asked(server, "/poll");
  assert.ok(polls.length === 3, String(polls.length));
  const query = Object.fromEntries(polls[0].url.searchParams);
  assert.deepEqual(query, {
    userId: "ann",
    sessionId: "session-1",
    afterSequence: "1",
    epoch: "epoch-1",
    limit: "1000",
  });
});

test("R71: the way back loses nothing and doubles nothing", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  const sent = [];
  for (let nth = 0; nth < 60; nth += 1) {
    if (nth === 30) server.noWebSocket = false;
    server.commit("bob", "FLAG", { stepId: "PM", note: `b${nth}` });
    sent.push(store.sendFlag("PM", `a${nth}`));
    await time.advance(500);
  }
  await time.advance(5_000);
  assert.equal(store.usingFallback(), false);
  assert.equal(store.connectionHealth().transport, "websocket");
  assert.deepEqual(
    numbers(store.events()),
    Array.from({ length: 120 }, (_, index) => index + 1),
  );
  const own = server.events.filter((event) => event.userId === "ann").map((event) => event.data.note);
  assert.deepEqual(
    own,
    Array.from({ length: 60 }, (_, index) => `a${index}`),
  );
  assert.ok((await Promise.all(sent)).every(({ duplicate }) => !duplicate));
});

test("R72: more than one page is asked for at once", async () => {
  const { time, store, server } = behindAProxy();
  for (let nth = 0; nth < 2_500; nth += 1) server.commit("bob", "FLAG", { stepId: "PM", note: "" });
  store.connectToRun(RUN);
  await time.advance(1_000);
  assert.equal(store.events().length, 2_500);
  assert.equal(asked(server, "/poll").length, 3);
});

test("R72: the server paces the polls", async () => {
  const { time, store, server } = behindAProxy();
  server.intercept = (url) => {
    if (!url.pathname.endsWith("/poll") || url.searchParams.get("limit") === "1") return null;
    const { recovered } = server.resume(url);
    const page = {
      sessionId: "s",
      epoch: server.epoch,
      sequenceNumber: 0,
      oldestSequence: 1,
      events: [],
      hasMore: false,
    };
    return Response.json({ ...page, recovered, runState: [], nextPollMs: 7_000 });
  };
  store.connectToRun(RUN);
  await time.advance(15_000);
  assert.equal(asked(server, "/poll").length, 3);
});

test("R73: polls that fail are repeated with growing waits and named, and polling goes on", async () => {
  const { time, store, server } = behindAProxy({ environment: { random: () => 0.999 } });
  store.connectToRun(RUN);
  await time.advance(3_000);
  server.down = true;
  const before = asked(server, "/poll").length;
  await time.advance(30_000);
  const tries = asked(server, "/poll").length - before;
  assert.ok(tries >= 5 && tries <= 9, String(tries));
  assert.equal(store.problem()?.code, "unreachable");
  server.down = false;
  await time.advance(11_000);
  assert.equal(store.problem(), null);
});

test("R81: a server that answers no poll either is disconnected, not polling", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  await time.advance(3_000);
  assert.equal(store.connectionHealth().status, "polling");
  server.down = true;
  await time.advance(10_000);
  const { status, transport, usingFallback } = store.connectionHealth();
  assert.deepEqual({ status, transport, usingFallback }, { status: "disconnected", transport: "none", usingFallback: true });
  server.down = false;
  await time.advance(11_000);
  assert.equal(store.connectionHealth().status, "polling");

  const never = world();
  never.server.down = true;
  /** @type {string[]} */
  const told = [];
  never.store.connectionHealth.subscribe((health) => told.push(health.status));
  never.store.connectToRun(RUN);
  await never.time.advance(60_000);
  assert.equal(never.store.usingFallback(), true);
  assert.deepEqual([...new Set(told)], ["disconnected"]);
});

test("R74: a poll's answer says who is there", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  server.live.add({ sessionId: "x", userId: "bob", socket: /** @type {any} */ ({ deliver() {} }) });
  await time.advance(3_000);
  assert.deepEqual(store.activeUsers(), ["bob"]);
});

test("R75: a poll of another history is a reset", async () => {
  const { time, store, server } = behindAProxy();
  /** @type {any[]} */
  const resets = [];
  store.onReset((reset) => resets.push(reset));
  server.commit("bob", "FLAG", { stepId: "PM", note: "old" });
  store.connectToRun(RUN);
  await time.advance(1_000);
  server.replaceHistory("epoch-2");
  server.commit("bob", "FLAG", { stepId: "PM", note: "new" });
  await time.advance(3_000);
  assert.deepEqual(
    store.events().map((event) => event.data.note),
    ["new"],
  );
  assert.deepEqual(
    resets.map(({ reason, sequenceNumber }) => [reason, sequenceNumber]),
    [["epoch_changed", 1]],
  );
});

test("R75: a run that was empty is followed from its start, without a reset", async () => {
  const { time, store, server } = behindAProxy();
  let resets = 0;
  store.onReset(() => (resets += 1));
  store.connectToRun(RUN);
  await time.advance(3_000);
  for (let nth = 0; nth < 3; nth += 1) server.commit("bob", "FLAG", { stepId: "PM", note: "" });
  await time.advance(3_000);
  assert.deepEqual(numbers(store.events()), [1, 2, 3]);
  assert.equal(resets, 0);
});

test("R76: messages go out by POST at once, a hundred at most in one, one POST at a time", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  await time.advance(1_000);
  for (let nth = 1; nth <= 250; nth += 1) store.sendFlag("PM", `n${nth}`);
  await time.advance(50);
  assert.equal(server.head, 250);
  const sizes = asked(server, "/events").map((/** @type {any} */ { init }) => JSON.parse(init.body).events?.length);
  assert.ok(
    sizes.every((/** @type {any} */ size) => size === undefined || size <= 100),
    String(sizes),
  );
  assert.equal(server.events[249].data.note, "n250");
});

test("R76: one POST carries at most half a megabyte", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  await time.advance(1_000);
  for (let nth = 1; nth <= 20; nth += 1) store.sendFlag("PM", "x".repeat(60_000));
  await time.advance(50);
  assert.equal(server.head, 20);
  const bodies = asked(server, "/events").map((/** @type {any} */ { init }) => init.body.length);
  assert.ok(Math.max(...bodies) <= 524_288 + 100, String(bodies));
});

test("R76, R18: what a publish refuses for now goes again with the rest, in order, and only the refused one is counted", async () => {
  const { time, store, server } = behindAProxy();
  let refusals = 0;
  server.refuse = ({ data }) =>
    data.note === "n2" && refusals++ < 2 ? { code: "internal_error", retryable: true } : undefined;
  store.connectToRun(RUN);
  await time.advance(1_000);
  const sent = [1, 2, 3].map((nth) => store.sendFlag("PM", `n${nth}`));
  await time.advance(5_000);
  await Promise.all(sent);
  assert.deepEqual(
    server.events.map((event) => event.data.note),
    ["n1", "n2", "n3"],
  );
});

test("R18: a publish that refuses a message for the third time rejects it and goes on with the rest", async () => {
  const { time, store, server } = behindAProxy();
  server.refuse = ({ data }) => (data.note === "n2" ? { code: "internal_error", retryable: true } : undefined);
  store.connectToRun(RUN);
  await time.advance(1_000);
  const [, two, three] = [1, 2, 3].map((nth) => store.sendFlag("PM", `n${nth}`));
  await time.advance(10_000);
  await assert.rejects(async () => two, { reason: "internal_error" });
  assert.equal((await three)?.sequenceNumber, 2);
});

test("R77: a POST whose answer was lost is sent again, and each message is there once", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  await time.advance(1_000);
  let lose = true;
  const { fetch } = server;
  server.intercept = (url, init) => {
    if (!lose || !url.pathname.endsWith("/events") || !init.body.includes('"FLAG"')) return null;
    lose = false;
    void fetch(url.href, init);
    throw new TypeError("the answer is lost");
  };
  const sent = [1, 2, 3].map((nth) => store.sendFlag("PM", `n${nth}`));
  await time.advance(3_000);
  const ends = await Promise.all(sent);
  assert.deepEqual(
    ends.map(({ duplicate }) => duplicate),
    [true, false, false],
  );
  assert.deepEqual(
    server.events.map((event) => event.data.note),
    ["n1", "n2", "n3"],
  );
});

test("R78: a batch that is refused as a whole is taken apart until the culprit stands alone", async () => {
  const { time, store, server } = behindAProxy();
  server.intercept = (url, init) => {
    if (!url.pathname.endsWith("/events") || !init.body.includes("bad")) return null;
    return Response.json({ code: "invalid_json", message: "bad" }, { status: 400 });
  };
  store.connectToRun(RUN);
  await time.advance(1_000);
  const [one, bad, three] = ["n1", "bad", "n3"].map((note) => store.sendFlag("PM", note));
  await time.advance(3_000);
  await assert.rejects(async () => bad, { reason: "invalid_json" });
  assert.equal((await one)?.sequenceNumber, 1);
  assert.equal((await three)?.sequenceNumber, 2);
});

test("R78: 413 halves the batch", async () => {
  const { time, store, server } = behindAProxy();
  server.intercept = (url, init) => {
    if (!url.pathname.endsWith("/events") || (JSON.parse(init.body).events?.length ?? 0) <= 2) return null;
    return Response.json({ code: "message_too_big", message: "too much" }, { status: 413 });
  };
  store.connectToRun(RUN);
  await time.advance(1_000);
  const sent = Array.from({ length: 9 }, (_, nth) => store.sendFlag("PM", `n${nth}`));
  await time.advance(5_000);
  await Promise.all(sent);
  assert.equal(server.head, 9);
});

test("R78: a run that is gone ends the polling", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  await time.advance(1_000);
  server.intercept = () => Response.json({ code: "run_not_found", message: "gone" }, { status: 404 });
  await time.advance(3_000);
  assert.equal(store.connectionState(), "closed");
  assert.equal(store.problem()?.code, "refused");
});

test("R82, R85: while polling, health and the latest cursor are posted alone", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  store.sendCursorMove("old");
  store.sendCursorMove("new");
  await time.advance(3_000);
  const cursors = server.received.filter((frame) => frame.eventType === "CURSOR_MOVE");
  assert.deepEqual(cursors, [{ eventType: "CURSOR_MOVE", data: { nodeId: "new" } }]);
  const health = server.received.filter((frame) => frame.eventType === "CLIENT_HEALTH");
  assert.equal(health.length, 1);
  assert.equal(health[0].data.transport, "polling");
  assert.equal(health[0].data.usingFallback, true);
});

test("R71: a POST in flight is answered before sending goes over the WebSocket, so that nothing goes twice", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  await time.advance(1_000);
  const { fetch } = server;
  store.env.fetch = async (url, init) => {
    if (url.includes("/events") && String(init.body).includes('"WAVE"')) {
      await new Promise((resolve) => time.setTimeout(() => resolve(undefined), 8_000));
    }
    return fetch(url, init);
  };
  server.noWebSocket = false;
  const sent = store.send("WAVE", 1);
  await time.advance(5_000);
  assert.equal(store.connectionHealth().transport, "websocket");
  await time.advance(10_000);
  assert.equal((await sent).sequenceNumber, null);
  assert.equal(server.received.filter((frame) => frame.eventType === "WAVE").length, 1);
});

test("R67: a poll that was asked before a WELCOME came is thrown away", async () => {
  const { time, store, server } = behindAProxy();
  store.connectToRun(RUN);
  await time.advance(1_000);
  server.intercept = async (url) => {
    if (url.searchParams.get("limit") === "1000")
      await new Promise((resolve) => time.setTimeout(() => resolve(undefined), 9_000));
    return null;
  };
  await time.advance(2_000);
  server.noWebSocket = false;
  await time.advance(6_000);
  assert.equal(store.connectionHealth().transport, "websocket");
  await time.advance(9_000);
  assert.equal(store.connectionHealth().transport, "websocket");
});

test("R67: a socket that asked before a poll began the history is made again", async () => {
  const { time, store, server } = behindAProxy();
  let resets = 0;
  store.onReset(() => (resets += 1));
  server.commit("bob", "FLAG", { stepId: "PM", note: "" });
  server.down = true;
  store.connectToRun(RUN);
  await time.advance(100);
  Object.assign(server, { down: false, noWebSocket: false, welcomeDelayMs: 4_000 });
  await time.advance(12_000);
  server.welcomeDelayMs = 0;
  await time.advance(12_000);
  assert.equal(store.connectionHealth().transport, "websocket");
  assert.deepEqual(numbers(store.events()), [1]);
  assert.equal(resets, 0);
});
