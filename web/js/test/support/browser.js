/**
 * What the tabs of one browser share (storage, locks, channels), and tabs that can crash.
 *
 * Law of this file: a crashed tab does nothing any more, and the browser frees its locks; that is all a crash is.
 */

/** @import { ClientOptions } from "../../client.js" */

import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { FakeServer } from "./fake_server.js";
import { VirtualTime } from "./virtual_time.js";
import { world } from "./world.js";

export class FakeBrowser {
  /** @param {{locks?: boolean}} [kind] locks: false is a page on plain http beyond localhost */
  constructor({ locks = true } = {}) {
    this.time = new VirtualTime();
    this.time.turns = 30;
    this.server = new FakeServer(this.time);
    this.hasLocks = locks;
    /** @type {Map<string, {tab: Tab, grant: () => void, gone: boolean}[]>} holder first */
    this.locks = new Map();
    /** @type {Map<string, Set<{tab: Tab, onmessage: any}>>} */
    this.channels = new Map();
    /** @type {Tab[]} */
    this.tabs = [];
    // idb-keyval takes its database from the global object.
    Object.assign(globalThis, { indexedDB: new IDBFactory(), IDBKeyRange });
  }

  /** @param {Partial<ClientOptions>} [options] */
  open(options = {}) {
    const tab = new Tab(this, options);
    this.tabs.push(tab);
    return tab;
  }
}

export class Tab {
  /**
   * @param {FakeBrowser} browser
   * @param {Partial<ClientOptions>} options
   */
  constructor(browser, options) {
    this.browser = browser;
    this.crashed = false;
    const { time, server } = browser;
    const environment = {
      isPage: true,
      indexedDB: globalThis.indexedDB,
      locks: browser.hasLocks ? { request: this.#lock } : undefined,
      openChannel: this.#channel,
      setTimeout: (/** @type {() => void} */ work, /** @type {number} */ ms) =>
        time.setTimeout(() => this.crashed || work(), ms),
      fetch: (/** @type {string} */ url, /** @type {any} */ init) =>
        this.crashed ? new Promise(() => {}) : server.fetch(url, init),
      ...options.environment,
    };
    const { store, page, warnings } = world({ ...options, environment, time, server });
    this.store = store;
    this.page = page;
    this.warnings = warnings;
  }

  /** The tab's process dies: no goodbye, no last write. */
  crash() {
    this.crashed = true;
    this.store.env.WebSocket = undefined;
    for (const session of [...this.browser.server.live]) {
      if (this.#owns(session.socket)) session.socket.cut(1006);
    }
    for (const set of this.browser.channels.values()) {
      for (const end of [...set]) if (end.tab === this) set.delete(end);
    }
    for (const waiting of this.browser.locks.values()) {
      for (const one of [...waiting]) if (one.tab === this) free(waiting, one);
    }
  }

  /** @param {import("./fake_server.js").FakeSocket} socket */
  #owns(socket) {
    const mine = socket.url.searchParams.get("sessionId") ?? socket.session?.sessionId;
    return mine !== undefined && mine === this.store.runInfo().sessionId;
  }

  #lock = (/** @type {string} */ name, /** @type {{signal?: AbortSignal}} */ { signal }, /** @type {() => Promise<void>} */ held) =>
    new Promise((resolve, reject) => {
      const waiting = this.browser.locks.get(name) ?? [];
      this.browser.locks.set(name, waiting);
      const one = {
        tab: this,
        gone: false,
        grant: () => void held().then(() => free(waiting, one)).then(() => resolve(undefined)),
      };
      waiting.push(one);
      signal?.addEventListener("abort", () => {
        if (waiting[0] !== one) free(waiting, one);
        reject(signal.reason);
      });
      if (waiting[0] === one) queueMicrotask(one.grant);
    });

  #channel = (/** @type {string} */ name) => {
    const set = this.browser.channels.get(name) ?? new Set();
    this.browser.channels.set(name, set);
    const end = {
      tab: this,
      onmessage: null,
      postMessage: (/** @type {any} */ data) => {
        if (this.crashed) return;
        const copy = structuredClone(data);
        for (const other of set) {
          if (other !== end) this.browser.time.setTimeout(() => set.has(other) && other.onmessage?.({ data: copy }), 0);
        }
      },
      close: () => void set.delete(end),
    };
    set.add(/** @type {any} */ (end));
    return /** @type {any} */ (end);
  };
}

/** @param {any[]} waiting @param {any} one */
function free(waiting, one) {
  if (one.gone) return;
  one.gone = true;
  const held = waiting[0] === one;
  waiting.splice(waiting.indexOf(one), 1);
  if (held) waiting[0]?.grant();
}
