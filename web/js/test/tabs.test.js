/** Queues that survive, and several tabs (docs/client-behaviour.md, R12, R23, R30 to R32). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeBrowser } from "./support/browser.js";
import { RUN } from "./support/world.js";

/** @param {string} prefix @param {number} count */
const names = (prefix, count) => Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);

/** @param {import("./support/browser.js").Tab} tab @param {string} prefix @param {number} count */
function flags({ store }, prefix, count) {
  return names(prefix, count).map((note) => store.sendFlag("PM", note));
}

/** @param {FakeBrowser} browser @param {string} prefix */
const committed = ({ server }, prefix) =>
  server.events.map((event) => event.data.note).filter((note) => note.startsWith(prefix));

/** @param {FakeBrowser} browser */
const flagsOnTheWire = ({ server }) => server.received.filter((frame) => frame.eventType === "FLAG").length;

for (const locks of [true, false]) {
  const kind = locks ? "with locks" : "without locks";

  test(`R23, ${kind}: a queue survives a reload, and goes out in order with the same ids`, async () => {
    const browser = new FakeBrowser({ locks });
    browser.server.down = true;
    const first = browser.open();
    first.store.connectToRun(RUN);
    const sent = flags(first, "n", 20);
    await browser.time.advance(1_000);
    assert.ok(sent.every(({ state }) => state().state === "queued"));
    assert.equal(first.store.connectionHealth().storage, "durable");
    first.page.becomes("leaving");
    await browser.time.advance(10);
    first.crash();
    browser.server.down = false;
    const second = browser.open();
    second.store.connectToRun(RUN);
    await browser.time.advance(3_000);
    assert.deepEqual(committed(browser, "n"), names("n", 20));
    assert.deepEqual(
      browser.server.events.map((event) => event.clientMessageId),
      sent.map(({ clientMessageId }) => clientMessageId),
    );
    assert.deepEqual(
      second.store.ownMessages().map(({ state }) => state),
      Array(20).fill("committed"),
    );
    assert.equal(second.store.queuedMessageCount(), 0);
  });

  test(`R23, ${kind}: what was committed does not come again after a reload`, async () => {
    const browser = new FakeBrowser({ locks });
    const first = browser.open();
    first.store.connectToRun(RUN);
    flags(first, "n", 5);
    await browser.time.advance(1_000);
    first.crash();
    const second = browser.open();
    second.store.connectToRun(RUN);
    await browser.time.advance(30_000);
    assert.equal(flagsOnTheWire(browser), 5);
    assert.deepEqual(second.store.ownMessages(), []);
  });

  test(`R30, R31, ${kind}: two tabs with fifty queued messages, the sending one crashes: each is there once, in order`, async () => {
    const browser = new FakeBrowser({ locks });
    browser.server.down = true;
    const one = browser.open();
    one.store.connectToRun(RUN);
    await browser.time.advance(100);
    const other = browser.open();
    other.store.connectToRun(RUN);
    await browser.time.advance(100);
    flags(one, "one", 50);
    flags(other, "other", 50);
    await browser.time.advance(1_000);
    // The first answers are lost with the crash: the messages are committed, and nobody was told.
    browser.server.swallowAck = () => !one.crashed;
    browser.server.down = false;
    one.page.becomes("online");
    await browser.time.advance(8);
    assert.ok(committed(browser, "one").length > 0);
    one.crash();
    await browser.time.advance(60_000);
    assert.deepEqual(committed(browser, "one"), names("one", 50));
    assert.deepEqual(committed(browser, "other"), names("other", 50));
    assert.equal(other.store.queuedMessageCount(), 0);
  });

  test(`R32, ${kind}: storage that refuses to open is said once, and the queue lives in memory`, async () => {
    const browser = new FakeBrowser({ locks });
    const blocked = { open: () => Promise.reject(new Error("denied")) };
    const tab = browser.open({ storage: /** @type {any} */ (blocked) });
    /** @type {string[]} */
    const problems = [];
    tab.store.onProblem((problem) => problems.push(problem.code));
    tab.store.connectToRun(RUN);
    const [sent] = flags(tab, "n", 1);
    await browser.time.advance(100);
    assert.deepEqual(problems, ["storage_blocked"]);
    assert.equal(tab.warnings.length, 1);
    assert.equal(tab.store.connectionHealth().storage, "memory");
    assert.equal(sent?.state().state, "committed");
  });
}

test("R30: of two tabs one sends, and both see every state and the count", async () => {
  const browser = new FakeBrowser();
  const one = browser.open();
  const other = browser.open();
  one.store.connectToRun(RUN);
  await browser.time.advance(20);
  other.store.connectToRun(RUN);
  await browser.time.advance(100);
  browser.server.swallowAck = () => true;
  const sent = flags(other, "n", 3);
  await browser.time.advance(100);
  assert.deepEqual(
    sent.map(({ state }) => state().state),
    ["sent", "sent", "sent"],
  );
  assert.equal(one.store.queuedMessageCount(), 3);
  assert.equal(other.store.queuedMessageCount(), 3);
  browser.server.swallowAck = () => false;
  browser.server.cut();
  await browser.time.advance(2_000);
  assert.deepEqual(
    sent.map(({ state }) => state().sequenceNumber),
    [1, 2, 3],
  );
  assert.equal(other.store.queuedMessageCount(), 0);
  assert.equal(other.store.connectionHealth().messageDeliveryRate, 1);
});

test("R30: closing the tab that sends hands the queue to the other one", async () => {
  const browser = new FakeBrowser();
  const one = browser.open();
  const other = browser.open();
  one.store.connectToRun(RUN);
  other.store.connectToRun(RUN);
  await browser.time.advance(100);
  void one.store.close();
  await browser.time.advance(100);
  const sent = flags(other, "n", 2);
  await browser.time.advance(100);
  assert.deepEqual(
    sent.map(({ state }) => state().state),
    ["committed", "committed"],
  );
});

test("R30: another user's queue, and another run's, are never sent", async () => {
  const browser = new FakeBrowser();
  browser.server.down = true;
  const tab = browser.open();
  tab.store.connectToRun(RUN);
  flags(tab, "n", 2);
  await browser.time.advance(100);
  tab.crash();
  browser.server.down = false;
  browser.open({ userId: "bob" }).store.connectToRun(RUN);
  browser.open().store.connectToRun(RUN.replace("1", "2"));
  await browser.time.advance(30_000);
  assert.equal(flagsOnTheWire(browser), 0);
});

test("R31: a tab that dies without a word is inherited after its lease", async () => {
  const browser = new FakeBrowser({ locks: false });
  browser.server.down = true;
  const one = browser.open();
  one.store.connectToRun(RUN);
  flags(one, "n", 3);
  await browser.time.advance(500);
  one.crash();
  browser.server.down = false;
  const other = browser.open();
  other.store.connectToRun(RUN);
  await browser.time.advance(15_000);
  assert.equal(browser.server.head, 0);
  await browser.time.advance(10_000);
  assert.deepEqual(committed(browser, "n"), names("n", 3));
});

test("R31: a tab that slept while another adopted its queue makes nothing twice, and learns what became of it", async () => {
  const browser = new FakeBrowser({ locks: false });
  browser.server.down = true;
  const sleeper = browser.open();
  sleeper.store.connectToRun(RUN);
  const sent = flags(sleeper, "n", 3);
  await browser.time.advance(500);
  const timers = [...browser.time.timers];
  browser.time.timers.clear();
  const other = browser.open();
  browser.time.sleep(60_000);
  browser.server.down = false;
  other.store.connectToRun(RUN);
  await browser.time.advance(10_000);
  assert.deepEqual(committed(browser, "n"), names("n", 3));
  for (const timer of timers) browser.time.timers.add(timer);
  await browser.time.advance(30_000);
  assert.equal(browser.server.head, 3);
  assert.ok(sent.every(({ state }) => state().state === "committed"));
});

test("R31: a user whose name looks like another's queue inherits nothing", async () => {
  const browser = new FakeBrowser({ locks: false });
  browser.server.down = true;
  const tab = browser.open({ userId: "ann|bob" });
  tab.store.connectToRun(RUN);
  flags(tab, "n", 1);
  await browser.time.advance(100);
  tab.crash();
  browser.server.down = false;
  browser.open({ userId: "ann" }).store.connectToRun(RUN);
  await browser.time.advance(60_000);
  assert.equal(flagsOnTheWire(browser), 0);
});

test("R32: when storage that worked refuses a message, that message is refused by name and never sent", async () => {
  const browser = new FakeBrowser();
  const { IdbStorage } = await import("../shell/idb_storage.js");
  const storage = new IdbStorage();
  const tab = browser.open({ storage });
  tab.store.connectToRun(RUN);
  await browser.time.advance(100);
  storage.append = () => Promise.reject(new Error("the disk is full"));
  const [sent] = flags(tab, "n", 1);
  await browser.time.advance(100);
  await assert.rejects(async () => sent, { code: "storage_blocked" });
  assert.equal(tab.store.ownMessages()[0]?.state, "rejected");
  assert.equal(flagsOnTheWire(browser), 0);
});

test("R30: a browser that refuses the lock makes every tab send, and each message is there once", async () => {
  const browser = new FakeBrowser();
  const locks = { request: () => Promise.reject(new DOMException("no locks here", "SecurityError")) };
  const [one, other] = [browser.open({ environment: { locks } }), browser.open({ environment: { locks } })];
  one.store.connectToRun(RUN);
  other.store.connectToRun(RUN);
  await browser.time.advance(100);
  const sent = flags(one, "n", 3);
  await browser.time.advance(2_000);
  assert.deepEqual(committed(browser, "n"), names("n", 3));
  assert.ok(sent.every(({ state }) => state().state === "committed"));
  assert.equal(other.store.queuedMessageCount(), 0);
});

test("R32: a database that never opens costs five seconds and the durability, not the message", async () => {
  const browser = new FakeBrowser();
  const tab = browser.open({ storage: /** @type {any} */ ({ open: () => new Promise(() => {}) }) });
  tab.store.connectToRun(RUN);
  const [sent] = flags(tab, "n", 1);
  await browser.time.advance(4_000);
  assert.equal(sent?.state().state, "storing");
  await browser.time.advance(2_000);
  assert.equal(sent?.state().state, "committed");
  assert.equal(tab.store.connectionHealth().storage, "memory");
});

test("R30: storage that cannot be read for a while delays what stands in it, and no longer", async () => {
  const browser = new FakeBrowser();
  const { IdbStorage } = await import("../shell/idb_storage.js");
  const storage = new IdbStorage();
  const tab = browser.open({ storage });
  tab.store.connectToRun(RUN);
  await browser.time.advance(100);
  const read = storage.read.bind(storage);
  storage.read = () => Promise.reject(new Error("the connection to the database is lost"));
  const [sent] = flags(tab, "n", 1);
  await browser.time.advance(5_000);
  assert.equal(flagsOnTheWire(browser), 0);
  storage.read = read;
  await browser.time.advance(4_000);
  assert.equal(sent?.state().state, "committed");
});

test("R34: closing with a queue that lasts keeps what was not sent for the next time", async () => {
  const browser = new FakeBrowser();
  browser.server.down = true;
  const tab = browser.open();
  tab.store.connectToRun(RUN);
  const [sent] = flags(tab, "n", 1);
  await browser.time.advance(100);
  void tab.store.close({ waitMs: 0 });
  await browser.time.advance(100);
  await assert.rejects(async () => sent, { code: "closed" });
  assert.equal(tab.store.ownMessages()[0]?.state, "queued");
  browser.server.down = false;
  tab.store.connectToRun(RUN);
  await browser.time.advance(1_000);
  assert.deepEqual(committed(browser, "n"), ["n1"]);
});
