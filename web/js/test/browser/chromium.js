/**
 * Real Chromium, with a bare page of the collabd origin that has nothing but the client on it.
 *
 * Law of this file: set-up only. The page and the bundle are handed to the browser by Playwright; everything else it
 * asks for goes through the fault proxy to the real server.
 */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const CANDIDATES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A page that Playwright hands over has no address, so Chromium takes it for one from the internet, which may not reach
  // into the local network. Pages that the server itself serves are not concerned.
  "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
  // A host that is no localhost: what a page on plain http there lacks is what these tests are about.
  "--host-resolver-rules=MAP collab.test 127.0.0.1",
];
const INDEX = fileURLToPath(new URL("../../index.js", import.meta.url));

/** Where Chromium is; null where there is none. */
export const CHROMIUM = CANDIDATES.find((path) => path !== undefined && existsSync(path)) ?? null;

export async function launch() {
  return chromium.launch({ executablePath: /** @type {string} */ (CHROMIUM), args: FLAGS });
}

/** @returns {Promise<string>} the client as one script for the page */
export async function bundle() {
  const options = /** @type {const} */ ({ bundle: true, format: "iife", globalName: "collabd", write: false });
  const { outputFiles } = await build({ ...options, entryPoints: [INDEX], target: "es2022" });
  return /** @type {{text: string}} */ (outputFiles[0]).text;
}

/**
 * @param {import("playwright-core").BrowserContext} context
 * @param {string} script
 */
export async function servePage(context, script) {
  await context.route("**/client-test-page", (route) =>
    route.fulfill({ contentType: "text/html", body: '<!doctype html><script src="/client-test.js"></script>' }),
  );
  await context.route("**/client-test.js", (route) => route.fulfill({ contentType: "text/javascript", body: script }));
}

/**
 * A page that is in a run; `window.store` is its client.
 * @param {import("playwright-core").BrowserContext} context
 * @param {string} url of the server, as the page reaches it
 * @param {string} run
 * @param {string} userId
 */
export async function openTab(context, url, run, userId) {
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error" && !/ERR_|WebSocket connection/.test(message.text())) console.error(message.text());
  });
  const enter = async () => {
    await page.evaluate(
      ({ url, userId, run }) => {
        const global = /** @type {any} */ (window);
        // Chance is lucky, so that waits are short, and the wall clock can be put ahead, so that leases run out.
        global.aheadMs = 0;
        const environment = { random: () => Math.random() / 10, wall: () => Date.now() + global.aheadMs };
        global.store = global.collabd.createCollabClient({ url, userId, environment });
        void global.store.connectToRun(run);
      },
      { url, userId, run },
    );
  };
  await page.goto(`${url}/client-test-page`);
  await enter();
  return { page, enter };
}

/** @param {import("playwright-core").Page} page @param {string} prefix @param {number} count */
export async function sendFlags(page, prefix, count) {
  await page.evaluate(
    ({ prefix, count }) => {
      const { store } = /** @type {any} */ (window);
      for (let nth = 1; nth <= count; nth += 1) store.sendFlag("PM", `${prefix}${nth}`);
    },
    { prefix, count },
  );
}

/**
 * Wait until something holds in the page; `store` is its client.
 * @param {import("playwright-core").Page} page
 * @param {string} expression of JavaScript
 */
export async function untilPage(page, expression) {
  await page.waitForFunction(expression, undefined, { timeout: 45_000, polling: 50 });
}

/** @param {import("playwright-core").Page} page @returns {Promise<number[]>} the persisted numbers it was handed */
export function numbersOf(page) {
  return page.evaluate(() =>
    /** @type {any} */ (window).store
      .events()
      .map((/** @type {any} */ event) => event.sequenceNumber)
      .filter((/** @type {any} */ number) => number !== undefined),
  );
}

/**
 * Kill the page's process at the very moment when its first message is committed: the page stops dead (nothing of it
 * runs any more), and is killed then.
 * @param {import("playwright-core").Page} page
 * @param {() => Promise<void>} begin what makes it send
 */
export async function crashAtFirstAck(page, begin) {
  const stopped = new Promise((resolve) => page.once("console", resolve));
  await page.evaluate(() => {
    const { store } = /** @type {any} */ (window);
    store.ownMessages.subscribe((/** @type {any[]} */ own) => {
      if (!own.some(({ state }) => state === "committed")) return;
      console.log("stopped");
      for (;;);
    });
  });
  const session = await page.context().newCDPSession(page);
  await begin();
  await stopped;
  const crashed = new Promise((resolve) => page.once("crash", resolve));
  void session.send("Page.crash").catch(() => {});
  await crashed;
}
