/**
 * What the tabs of one browser share (storage, locks, channels), and tabs that can crash.
 *
 * Law of this file: a crashed tab does nothing any more, and the browser frees its locks; that is all a crash is.
 */

/** @import { ClientOptions } from "../../client.js" */

import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { IdbStorage } from "../../shell/idb_storage.js";
import { FakeServer } from "./fake_server.js";
import { VirtualTime } from "./virtual_time.js";
import { world } from "./world.js";

/**
 * @typedef {object} Network
 * @property {new (url: string, protocols?: string[]) => any} WebSocket
 * @property {(url: string, init: any) => Promise<Response>} fetch
 */

export class FakeBrowser {
  /**
   * @param {{locks?: boolean, time?: any, network?: Network}} [kind] locks: false is a page on plain http beyond
   *   localhost; time and network: real ones instead of virtual ones
   */
  constructor({ locks = true, time, network } = {}) {
    this.time = time ?? new VirtualTime();
    this.time.turns = 30;
    this.server = new FakeServer(this.time);
    /** @type {Network} */
    this.network = network ?? this.server;
    this.hasLocks = locks;
    /** @type {Map<string, {tab: Tab, grant: () => void, gone: boolean}[]>} holder first */
    this.locks = new Map();
    /** @type {Map<string, Set<{tab: Tab, onmessage: any}>>} */
    this.channels = new Map();
    // idb-keyval takes its database from the global object.
    Object.assign(globalThis, { indexedDB: new IDBFactory(), IDBKeyRange });
  }

  /** @param {Partial<ClientOptions>} [options] */
  open(options = {}) {
    return new Tab(this, options);
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
    /** @type {Set<any>} */
    this.sockets = new Set();
    const { time, server, network } = browser;
    const { sockets } = this;
    /** @type {any} */
    const environment = {
      WebSocket: class extends network.WebSocket {
        /** @param {string} url @param {string[]} [protocols] */
        constructor(url, protocols) {
          super(url, protocols);
          sockets.add(this);
        }
      },
      isPage: true,
      indexedDB: globalThis.indexedDB,
      locks: browser.hasLocks ? { request: this.#lock } : undefined,
      openChannel: this.#channel,
      setTimeout: (/** @type {() => void} */ work, /** @type {number} */ ms) =>
        time.setTimeout(() => this.crashed || work(), ms),
      fetch: (/** @type {string} */ url, /** @type {any} */ init) =>
        this.crashed ? new Promise(() => {}) : network.fetch(url, init),
      ...options.environment,
    };
    const storage = this.#storage();
    const { store, page, warnings } = world({ storage, ...options, environment, time, server });
    this.store = store;
    this.page = page;
    this.warnings = warnings;
  }

  /** The tab's process dies: no goodbye, no last write. */
  crash() {
    this.crashed = true;
    this.store.env.WebSocket = undefined;
    for (const socket of this.sockets) {
      Object.assign(socket, { onopen: null, onmessage: null, onclose: null });
      if (socket.terminate === undefined) socket.cut(1006);
      else socket.terminate();
    }
    for (const set of this.browser.channels.values()) {
      for (const end of [...set]) if (end.tab === this) set.delete(end);
    }
    for (const waiting of this.browser.locks.values()) {
      for (const one of [...waiting]) if (one.tab === this) free(waiting, one);
    }
  }

  /** The browser's storage, as this tab reaches it: a crash may come in the middle of anything. */
  #storage() {
    const storage = /** @type {any} */ (new IdbStorage());
    return new Proxy(storage, {
      get: (_, name) =>
        typeof storage[name] === "function" && this.crashed
          ? () => new Promise(() => {})
          : storage[name]?.bind(storage),
    });
  }

  #lock = (
    /** @type {string} */ name,
    /** @type {{signal?: AbortSignal}} */ { signal },
    /** @type {() => Promise<void>} */ held,
  ) =>
    new Promise((resolve, reject) => {
      const waiting = this.browser.locks.get(name) ?? [];
      this.browser.locks.set(name, waiting);
      const one = {
        tab: this,
        gone: false,
        grant: () =>
          void held()
            .then(() => free(waiting, one))
            .then(() => resolve(undefined)),
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
