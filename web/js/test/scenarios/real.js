/**
 * The real server, the fault proxy before it, and clients in Node.
 *
 * Law of this file: it starts and ends processes and waits for conditions; nothing here waits for time to pass, except
 * through the clients' own clock.
 */

/** @import { ClientOptions, StreamStore } from "../../client.js" */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { createCollabClient } from "../../client.js";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const OWN_PYTHON = join(ROOT, ".venv", "bin", "python");
export const PYTHON = process.env.COLLABD_PYTHON ?? (existsSync(OWN_PYTHON) ? OWN_PYTHON : "python3");
const PATIENCE_MS = 30_000;

/** The client's clock, faster than the real one, so that minutes of its patience are seconds of a test. */
export class FastTime {
  /** @param {number} factor */
  constructor(factor) {
    this.factor = factor;
    this.began = performance.now();
    this.wallBegan = Date.now();
    this.jumped = 0;
    this.slept = 0;
  }

  now = () => (performance.now() - this.began) * this.factor + this.slept;

  wall = () => this.wallBegan + this.jumped + this.now();

  /** The machine sleeps: both clocks go on, and no timer fires meanwhile. @param {number} ms */
  sleep(ms) {
    this.slept += ms;
  }

  /** @param {number} ms of the client's time @returns {Promise<void>} */
  pass = (ms) => new Promise((resolve) => this.setTimeout(() => resolve(), ms));

  setTimeout = (/** @type {() => void} */ work, /** @type {number} */ ms) =>
    setTimeout(work, Math.max(0, ms) / this.factor);

  clearTimeout = (/** @type {any} */ timer) => clearTimeout(timer);
}

/** What one test started; `end` ends it. */
export class Stage {
  constructor() {
    /** @type {(() => Promise<void> | void)[]} */
    this.undo = [];
    /** @type {Server[]} */
    this.servers = [];
  }

  async end() {
    for (const step of this.undo.reverse()) await step();
  }

  /** @returns {string} what the servers said, for a test that failed */
  get said() {
    return this.servers.map((server) => server.process?.errors ?? "").join("\n");
  }

  /** @returns {Promise<string>} a directory that goes with the test */
  async directory() {
    const path = await mkdtemp(join(tmpdir(), "collabd-js-"));
    this.undo.push(() => rm(path, { recursive: true, force: true }));
    return path;
  }

  /** @param {Record<string, string>} [settings] environment of the server */
  async server(settings = {}) {
    const server = new Server(await this.directory(), settings);
    this.servers.push(server);
    await server.start();
    this.undo.push(() => server.end());
    return server;
  }

  /** @param {Server} server */
  async proxy(server) {
    const proxy = new Proxy(server.port);
    await proxy.start();
    this.undo.push(() => proxy.end());
    return proxy;
  }

  /**
   * @param {string} url
   * @param {string} userId
   * @param {Partial<ClientOptions> & {time?: FastTime}} [options]
   */
  client(url, userId, { time = new FastTime(1), ...options } = {}) {
    const { now, wall, setTimeout, clearTimeout } = time;
    const environment = { WebSocket: /** @type {any} */ (WebSocket), now, wall, setTimeout, clearTimeout };
    const store = createCollabClient({
      url,
      userId,
      ...options,
      environment: { ...environment, ...options.environment },
    });
    this.undo.push(() => store.close({ waitMs: 0 }));
    return store;
  }
}

/** A process that says line by line what it does. */
class Talking {
  /** @param {string[]} words @param {Record<string, string>} [settings] */
  constructor(words, settings = {}) {
    const env = { ...process.env, ...settings };
    this.process = spawn(PYTHON, words, { cwd: ROOT, env, stdio: ["pipe", "pipe", "pipe"] });
    this.errors = "";
    this.process.stderr.on("data", (data) => (this.errors += data));
    this.exited = new Promise((resolve) => this.process.once("exit", resolve));
    const lines = createInterface({ input: this.process.stdout });
    /** @type {string[]} */
    this.heard = [];
    /** @type {(() => void)[]} */
    this.waiting = [];
    lines.on("line", (line) => {
      this.heard.push(line);
      for (const wake of this.waiting.splice(0)) wake();
    });
    void this.exited.then(() => this.waiting.splice(0).forEach((wake) => wake()));
  }

  /** @returns {Promise<string>} its next line */
  async line() {
    while (this.heard.length === 0) {
      if (this.process.exitCode !== null) throw new Error(`it ended with ${this.process.exitCode}: ${this.errors}`);
      await new Promise((resolve) => this.waiting.push(() => resolve(undefined)));
    }
    return /** @type {string} */ (this.heard.shift());
  }

  /** @param {string} command @returns {Promise<string>} the answer */
  say(command) {
    this.process.stdin.write(`${command}\n`);
    return this.line();
  }

  /** @param {NodeJS.Signals} signal */
  async kill(signal) {
    this.process.kill(signal);
    await this.exited;
  }
}

/** `collabd serve`, restarted on the same port and data. */
export class Server {
  /** @param {string} directory @param {Record<string, string>} settings */
  constructor(directory, settings) {
    this.directory = directory;
    this.settings = settings;
    this.port = 0;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async start() {
    const words = ["-m", "collabd", "serve", "--bind", `127.0.0.1:${this.port}`, "--data-dir", this.directory];
    this.process = new Talking(words, this.settings);
    const ready = await this.process.line();
    this.port = Number(/http:\/\/127\.0\.0\.1:(\d+)/.exec(ready)?.[1]);
  }

  /** The database is lost, and a new one begins. */
  async loseData() {
    for (const name of await readdir(this.directory)) await rm(join(this.directory, name), { recursive: true });
  }

  /** @param {NodeJS.Signals} [signal] */
  async end(signal = "SIGKILL") {
    await this.process?.kill(signal);
  }

  /** @param {string} runId @param {Record<string, string>} [headers] @returns {Promise<any[]>} every persisted event */
  async log(runId, headers = {}) {
    const events = [];
    for (let from = 1; from !== null;) {
      const query = `fromSequence=${from}&limit=1000&userId=auditor`;
      const answer = await fetch(`${this.url}/api/runs/${runId}/collaboration/replay?${query}`, { headers });
      const page = /** @type {any} */ (await answer.json());
      events.push(...page.events);
      from = page.nextSequence;
    }
    return events;
  }
}

/** tests/support/fault_proxy.py */
export class Proxy {
  /** @param {number} upstream */
  constructor(upstream) {
    this.upstream = upstream;
    this.port = 0;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async start() {
    this.process = new Talking(["-m", "tests.support.fault_proxy", "--upstream", `127.0.0.1:${this.upstream}`]);
    this.port = Number(await this.process.line());
  }

  /** @param {string} command */
  async say(command) {
    const answer = await /** @type {Talking} */ (this.process).say(command);
    if (!answer.startsWith("ok")) throw new Error(`the proxy answered ${answer} to ${command}`);
  }

  async end() {
    await this.process?.kill("SIGKILL");
  }
}

/**
 * @template T
 * @param {import("../../readable.js").Readable<T>} readable
 * @param {(value: T) => boolean} holds
 * @param {string} what
 * @returns {Promise<T>}
 */
export function until(readable, holds, what) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Error(`${what}: not in time; ${JSON.stringify(readable.peek()).slice(0, 2_000)}`)),
      PATIENCE_MS,
    );
    let stop = () => {};
    stop = readable.subscribe((value) => {
      if (!holds(value)) return;
      clearTimeout(late);
      queueMicrotask(() => stop());
      resolve(value);
    });
  });
}

/**
 * @param {() => Promise<boolean>} holds
 * @param {string} what
 */
export async function eventually(holds, what) {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not in time`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** @param {StreamStore} store */
export const live = (store) => until(store.connectionState, (state) => state === "live", "live");

/** @param {StreamStore} store @param {number} number */
export const seen = (store, number) =>
  until(store.events, (events) => events.some((event) => event.sequenceNumber === number), `event ${number}`);

/** The persisted numbers that an application was handed. @param {readonly any[]} events */
export const numbers = (events) => events.map((event) => event.sequenceNumber).filter((number) => number !== undefined);

/** @returns {string} a new run's id */
export const newRun = () => globalThis.crypto.randomUUID();
