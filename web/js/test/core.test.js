/** The pure parts, where the whole client is too far away to show a rule well. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "../core/answers.js";
import { backoffMs } from "../core/backoff.js";
import { healthOf } from "../core/health.js";
import { canonicalServerUrl, dataText } from "../core/message.js";
import { Outbox } from "../core/outbox.js";
import { presenceAfter, wholePresence } from "../core/presence.js";
import { Timeline } from "../core/timeline.js";
import { renewalDue, tokenExpiry } from "../core/token.js";
import { MessageLog } from "../shell/message_log.js";
import { Tokens } from "../shell/tokens.js";

test("data goes out exactly as JSON says it, brackets inside of text included", () => {
  const data = { 'a"]}': ["[[{", "\\", "ü 😀", -0.5, true, null], date: new Date(0) };
  assert.deepEqual(JSON.parse(dataText(data)), JSON.parse(JSON.stringify(data)));
  assert.equal(dataText(undefined), "null");
  assert.equal(dataText("[".repeat(100)), JSON.stringify("[".repeat(100)));
});

test("R19, R24: no wait is longer than its cap, however many failures there were", () => {
  for (const failures of [1, 2, 10, 1_000]) {
    const wait = backoffMs(failures, { base: 500, cap: 10_000 }, () => 0.9999);
    assert.ok(wait <= 10_000 && wait >= 499, String(wait));
  }
});

test("a server's address keeps its path and loses what does not belong to it", () => {
  assert.equal(canonicalServerUrl("wss://h:8443/a/b//"), "https://h:8443/a/b");
  assert.equal(canonicalServerUrl("http://h"), "http://h");
});

test("R44: a status says what to do only together with a code", () => {
  const kinds = (
    /** @type {number} */ status,
    /** @type {any} */ body,
    retryAfterMs = /** @type {number | null} */ (null),
  ) => {
    const { kind, failure } = judge({ status, body, retryAfterMs }, () => true);
    return `${kind} ${failure}`;
  };
  const body = { code: "c" };
  assert.equal(kinds(200, {}), "ok true");
  assert.equal(kinds(400, body), "refused true");
  assert.equal(kinds(401, body), "token false");
  assert.equal(kinds(403, undefined), "not_collabd true");
  assert.equal(kinds(429, body), "later false");
  assert.equal(kinds(503, body, 2_000), "later false");
  assert.equal(kinds(503, body), "later true");
  assert.equal(kinds(502, undefined), "not_collabd true");
  assert.equal(kinds(500, body), "fault true");
  assert.equal(kinds(0, undefined), "unreachable true");
});

test("R52: renewal is due a minute before the end, or earlier for what lives shortly", () => {
  assert.equal(renewalDue(1_000_000, 0), 940_000);
  assert.equal(renewalDue(100_000, 0), 80_000);
  assert.equal(renewalDue(null, 0), Infinity);
});

test("R52: a token that is no JWT has no known end", () => {
  assert.equal(tokenExpiry("opaque"), null);
  assert.equal(tokenExpiry("a.b.c"), null);
  assert.equal(tokenExpiry(`a.${btoa('{"exp":"soon"}')}.c`), null);
  assert.equal(tokenExpiry(`a.${btoa('{"exp":12}')}.c`), 12_000);
});

test("R81: healthy is a quick WebSocket that delivers", () => {
  const good = /** @type {const} */ ({
    latency: 40,
    welcomes: 1,
    committed: 95,
    rejected: 5,
    queuedMessages: 0,
    transport: "websocket",
    usingFallback: false,
    storage: "durable",
  });
  assert.deepEqual([healthOf(good).isHealthy, healthOf(good).status], [true, "connected"]);
  assert.equal(healthOf({ ...good, welcomes: 3 }).status, "reconnected");
  assert.equal(healthOf({ ...good, latency: 1_001 }).isHealthy, false);
  assert.equal(healthOf({ ...good, rejected: 6 }).isHealthy, false);
  assert.equal(healthOf({ ...good, transport: "none" }).status, "disconnected");
  assert.equal(healthOf({ ...good, transport: "polling", usingFallback: true }).status, "polling");
});

test("R83: presence that says the same is the same object, and a user may have any name", () => {
  const before = wholePresence({ users: [], cursors: {} }, { activeUsers: ["ann"], cursorPositions: {} });
  assert.equal(wholePresence(before, { activeUsers: ["ann"], cursorPositions: {} }), before);
  const event = {
    eventType: "CURSOR_MOVE",
    userId: "__proto__",
    timestamp: 0,
    data: { nodeId: "PM" },
    isCritical: false,
  };
  const after = presenceAfter(before, event);
  assert.deepEqual(Object.keys(after.cursors), ["__proto__"]);
  assert.deepEqual(
    Object.keys(presenceAfter(after, { ...event, eventType: "USER_LEAVE", data: { userId: "__proto__" } }).cursors),
    [],
  );
});

/** @param {...string} ids */
function outboxOf(...ids) {
  const outbox = new Outbox({ retryLimit: () => 3 });
  outbox.add(ids.map((id) => ({ clientMessageId: id, text: "{}", bytes: 2, attempts: 0, state: "queued", sentAt: 0 })));
  return outbox;
}

const WIRE = { batch: false };
/** @param {string} id @param {string} code */
const retryable = (id, code) => ({ code, message: "", clientMessageId: id, retryable: true, retryAfterMs: 0 });

test("R17: an older message refused after a later one needs a new connection, since the server waits for the later", () => {
  const outbox = outboxOf("a", "b");
  outbox.take(0, WIRE);
  assert.equal(outbox.refused(retryable("b", "rate_limited"), 0, () => 0, WIRE).drop, false);
  assert.equal(outbox.refused(retryable("a", "storage_unavailable"), 0, () => 0, WIRE).drop, true);
});

test("R17: answers to sendings from before the refusal change nothing", () => {
  const outbox = outboxOf("a", "b");
  outbox.take(0, WIRE);
  outbox.refused(retryable("a", "internal_error"), 0, () => 0, WIRE);
  outbox.refused(retryable("b", "internal_error"), 0, () => 0, WIRE);
  assert.deepEqual(
    outbox.entries.map((entry) => entry.attempts),
    [1, 0],
  );
  assert.deepEqual(
    outbox.take(1, WIRE).map((entry) => entry.clientMessageId),
    ["a"],
  );
});

test("R31: adopted messages go before what is not on its way yet, and after a refused one that has to come first", () => {
  const outbox = outboxOf("a", "b");
  outbox.take(0, WIRE);
  outbox.refused(retryable("a", "internal_error"), 0, () => 0, WIRE);
  outbox.addBefore([{ clientMessageId: "x", text: "{}", bytes: 2, attempts: 0, state: "queued", sentAt: 0 }]);
  assert.deepEqual(
    outbox.entries.map((entry) => entry.clientMessageId),
    ["a", "x", "b"],
  );
});

test("R76: while one POST is on its way there is no other", () => {
  const outbox = outboxOf("a", "b");
  assert.equal(outbox.take(0, { batch: true }).length, 2);
  outbox.add([{ clientMessageId: "c", text: "{}", bytes: 2, attempts: 0, state: "queued", sentAt: 0 }]);
  assert.deepEqual(outbox.take(1, { batch: true }), []);
});

test("R67: a poll's answer about a history that the client has left says nothing", () => {
  const timeline = new Timeline();
  const asked = { epoch: "old", sequence: 3 };
  timeline.position = { epoch: "new", sequence: 1 };
  timeline.joinedBefore = true;
  const answer = {
    epoch: "older",
    sequenceNumber: 9,
    oldestSequence: 1,
    events: [],
    recovered: false,
    hasMore: false,
    sessionId: null,
  };
  assert.equal(timeline.polled(answer, asked).began, null);
  assert.deepEqual(timeline.position, { epoch: "new", sequence: 1 });
});

test("R51: a refusal of a token that is no longer the one in use asks for nothing", async () => {
  let asked = 0;
  const env = /** @type {any} */ ({ wall: () => 0, setTimeout: () => 0, clearTimeout: () => {} });
  const tokens = new Tokens(env, () => `t${++asked}`);
  assert.equal(await tokens.current(), "t1");
  assert.equal(tokens.refused("t1"), true);
  assert.equal(await tokens.current(), "t2");
  assert.equal(tokens.refused("t1"), true);
  assert.equal(await tokens.current(), "t2");
  assert.equal(tokens.refused("t2"), false);
});

test("R12: a final state is final, whatever another tab says later", async () => {
  const log = new MessageLog(() => {});
  const sent = log.add("id", "FLAG", {});
  log.apply({ clientMessageId: "id", state: "committed", sequenceNumber: 7 });
  log.apply({ clientMessageId: "id", state: "rejected", code: "closed", message: "" });
  assert.equal((await sent).sequenceNumber, 7);
  assert.equal(log.list.value[0]?.state, "committed");
  assert.equal(log.rejected, 0);
});
