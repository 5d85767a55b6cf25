/** Events, people, times and figures as text. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { momentSentence, momentWords, numberAt } from "../past.js";
import { isLive, runsOf } from "../sessions.js";
import { FeedRows, onTheirWay } from "../feed.js";
import { columns, figure, newest, size } from "../figures.js";
import { sparkline, statusOf } from "../health.js";
import { RunHistory } from "../history.js";
import { COLOURS, colourOf, hashedColour, initials, nameProblem, userOfToken } from "../people.js";
import { newRunId, runOfPath, runReference, shortRunId } from "../references.js";
import { announcement, plain, rejection, sentence } from "../sentences.js";
import { DEFAULT_STEPS, parseSteps, stepsOf, stepsQuery } from "../steps.js";
import { filtered, nextOrder, sorted } from "../tables.js";
import { ago, duration } from "../times.js";
import { scrollToShow, visibleSpan } from "../windowing.js";
import { event } from "./support.js";

const RUN = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d";

test("every event is a sentence, with what people wrote as parts of their own", () => {
  const said = (/** @type {string} */ type, /** @type {any} */ data) => plain(sentence(event(1, type, data)));
  assert.equal(said("GRAFT", { after: "PM", agentName: "scanner" }), "ann grafted scanner after PM");
  assert.equal(said("PRUNE", { stepId: "PM", isPruned: true }), "ann pruned PM");
  assert.equal(said("PRUNE", { stepId: "PM", isPruned: false }), "ann restored PM");
  assert.equal(said("FLAG", { stepId: "PM", note: "too slow" }), "ann flagged PM too slow");
  assert.equal(said("FLAG", { stepId: "PM", note: "" }), "ann took the flag off PM");
  assert.equal(said("USER_JOIN", { userId: "ann" }), "ann joined");
  assert.equal(said("USER_LEAVE", { userId: "ann", reason: "timeout" }), "ann lost the connection");
  assert.equal(said("GRAFT", { after: 1 }), 'ann sent GRAFT {"after":1}');
  assert.equal(said("MODEL_CHANGED", null), "ann sent MODEL_CHANGED");
  assert.equal(said("FLAG", "x"), 'ann sent FLAG "x"');
  assert.ok(said("BIG", "x".repeat(5000)).length < 400);
  const markup = sentence(event(1, "FLAG", { stepId: "<b>", note: "<script>" }, "<i>eve</i>"));
  assert.deepEqual(
    markup.map(({ kind, text }) => [kind, text]),
    [
      ["user", "<i>eve</i>"],
      ["words", "flagged"],
      ["place", "<b>"],
      ["quote", "<script>"],
    ],
  );
});

test("a screen reader hears one event in full, several as a count, and nothing of its user's own", () => {
  const prune = (/** @type {number} */ number, /** @type {string} */ user) =>
    event(number, "PRUNE", { stepId: "PM", isPruned: true }, user);
  assert.equal(announcement([prune(1, "bob")], "ann"), "bob pruned PM");
  assert.equal(announcement([prune(1, "bob"), prune(2, "bob"), prune(3, "eve")], "ann"), "3 changes by bob, eve");
  assert.equal(announcement([prune(1, "ann")], "ann"), "");
  assert.equal(
    announcement(
      ["a", "b", "c", "d"].map((user) => prune(1, user)),
      "ann",
    ),
    "4 changes by 4 people",
  );
});

test("the feed reads newest first: own messages on their way, events, where history ends, kept state", () => {
  const history = new RunHistory();
  history.add(event(2, "FLAG", { stepId: "PM", note: "kept" }), 5);
  history.add(event(5, "FLAG", { stepId: "PM", note: "a" }), 5);
  history.add(event(6, "FLAG", { stepId: "PM", note: "b" }), 5);
  const own = /** @type {any[]} */ ([
    { clientMessageId: "m1", state: "committed", sequenceNumber: 6 },
    { clientMessageId: "m2", state: "committed", sequenceNumber: null },
    { clientMessageId: "m3", state: "rejected", code: "forbidden" },
    { clientMessageId: "m4", state: "queued" },
    { clientMessageId: "m5", state: "committed", sequenceNumber: 7 },
  ]);
  const rows = new FeedRows(history, onTheirWay(own, history.head));
  const keys = Array.from({ length: rows.length }, (_, index) => rows.at(index).key);
  assert.deepEqual(keys, ["own m5", "own m4", "own m3", "event 0 6", "event 0 5", "cut", "event 0 2"]);
  const cut = rows.at(5);
  assert.ok(cut.kind === "cut" && cut.oldest === 5 && cut.hasKept);
  history.clear();
  history.add(event(6, "FLAG", { stepId: "PM", note: "another history" }), 1);
  assert.equal(new FeedRows(history, []).at(0).key, "event 1 6");
});

test("colours are the chosen one, else one that follows from the name", () => {
  assert.equal(colourOf("ann", { nodeId: "PM", color: "teal" }), "teal");
  assert.equal(colourOf("ann", { color: "url(x)" }), hashedColour("ann"));
  assert.equal(colourOf("ann", "x"), hashedColour("ann"));
  assert.ok(COLOURS.includes(hashedColour("")));
});

test("initials are whole characters of any script", () => {
  assert.equal(initials("ann"), "A");
  assert.equal(initials("Ann Marie Lee"), "AL");
  assert.equal(initials("ann.lee@example.org"), "AO");
  assert.equal(initials("👩‍🚀 luna"), "👩‍🚀L");
  assert.equal(initials("שרה"), "ש");
  assert.equal(initials("---"), "-");
  assert.equal(initials("(ann) [lee]"), "AL");
  assert.equal(initials("***"), "*");
  assert.equal(initials("🇫🇷 ❤️"), "🇫🇷❤️");
});

test("what was refused is said with its reason", () => {
  const refused = { eventType: "FLAG", data: { stepId: "PM", note: "late" }, code: "forbidden" };
  assert.equal(rejection({ ...refused, message: "ask for the right: " }, "ann"), "Not done: you flagged PM late. Ask for the right.");
  assert.equal(rejection({ ...refused, message: "" }, "ann"), "Not done: you flagged PM late. Forbidden.");
});

test("a name is told what is wrong with it", () => {
  assert.equal(nameProblem("ann <b>"), null);
  assert.equal(nameProblem("😀".repeat(255)), null);
  assert.match(nameProblem("😀".repeat(256)) ?? "", /256/);
  assert.match(nameProblem("") ?? "", /Enter a name/);
  assert.match(nameProblem("a\u0007") ?? "", /control/);
  assert.match(nameProblem("a\ud800") ?? "", /half/);
});

test("a token names its user; anything else names nobody", () => {
  const payload = Buffer.from(JSON.stringify({ sub: "zoë" })).toString("base64url");
  assert.equal(userOfToken(`x.${payload}.y`), "zoë");
  for (const token of ["", "x", "a.b.c", `a.${Buffer.from("[]").toString("base64url")}.c`]) {
    assert.equal(userOfToken(token), null);
  }
});

test("a run is found in an id or a link, and in nothing else", () => {
  assert.deepEqual(runReference(` ${RUN.toUpperCase()} `), { runId: RUN, query: "" });
  assert.deepEqual(runReference(`https://x.org/c/runs/${RUN}?steps=A,B#top`), { runId: RUN, query: "?steps=A,B" });
  assert.equal(runReference("hello"), null);
  assert.equal(runReference(`${RUN}0`), null);
  assert.equal(runReference("https://x.org/runs/nonsense"), null);
  assert.deepEqual(runOfPath(`/c/runs/${RUN.toUpperCase()}/`), { text: RUN.toUpperCase(), runId: RUN });
  assert.deepEqual(runOfPath("/runs/a%3Cb"), { text: "a<b", runId: null });
  assert.deepEqual(runOfPath("/runs/%E0%A4%A"), { text: "%E0%A4%A", runId: null });
});

test("a new run's id is a UUID of version 4", () => {
  assert.equal(newRunId(new Uint8Array(16)), "00000000-0000-4000-8000-000000000000");
  assert.equal(newRunId(new Uint8Array(16).fill(255)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
  assert.equal(shortRunId(RUN), "3f2b8c1e");
});

test("steps come from the link, else the default", () => {
  assert.deepEqual(stepsOf("?steps=PLAN, BUILD,,PLAN"), ["PLAN", "BUILD"]);
  assert.equal(stepsOf("?steps=,"), DEFAULT_STEPS);
  assert.equal(stepsOf(""), DEFAULT_STEPS);
  assert.equal(parseSteps(Array.from({ length: 99 }, (_, n) => `s${n}`).join("\n")).length, 24);
  assert.equal(stepsQuery(DEFAULT_STEPS), "");
  assert.deepEqual(stepsOf(stepsQuery(["A B", "C&D"])), ["A B", "C&D"]);
});

test("only rows that are seen are drawn", () => {
  assert.deepEqual(visibleSpan({ count: 1000, rowHeight: 50, top: 5000, height: 500, spare: 2 }), {
    first: 98,
    end: 112,
  });
  assert.deepEqual(visibleSpan({ count: 3, rowHeight: 50, top: 0, height: 500 }), { first: 0, end: 3 });
  assert.deepEqual(visibleSpan({ count: 0, rowHeight: 50, top: 900, height: 500 }), { first: 0, end: 0 });
  const view = { rowHeight: 50, top: 100, height: 200 };
  assert.deepEqual(
    [0, 3, 9].map((index) => scrollToShow(index, view)),
    [0, 100, 300],
  );
});

test("tables sort by numbers and by text, unknown values last, and filter by every word", () => {
  const rows = [
    { n: 2, s: "b10" },
    { n: null, s: "b9" },
    { n: 1, s: "a" },
  ];
  const by = [
    { key: "n", value: (/** @type {any} */ row) => row.n },
    { key: "s", value: (/** @type {any} */ row) => row.s },
  ];
  const text = (/** @type {any} */ row) => row.s;
  assert.deepEqual(sorted(rows, by, { key: "n", direction: "ascending" }).map(text), ["a", "b10", "b9"]);
  assert.deepEqual(sorted(rows, by, { key: "n", direction: "descending" }).map(text), ["b10", "a", "b9"]);
  assert.deepEqual(sorted(rows, by, { key: "s", direction: "ascending" }).map(text), ["a", "b9", "b10"]);
  assert.deepEqual(sorted(rows, by, { key: "?", direction: "ascending" }), rows);
  assert.deepEqual(filtered(rows, text, " B 1 ").map(text), ["b10"]);
  assert.equal(filtered(rows, text, "  ").length, 3);
  const once = nextOrder({ key: "n", direction: "ascending" }, "s", "descending");
  assert.deepEqual(once, { key: "s", direction: "descending" });
  assert.deepEqual(nextOrder(once, "s"), { key: "s", direction: "ascending" });
});

test("times are told as people tell them", () => {
  assert.equal(ago(1000, 4000), "just now");
  assert.equal(ago(0, 45_000), "45 seconds ago");
  assert.equal(ago(0, 3_600_000), "1 hour ago");
  assert.equal(ago(0, 86_400_000), "yesterday");
  assert.deepEqual([48_900, 720_000, 12_000_000, 187_200_000, -5].map(duration), [
    "48 s",
    "12 min",
    "3 h 20 min",
    "2 d 4 h",
    "0 s",
  ]);
});

test("a connection's status is said, or follows from fallback, health and reconnections", () => {
  assert.equal(statusOf({ status: "reconnected" }, true), "reconnected");
  assert.equal(statusOf({ status: "nonsense", isHealthy: true }, true), "polling");
  assert.equal(statusOf({ isHealthy: false, reconnectionCount: 3 }, false), "disconnected");
  assert.equal(statusOf({ isHealthy: true, reconnectionCount: 3 }, false), "reconnected");
  assert.equal(statusOf({ isHealthy: true }, false), "connected");
  assert.equal(statusOf(null, false), "disconnected");
});

test("figures are short, and what was not measured is no zero", () => {
  assert.equal(figure(null, "ms"), "–");
  assert.equal(figure(0.987, "%"), "98.7\u00a0%");
  assert.equal(figure(12.345, "ms"), "12.3\u00a0ms");
  assert.equal(figure(3, "/s"), "3/s");
  assert.equal(figure(0.5), "0.50");
  assert.deepEqual([512, 2048, 3 * 1024 * 1024].map(size), ["512 B", "2.0 KiB", "3.0 MiB"]);
  assert.deepEqual(
    columns(
      [
        { at: 2000, a: 1 },
        { at: 4000, a: null },
      ],
      ["a", "b"],
    ),
    [
      [2, 4],
      [1, null],
      [null, null],
    ],
  );
  assert.equal(newest([1, 2, null]), 2);
  assert.equal(newest([]), null);
  assert.equal(sparkline([1, 2], { width: 10, height: 12, most: 11 }), "9.0,6.0 10.0,1.0");
});

test("where a picture stands in time is said by number, or as the beginning of what is kept", () => {
  const history = new RunHistory();
  assert.equal(momentWords(history, 0), "at the beginning");
  assert.equal(momentSentence(history, 0, 0), "At the beginning");
  history.add(event(9, "PRUNE", { stepId: "PM", isPruned: true }), 9);
  assert.equal(momentWords(history, 0), "before #9");
  assert.equal(momentSentence(history, 0, 0), "Before #9: what was in force then");
  assert.equal(momentWords(history, 1), "after #9");
  assert.match(momentSentence(history, 1, 0), /^1 of 1: #9 .*, ann pruned PM$/);
  assert.deepEqual([numberAt(history, null), numberAt(history, 0), numberAt(history, 1)], [null, null, 9]);
});

test("runs are made of the sessions that are there, by the worst of them", () => {
  const session = (/** @type {any} */ changed) => ({
    runId: "r1",
    userId: "ann",
    disconnectedAt: null,
    transport: "websocket",
    averageLatencyMs: null,
    connectionQuality: 100,
    queuedBytes: 1,
    lastActivity: "2026-01-01T00:00:00Z",
    ...changed,
  });
  const sessions = [
    session({}),
    session({ userId: "bob", transport: "polling", averageLatencyMs: 7, connectionQuality: 40 }),
    session({ averageLatencyMs: 3, lastActivity: "2026-01-01T00:00:01Z" }),
    session({ runId: "r2", disconnectedAt: "2026-01-01T00:00:00Z" }),
  ];
  assert.equal(sessions.filter(isLive).length, 3);
  assert.deepEqual(runsOf(sessions), [
    {
      runId: "r1",
      sessions: 3,
      users: ["ann", "bob"],
      polling: 1,
      worstLatencyMs: 7,
      worstQuality: 40,
      queuedBytes: 3,
      lastActivity: Date.parse("2026-01-01T00:00:01Z"),
    },
  ]);
});
