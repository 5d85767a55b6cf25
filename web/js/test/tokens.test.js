/** Tokens (docs/client-behaviour.md, R50 to R52). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeServer } from "./support/fake_server.js";
import { VirtualTime } from "./support/virtual_time.js";
import { RUN, world } from "./support/world.js";

/** @param {number} exp seconds since 1970 @param {string} [mark] */
function jwt(exp, mark = "") {
  const part = (/** @type {any} */ value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part({ sub: "ann", exp, mark })}.c2ln`;
}

/** A function that supplies t1, t2, … */
function supply() {
  let asked = 0;
  return () => `t${++asked}`;
}

test("R50: a token goes as the second subprotocol, and as a header by HTTP", async () => {
  const { time, store, server } = world({ token: "secret" });
  store.connectToRun(RUN);
  await time.advance(50);
  assert.deepEqual(server.protocols[0], ["collabd.v1", "bearer.secret"]);
  assert.equal(server.requests[0]?.init.headers.Authorization, "Bearer secret");
});

test("R51: after 4401 the function is asked again", async () => {
  const { time, store, server } = world({ token: supply() });
  store.connectToRun(RUN);
  await time.advance(50);
  server.cut(4401);
  await time.advance(600);
  assert.deepEqual(
    server.protocols.map(([, token]) => token),
    ["bearer.t1", "bearer.t2"],
  );
  assert.equal(store.connectionState(), "live");
  assert.equal(store.usingFallback(), false);
});

test("R51: a fresh token that is refused as well ends it", async () => {
  const { time, store, server } = world({ token: supply() });
  server.noWebSocket = true;
  server.intercept = () => Response.json({ code: "unauthorized", message: "who are you?" }, { status: 401 });
  const joined = store.connectToRun(RUN);
  await time.advance(5_000);
  await assert.rejects(joined, { code: "unauthorized" });
  assert.equal(server.dials.length, 2);
});

test("R51: a token that is no function and is refused ends it at once", async () => {
  const { time, store, server } = world({ token: "fixed" });
  store.connectToRun(RUN);
  await time.advance(50);
  server.cut(4401);
  await time.advance(5_000);
  assert.equal(store.problem()?.code, "unauthorized");
  assert.equal(server.dials.length, 1);
});

test("R51: a function that fails is a named problem, and is asked again", async () => {
  let fails = true;
  const token = async () => {
    if (fails) throw new Error("signed out");
    return "t1";
  };
  const { time, store } = world({ token });
  store.connectToRun(RUN);
  await time.advance(50);
  assert.equal(store.problem()?.code, "no_token");
  fails = false;
  await time.advance(2_000);
  assert.equal(store.connectionState(), "live");
});

test("R51: a function that never answers is a named problem, is not asked again, and its late answer counts", async () => {
  let asked = 0;
  /** @type {(token: string) => void} */
  let answer = () => {};
  const token = () => {
    asked += 1;
    return /** @type {Promise<string>} */ (new Promise((resolve) => (answer = resolve)));
  };
  const { time, store, server } = world({ token });
  store.connectToRun(RUN);
  await time.advance(29_000);
  assert.equal(store.problem(), null);
  await time.advance(120_000);
  assert.equal(store.problem()?.code, "no_token");
  assert.equal(asked, 1);
  assert.deepEqual(server.dials, []);
  answer("late");
  await time.advance(30_000);
  assert.equal(store.connectionState(), "live");
  assert.deepEqual(server.protocols.at(-1), ["collabd.v1", "bearer.late"]);

  const hasty = world({ token: () => new Promise(() => {}) });
  const joined = hasty.store.connectToRun(RUN, { failFast: true });
  await hasty.time.advance(31_000);
  await assert.rejects(joined, { code: "no_token" });
});

test("R51: two requests that are refused with the same token ask for one fresh one", async () => {
  let current = "t1";
  const { time, store, server } = world({ token: () => current, maxReconnectAttempts: 1 });
  server.noWebSocket = true;
  server.intercept = (_url, init) =>
    init.headers.Authorization === `Bearer ${current}`
      ? null
      : Response.json({ code: "unauthorized", message: "old" }, { status: 401 });
  store.connectToRun(RUN);
  await time.advance(3_000);
  current = "t2";
  const sent = store.sendFlag("PM", "with the new one");
  await time.advance(5_000);
  assert.equal(sent.state().state, "committed");
  assert.equal(store.connectionState(), "polling");
});

test("R52: a function that fails at a renewal costs no connection, and is asked again", async () => {
  const time = new VirtualTime();
  const server = new FakeServer(time);
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked > 1 && asked < 4) throw new Error("signed out");
    return jwt(Math.floor(server.wall() / 1000) + (asked === 1 ? 100 : 600), String(asked));
  };
  const { store } = world({ time, server, token });
  store.connectToRun(RUN);
  await time.advance(82_000);
  assert.equal(store.problem()?.code, "no_token");
  assert.equal(store.connectionState(), "live");
  await time.advance(12_000);
  assert.equal(store.problem(), null);
  assert.equal(asked, 4);
  assert.equal(server.received.filter((frame) => frame.eventType === "AUTH").length, 1);
  assert.equal(server.dials.length, 1);
});

test("R52: a known token is used on while the function fails, until it is refused", async () => {
  const time = new VirtualTime();
  const server = new FakeServer(time);
  let asked = 0;
  const known = jwt(Math.floor(server.wall() / 1000) + 100, "known");
  const token = () => {
    if (++asked > 1) throw new Error("signed out");
    return known;
  };
  const { store } = world({ time, server, token });
  store.connectToRun(RUN);
  await time.advance(85_000);
  server.cut(1006);
  await time.advance(5_000);
  assert.equal(store.connectionState(), "live");
  assert.deepEqual(server.protocols.at(-1), ["collabd.v1", `bearer.${known}`]);
  server.cut(4401);
  await time.advance(5_000);
  assert.equal(store.problem()?.code, "no_token");
  assert.notEqual(store.connectionState(), "live");
});

test("R52: a token that is about to expire is renewed over the connection, by the server's clock", async () => {
  const time = new VirtualTime();
  const server = new FakeServer(time);
  server.clockAheadMs = 3_600_000;
  let asked = 0;
  const token = () => jwt(Math.floor(server.wall() / 1000) + 600, String(++asked));
  const { store } = world({ time, server, token });
  store.connectToRun(RUN);
  await time.advance(530_000);
  assert.equal(asked, 1);
  // A clock that is set right meanwhile changes nothing: PONG tells the server's time too.
  time.wallOffset += 1_800_000;
  server.clockAheadMs -= 1_800_000;
  await time.advance(20_000);
  assert.equal(asked, 2);
  const auths = server.received.filter((frame) => frame.eventType === "AUTH");
  assert.equal(auths.length, 1);
  assert.equal(server.dials.length, 1);
});
