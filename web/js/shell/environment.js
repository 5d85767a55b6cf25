/**
 * Everything that the client takes from the world: clocks, timers, chance, network, page, storage, other tabs.
 *
 * Law of this file: the only place that touches globals. Each part can be replaced by the application (an older Node
 * needs a WebSocket class) and by tests (virtual time, a scripted network).
 */

/**
 * @typedef {object} SocketLike what the client uses of a WebSocket
 * @property {number} readyState
 * @property {((event: any) => void) | null} onopen
 * @property {((event: {data: any}) => void) | null} onmessage
 * @property {((event: any) => void) | null} onerror
 * @property {((event: {code?: number, reason?: string}) => void) | null} onclose
 * @property {(text: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 *
 * @typedef {new (url: string, protocols?: string[]) => SocketLike} SocketClass
 *
 * @typedef {object} Page what the client has to know of the page it runs in
 * @property {() => boolean} isHidden
 * @property {() => boolean} isOffline
 * @property {(told: (change: "online" | "offline" | "visible" | "hidden" | "leaving") => void) => () => void} watch
 *   answers a function that ends the watching
 *
 * @typedef {object} ChannelLike what the client uses of a BroadcastChannel
 * @property {((event: {data: any}) => void) | null} onmessage
 * @property {(message: any) => void} postMessage
 * @property {() => void} close
 *
 * @typedef {object} LocksLike what the client uses of navigator.locks
 * @property {(name: string, options: {signal?: AbortSignal}, held: () => Promise<void>) => Promise<void>} request
 *
 * @typedef {object} Environment
 * @property {SocketClass | undefined} WebSocket
 * @property {(url: string, init: RequestInit) => Promise<Response>} fetch
 * @property {() => number} now a steady clock, milliseconds
 * @property {() => number} wall the wall clock, milliseconds since 1970
 * @property {(work: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random in [0, 1)
 * @property {(count: number) => Uint8Array} randomBytes
 * @property {boolean} isPage whether this is a browser's page, where storage is expected
 * @property {Page} page
 * @property {IDBFactory | undefined} indexedDB
 * @property {LocksLike | undefined} locks absent on plain http beyond localhost
 * @property {((name: string) => ChannelLike) | undefined} openChannel
 * @property {(warning: string) => void} warn
 */

/**
 * @param {Partial<Environment>} replaced
 * @returns {Environment}
 */
export function environment(replaced = {}) {
  const { WebSocket, BroadcastChannel, navigator, document } = /** @type {Partial<typeof globalThis>} */ (globalThis);
  // Node has a BroadcastChannel too, but no other tabs: an open one would keep the process from ending.
  const channels = document !== undefined && BroadcastChannel !== undefined;
  return {
    WebSocket: /** @type {any} */ (WebSocket),
    fetch: (url, init) => fetch(url, init),
    now: () => performance.now(),
    wall: () => Date.now(),
    setTimeout: (work, ms) => setTimeout(work, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    random: Math.random,
    randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    isPage: document !== undefined,
    page: document === undefined ? NO_PAGE : browserPage(),
    indexedDB: storageOrNone(() => globalThis.indexedDB),
    locks: document === undefined ? undefined : /** @type {any} */ (navigator?.locks),
    openChannel: channels ? (name) => /** @type {any} */ (new BroadcastChannel(name)) : undefined,
    warn: (warning) => console.warn(warning),
    ...replaced,
  };
}

/** Some browsers throw at the mere look when site data is blocked. @param {() => IDBFactory | undefined} look */
function storageOrNone(look) {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/** @type {Page} */
const NO_PAGE = { isHidden: () => false, isOffline: () => false, watch: () => () => {} };

/** @returns {Page} */
function browserPage() {
  return {
    isHidden: () => document.visibilityState === "hidden",
    isOffline: () => navigator.onLine === false,
    watch: (told) => {
      const online = () => told("online");
      const offline = () => told("offline");
      const leaving = () => told("leaving");
      const shown = () => told(document.visibilityState === "hidden" ? "hidden" : "visible");
      window.addEventListener("online", online);
      window.addEventListener("offline", offline);
      window.addEventListener("pagehide", leaving);
      document.addEventListener("visibilitychange", shown);
      return () => {
        window.removeEventListener("online", online);
        window.removeEventListener("offline", offline);
        window.removeEventListener("pagehide", leaving);
        document.removeEventListener("visibilitychange", shown);
      };
    },
  };
}
