/** Connecting and coming back (docs/client-behaviour.md, R2, R24 to R29, R33 to R35, R41 to R45). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_LIMITS } from "../core/constants.js";
import { Connection } from "../shell/connection.js";
import { FakeServer } from "./support/fake_server.js";
import { VirtualTime } from "./support/virtual_time.js";
import { FakePage, numbers, RUN, world } from "./support/world.js";

/** @param {any} body @param {number} status @param {Record<string, string>} [headers] */
function answer(body, status, headers = {}) {
  return new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers });
}

test("a message that is sent before the connection stands is committed once it does", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  const sent = store.sendGraft("ARCHITECT", "security-scanner");
  await time.advance(100);
  assert.deepEqual(await sent, { clientMessageId: sent.clientMessageId, sequenceNumber: 1, duplicate: false });
  assert.deepEqual(
    store.events().map((event) => event.data),
    [{ after: "ARCHITECT", agentName: "security-scanner" }],
  );
  assert.equal(server.dials[0]?.pathname, `/ws/runs/${RUN}/collaboration`);
});

test("R41: the first dial names the user; a return names session, position and how many tries it took", async () => {
  const { time, store, server } = world({ url: "wss://collab.test/behind/" });
  store.connectToRun(RUN.toUpperCase());
  server.commit("bob", "FLAG", { stepId: "PM", note: "" });
  await time.advance(6_000);
  server.cut();
  server.down = true;
  await time.advance(300);
  server.down = false;
  await time.advance(5_000);
  const [first, ...returns] = server.dials.map((url) => Object.fromEntries(url.searchParams));
  assert.deepEqual(first, { userId: "ann" });
  assert.deepEqual(returns.at(-1), {
    userId: "ann",
    sessionId: "session-1",
    afterSequence: "1",
    epoch: "epoch-1",
    reconnectAttempt: String(returns.length),
  });
  assert.equal(server.dials[0]?.href.split("?")[0], `wss://collab.test/behind/ws/runs/${RUN}/collaboration`);
  assert.deepEqual(server.protocols[0], ["collabd.v1"]);
  assert.equal(store.connectionHealth().reconnectionCount, 1);
});

test("R24: waits between tries double up to their cap, and chance spreads each from nothing to its bound", async () => {
  const { time, store, server } = world({ maxReconnectAttempts: 99, environment: { random: () => 0.999 } });
  server.noWebSocket = true;
  store.connectToRun(RUN);
  await time.advance(50_000);
  const waits = server.dialTimes.map((at, index) => at - (server.dialTimes[index - 1] ?? at)).slice(1);
  const bounds = [500, 1000, 2000, 4000, 8000, 10_000, 10_000];
  bounds.forEach((bound, index) => {
    const wait = waits[index] ?? 0;
    assert.ok(wait > bound * 0.98 && wait <= bound + 20, `wait ${index + 1} was ${wait}`);
  });
});

test("R42: a socket that opens and stays mute is a failure after five seconds", async () => {
  const { time, store, server } = world();
  server.mute = true;
  store.connectToRun(RUN);
  await time.advance(4_990);
  assert.equal(server.dials.length, 1);
  await time.advance(600);
  assert.equal(server.dials.length, 2);
});

test("R25, R70, R71: sockets that die young lead to polling, and back when they live again", async () => {
  const { time, store, server } = world();
  server.cutAfterMs = 200;
  store.connectToRun(RUN);
  await time.advance(12_000);
  assert.equal(store.usingFallback(), true);
  assert.equal(store.connectionHealth().transport, "polling");
  server.cutAfterMs = Infinity;
  await time.advance(21_000);
  assert.equal(store.usingFallback(), false);
  assert.equal(store.connectionState(), "live");
});

test("R25: one failure after a stable connection does not lead to polling", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  for (let cut = 0; cut < 7; cut += 1) {
    await time.advance(6_000);
    assert.equal(store.connectionState(), "live");
    server.cut();
  }
  assert.equal(store.usingFallback(), false);
});

test("R25: a stable connection wipes the failures before it out", async () => {
  const { time, store, server } = world();
  store.usingFallback.subscribe((fallback) => assert.equal(fallback, false));
  store.connectToRun(RUN);
  for (let round = 0; round < 2; round += 1) {
    await time.advance(6_000);
    server.noWebSocket = true;
    server.cut();
    const tries = server.dials.length + 4;
    while (server.dials.length < tries) await time.advance(100);
    server.noWebSocket = false;
    await time.advance(10_000);
    assert.equal(store.connectionState(), "live");
  }
});

test("R26: a network that comes back ends the wait", async () => {
  const { time, store, server, page } = world();
  server.down = true;
  store.connectToRun(RUN);
  await time.advance(1_500);
  const tries = server.dials.length;
  server.down = false;
  page.becomes("online");
  await time.advance(10);
  assert.equal(server.dials.length, tries + 1);
  assert.equal(store.connectionState(), "live");
});

test("R26: coming back at once is still not before the time that the server told", async () => {
  const { time, store, server, page } = world();
  server.noWebSocket = true;
  server.intercept = () => answer({ code: "draining", message: "restarting" }, 503, { "Retry-After": "4" });
  store.connectToRun(RUN);
  await time.advance(100);
  server.noWebSocket = false;
  page.becomes("online");
  await time.advance(3_800);
  assert.equal(server.dials.length, 1);
  await time.advance(400);
  assert.equal(store.connectionState(), "live");
});

test("R27: hidden and offline nothing is tried; becoming visible ends that", async () => {
  const { time, store, server, page } = world();
  store.connectToRun(RUN);
  await time.advance(6_000);
  page.becomes("hidden");
  page.becomes("offline");
  server.down = true;
  server.cut();
  await time.advance(60_000);
  assert.equal(server.dials.length, 1);
  server.down = false;
  page.becomes("visible");
  await time.advance(10);
  assert.equal(store.connectionState(), "live");
});

test("R27: hidden alone does not keep the client away", async () => {
  const { time, store, server, page } = world();
  store.connectToRun(RUN);
  await time.advance(6_000);
  page.becomes("hidden");
  server.cut();
  await time.advance(1_000);
  assert.equal(store.connectionState(), "live");
});

const STAYS_AWAY = /** @type {const} */ ([
  [1000, "ended"],
  [4009, "replaced"],
  [4403, "refused"],
  [4404, "refused"],
]);
for (const [code, error] of STAYS_AWAY) {
  test(`R29: after ${code} the client stays away and says why`, async () => {
    const { time, store, server } = world();
    store.connectToRun(RUN);
    await time.advance(10);
    server.cut(code);
    await time.advance(60_000);
    assert.equal(server.dials.length, 1);
    assert.equal(store.connectionState(), "closed");
    assert.equal(store.problem()?.code, error);
    assert.throws(() => store.sendFlag("PM", "late"), { code: "closed" });
  });
}

test("R29: a connection that is replaced by an own try of before, which arrived late, comes back as a new session", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(6_000);
  // The handshake gets lost on its way for as long as the client waits, and is then repeated.
  server.mute = true;
  server.cut();
  await time.advance(5_300);
  server.mute = false;
  await time.advance(2_000);
  assert.equal(store.connectionState(), "live");
  server.cut(4009);
  await time.advance(600);
  assert.equal(store.connectionState(), "live");
  const sessions = server.dials.map((url) => url.searchParams.get("sessionId"));
  assert.equal(sessions.at(-2), "session-1");
  assert.equal(sessions.at(-1), null);
  assert.notEqual(server.dials.at(-1)?.searchParams.get("afterSequence"), null);
  server.cut(4009);
  await time.advance(60_000);
  assert.equal(store.problem()?.code, "replaced");
});

for (const code of [1001, 1002, 1005, 1006, 1008, 1011, 1012, 4000, 4008, 4500, 4999]) {
  test(`R29: after ${code} the client comes back`, async () => {
    const { time, store, server } = world();
    store.connectToRun(RUN);
    await time.advance(10);
    server.cut(code);
    await time.advance(600);
    assert.equal(store.connectionState(), "live");
    assert.equal(server.dials.length, 2);
  });
}

test("R29: after 4429 the client comes back no sooner than the last rate limit told", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  for (const { socket } of server.live) {
    socket.deliver({
      eventType: "ERROR",
      data: { code: "rate_limited", message: "", retryable: true, retryAfterMs: 3000 },
    });
  }
  await time.advance(10);
  server.cut(4429);
  await time.advance(2_900);
  assert.equal(server.dials.length, 1);
  await time.advance(400);
  assert.equal(server.dials.length, 2);
});

test("R33: after DRAIN nothing is sent, and the client is back when the server said", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  for (const { socket } of server.live) socket.deliver({ eventType: "DRAIN", data: { retryAfterMs: 2_000 } });
  await time.advance(5);
  store.sendFlag("PM", "while draining");
  await time.advance(100);
  assert.equal(server.head, 0);
  server.cut(1012);
  await time.advance(1_880);
  assert.equal(server.dials.length, 1);
  await time.advance(50);
  assert.equal(store.connectionState(), "live");
  assert.equal(server.head, 1);
});

test("R33: a server that drains and does not close is left after five seconds", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  for (const { socket } of server.live) socket.deliver({ eventType: "DRAIN", data: { retryAfterMs: 500 } });
  await time.advance(4_900);
  assert.equal(server.dials.length, 1);
  await time.advance(200);
  assert.equal(server.dials.length, 2);
});

test("R34: close() says goodbye with 1000, and nothing is tried or sent afterwards", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  const [session] = [...server.live];
  const closed = store.close();
  await time.advance(100);
  await closed;
  assert.equal(session?.socket.closedWith, 1000);
  await time.advance(60_000);
  assert.equal(server.dials.length, 1);
  assert.throws(() => store.sendGraft("PM", "x"), { code: "closed" });
  assert.throws(() => store.sendCursorMove("PM"), { code: "closed" });
});

test("R34: close() is done two seconds after a peer that says nothing", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10);
  for (const { socket } of server.live) socket.dead = true;
  let done = false;
  void store.close().then(() => (done = true));
  await time.advance(1_900);
  assert.equal(done, false);
  await time.advance(200);
  assert.equal(done, true);
});

test("R35: PING comes after the replay and then at each interval, with the position", async () => {
  const { time, store, server } = world();
  server.commit("bob", "FLAG", { stepId: "PM", note: "" });
  store.connectToRun(RUN);
  await time.advance(35_000);
  const pings = server.received.filter((frame) => frame.eventType === "PING");
  assert.equal(pings.length, 4);
  assert.ok(pings.every((ping) => ping.data.lastSequence === 1 && Number.isInteger(ping.data.sentAt)));
  assert.equal(store.connectionHealth().latency, 2);
});

test("R35: a socket that says nothing for two intervals is dropped, without waiting for a closing handshake", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10_500);
  for (const { socket } of server.live) socket.dead = true;
  await time.advance(19_000);
  assert.equal(server.dials.length, 1);
  await time.advance(3_000);
  assert.equal(server.dials.length, 2);
  assert.equal(store.connectionState(), "live");
});

test("R2: after sleep the client asks at once whether the socket lives, and leaves a dead one in five seconds", async () => {
  for (const steady of [true, false]) {
    const { time, store, server } = world();
    store.connectToRun(RUN);
    await time.advance(10_500);
    for (const { socket } of server.live) socket.dead = true;
    time.sleep(3_600_000, { steady });
    await time.advance(7_500);
    assert.equal(store.connectionState(), "live", `steady clock in sleep: ${steady}`);
    assert.equal(server.dials.length, 2);
  }
});

test("R2: a socket that lived through the sleep is kept", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  await time.advance(10_500);
  time.sleep(3_600_000);
  await time.advance(10_000);
  assert.equal(server.dials.length, 1);
  assert.equal(store.connectionState(), "live");
});

test("R1, R2: a wall clock that jumps costs one PING and nothing else", async () => {
  for (const jump of [3_600_000, -3_600_000]) {
    const { time, store, server } = world();
    store.connectToRun(RUN);
    await time.advance(10_500);
    const before = server.received.length;
    time.wallOffset += jump;
    await time.advance(5_000);
    const pings = server.received.slice(before).filter((frame) => frame.eventType === "PING");
    assert.equal(pings.length, jump > 0 ? 1 : 0);
    await time.advance(60_000);
    assert.equal(server.dials.length, 1);
    assert.equal(store.connectionHealth().latency, 2);
  }
});

test("R43, R44: a refusal that will not get better ends the tries and names its reason", async () => {
  const { time, store, server } = world();
  server.noWebSocket = true;
  server.intercept = () => answer({ code: "forbidden", message: "not your run" }, 403);
  const joined = store.connectToRun(RUN);
  await time.advance(60_000);
  await assert.rejects(joined, { code: "refused", reason: "forbidden" });
  assert.equal(server.dials.length, 1);
  const [asked] = server.requests;
  assert.equal(asked?.url.pathname, `/api/runs/${RUN}/collaboration/poll`);
  assert.deepEqual(Object.fromEntries(asked?.url.searchParams ?? []), { userId: "ann", limit: "1" });
});

test("R44: what is no collabd, and what does not answer, are named, and the client goes on trying", async () => {
  const { time, store, server } = world();
  server.noWebSocket = true;
  server.intercept = () => answer("<h1>It works!</h1>", 404);
  store.connectToRun(RUN);
  await time.advance(50);
  assert.equal(store.problem()?.code, "not_collabd");
  server.intercept = () => answer({ ok: true }, 200);
  await time.advance(2_000);
  assert.equal(store.problem()?.code, "not_collabd");
  server.down = true;
  await time.advance(10_000);
  assert.equal(store.problem()?.code, "unreachable");
  Object.assign(server, { down: false, noWebSocket: false, intercept: () => null });
  await time.advance(30_000);
  assert.equal(store.connectionState(), "live");
  assert.equal(store.problem(), null);
});

test("R45: a WELCOME that lacks what the rules need is a failure of the server", async () => {
  const { time, store, server } = world();
  server.welcome = ({ epoch: _missing, ...welcome }) => welcome;
  store.connectToRun(RUN);
  await time.advance(50);
  assert.equal(store.problem()?.code, "not_collabd");
});

test("failFast: the first problem ends it, for callers that would rather know", async () => {
  const { time, store, server } = world();
  server.down = true;
  const joined = store.connectToRun(RUN, { failFast: true });
  await time.advance(50);
  await assert.rejects(joined, { code: "unreachable" });
  await time.advance(60_000);
  assert.equal(server.dials.length, 1);
});

test("calls that cannot be right are refused where they are made", () => {
  assert.throws(() => world({ url: "ftp://collab.test" }), { code: "invalid_url" });
  assert.throws(() => world({ url: "collab.test" }), { code: "invalid_url" });
  assert.throws(() => world({ url: "http://collab.test/?run=1" }), { code: "invalid_url" });
  assert.throws(() => world({ userId: "" }), { code: "invalid_user_id" });
  assert.throws(() => world({ userId: "a\u0007" }), { code: "invalid_user_id" });
  assert.throws(() => world({ userId: "é".repeat(256) }), { code: "invalid_user_id" });
  assert.doesNotThrow(() => world({ userId: "😀".repeat(255) }));
  const { store } = world();
  assert.throws(() => store.connectToRun("run-1"), { code: "invalid_run_id" });
  assert.throws(() => store.sendGraft("PM", "x"), { code: "closed" });
});

test("going into another run leaves the first one, and shows only the second", async () => {
  const { time, store, server } = world();
  server.commit("bob", "FLAG", { stepId: "PM", note: "" });
  store.connectToRun(RUN);
  await time.advance(10);
  const [first] = [...server.live];
  const other = RUN.replace("1", "2");
  store.connectToRun(other);
  assert.deepEqual(store.events(), []);
  await time.advance(200);
  assert.equal(first?.socket.closedWith, 1000);
  assert.equal(store.runInfo().runId, other);
  assert.deepEqual(numbers(store.events()), [1]);
});

test("coming back while a token is still asked for makes one connection, not two", async () => {
  const time = new VirtualTime();
  const server = new FakeServer(time);
  const slow = () => new Promise((resolve) => time.setTimeout(() => resolve("t"), 1_000));
  const env = /** @type {any} */ ({ ...time, WebSocket: server.WebSocket, random: () => 0, page: new FakePage() });
  const url = `ws://collab.test/ws/runs/${RUN}/collaboration?userId=ann`;
  const target = {
    tokens: { current: slow, worked: () => {} },
    limits: () => DEFAULT_LIMITS,
    socket: () => ({ url }),
    hasSession: () => false,
  };
  const silent = new Proxy({}, { get: () => () => null });
  const connection = new Connection(env, /** @type {any} */ (target), /** @type {any} */ (silent));
  connection.start();
  await time.advance(500);
  connection.redial.told(time.now() + 3_000);
  connection.comeBackNow();
  await time.advance(2_900);
  assert.equal(server.dials.length, 0);
  await time.advance(5_000);
  assert.equal(server.dials.length, 1);
});
