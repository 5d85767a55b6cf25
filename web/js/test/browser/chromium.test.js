/**
 * The scenarios that only a browser can show, in real Chromium: tabs, IndexedDB, Web Locks, offline.
 *
 * Where no Chromium is, each says so and is skipped.
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, newRun, numbers, Stage } from "../scenarios/real.js";
import {
  bundle,
  CHROMIUM,
  crashAtFirstAck,
  launch,
  numbersOf,
  openTab,
  sendFlags,
  servePage,
  untilPage,
} from "./chromium.js";

const NOT_RUN = "NOT RUN: no Chromium here; install it (Debian: apt-get install chromium) or set CHROMIUM to its path";

/** @type {import("playwright-core").Browser | undefined} */
let browser;
/** @type {string} */
let script;

before(async () => {
  if (CHROMIUM === null) {
    console.error(`\n*** The browser tests of the client were ${NOT_RUN} ***\n`);
    return;
  }
  script = await bundle();
  browser = await launch();
});
after(() => browser?.close());

/**
 * @typedef {object} Scene
 * @property {import("../scenarios/real.js").Server} server
 * @property {import("../scenarios/real.js").Proxy} proxy
 * @property {string} run
 * @property {import("playwright-core").BrowserContext} context
 * @property {(userId?: string) => ReturnType<typeof openTab>} open
 */

/**
 * @param {string} name
 * @param {(scene: Scene) => Promise<void>} body
 * @param {{host?: string}} [options] localhost has locks, another name on plain http has none
 */
function inChromium(name, body, { host = "localhost" } = {}) {
  test(`${name} (${host})`, { timeout: 120_000, skip: CHROMIUM === null ? NOT_RUN : false }, async () => {
    const stage = new Stage();
    try {
      const server = await stage.server({ COLLABD_SERVER__ALLOWED_HOSTS: '["collab.test"]' });
      const proxy = await stage.proxy(server);
      const context = await /** @type {import("playwright-core").Browser} */ (browser).newContext();
      stage.undo.push(() => context.close());
      await servePage(context, script);
      const run = newRun();
      const url = `http://${host}:${proxy.port}`;
      await body({ server, proxy, run, context, open: (userId = "ann") => openTab(context, url, run, userId) });
    } catch (problem) {
      console.error(`the server said:\n${stage.said}`);
      throw problem;
    } finally {
      await stage.end();
    }
  });
}

/** @param {import("../scenarios/real.js").Proxy} proxy */
async function noNetwork(proxy) {
  await proxy.say("refuse");
  await proxy.say("cut");
}

/**
 * Every message exactly once and in its sender's order, and a gapless view in the page.
 * @param {Scene} scene
 * @param {import("playwright-core").Page} page
 * @param {Record<string, number>} senders
 */
async function audit({ server, run }, page, senders) {
  const total = Object.values(senders).reduce((sum, count) => sum + count, 0);
  await eventually(async () => (await server.log(run)).length >= total, `${total} messages are committed`);
  const log = await server.log(run);
  for (const [prefix, count] of Object.entries(senders)) {
    const notes = log.map((event) => event.data.note).filter((note) => note.startsWith(prefix));
    assert.deepEqual(
      notes,
      Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`),
    );
  }
  await untilPage(page, `store.runInfo().sequenceNumber === ${log.length} && store.queuedMessageCount() === 0`);
  assert.deepEqual(await numbersOf(page), numbers(log));
}

for (const host of ["localhost", "collab.test"]) {
  const locks = host === "localhost";

  inChromium(
    `what the page has: locks ${locks}`,
    async ({ open }) => {
      const { page } = await open();
      const has = await page.evaluate(() => [navigator.locks !== undefined, crypto.randomUUID !== undefined]);
      assert.deepEqual(has, [locks, locks]);
      await untilPage(page, `store.connectionState() === "live" && store.connectionHealth().storage === "durable"`);
    },
    { host },
  );

  inChromium(
    "S5: two tabs with fifty queued messages each, the sending one crashes",
    async (scene) => {
      const { proxy, open } = scene;
      const one = await open();
      await untilPage(one.page, `store.connectionState() === "live"`);
      const other = await open();
      await untilPage(other.page, `store.connectionState() === "live"`);
      await noNetwork(proxy);
      await untilPage(one.page, `store.connectionState() !== "live"`);
      await sendFlags(one.page, "one", 50);
      await sendFlags(other.page, "other", 50);
      for (const { page } of [one, other]) {
        await untilPage(page, `store.ownMessages().every(({ state }) => state === "queued")`);
      }
      await crashAtFirstAck(one.page, () => proxy.say("heal"));
      // Without locks the dead tab's lease has to run out.
      await other.page.evaluate("window.aheadMs = 30_000");
      await audit(scene, other.page, { one: 50, other: 50 });
    },
    { host },
  );

  inChromium(
    "S6: a reload with a queue",
    async (scene) => {
      const { proxy, open } = scene;
      const { page, enter } = await open();
      await untilPage(page, `store.connectionState() === "live"`);
      await noNetwork(proxy);
      await sendFlags(page, "n", 20);
      await untilPage(page, `store.ownMessages().every(({ state }) => state === "queued")`);
      const began = performance.now();
      await page.reload();
      await enter();
      await proxy.say("heal");
      await audit(scene, page, { n: 20 });
      // The page that went gave its lease back: waiting for it to run out would take twenty seconds.
      assert.ok(performance.now() - began < 15_000);
      const states = await page.evaluate(`store.ownMessages().map(({ state }) => state)`);
      assert.deepEqual(states, Array(20).fill("committed"));
    },
    { host },
  );
}

inChromium(
  "offline and online again: what was queued goes out, and the network's return is not waited for",
  async (scene) => {
    const { proxy, context, open } = scene;
    const { page } = await open();
    await untilPage(page, `store.connectionState() === "live"`);
    await context.setOffline(true);
    await noNetwork(proxy);
    await untilPage(page, `store.connectionState() !== "live"`);
    await sendFlags(page, "n", 50);
    await untilPage(page, `store.queuedMessageCount() === 50 && store.connectionHealth().isHealthy === false`);
    await proxy.say("heal");
    await context.setOffline(false);
    await audit(scene, page, { n: 50 });
  },
);

inChromium("S1: the server is killed and restarted under an open page", async (scene) => {
  const { server, open } = scene;
  const { page } = await open();
  const other = await open("bob");
  await untilPage(page, `store.activeUsers().length === 2`);
  await sendFlags(page, "a", 30);
  await server.end("SIGKILL");
  await sendFlags(other.page, "b", 30);
  await server.start();
  await audit(scene, page, { a: 30, b: 30 });
  await audit(scene, other.page, { a: 30, b: 30 });
});

inChromium("S3: no WebSocket lives, so polling takes over, and goes again when they do", async (scene) => {
  const { proxy, open } = scene;
  const { page } = await open();
  await untilPage(page, `store.connectionState() === "live"`);
  await proxy.say("close-ws-after 0");
  await untilPage(page, `store.usingFallback()`);
  await sendFlags(page, "a", 30);
  await audit(scene, page, { a: 30 });
  await proxy.say("heal");
  await untilPage(page, `store.connectionState() === "live" && !store.usingFallback()`);
  await audit(scene, page, { a: 30 });
});

inChromium("R32: where the browser blocks storage, the page says so and works on", async (scene) => {
  const { context, open } = scene;
  await context.addInitScript(() => {
    const denied = () => {
      throw new DOMException("denied", "SecurityError");
    };
    Object.defineProperty(window, "indexedDB", { get: denied });
  });
  const { page } = await open();
  await untilPage(page, `store.connectionState() === "live"`);
  assert.equal(await page.evaluate(`store.connectionHealth().storage`), "memory");
  await sendFlags(page, "n", 3);
  await audit(scene, page, { n: 3 });
});
