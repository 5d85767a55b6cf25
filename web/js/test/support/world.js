/**
 * A client in a world of its own: virtual time, a scripted server, a page that can be hidden and offline.
 *
 * Law of this file: set-up only.
 */

/** @import { ClientOptions } from "../../client.js" */

import { createCollabClient } from "../../client.js";
import { FakeServer } from "./fake_server.js";
import { VirtualTime } from "./virtual_time.js";

export const RUN = "123e4567-e89b-42d3-a456-426614174000";

/** A browser's page, as far as the client looks at it. */
export class FakePage {
  hidden = false;
  offline = false;
  /** @type {Set<(change: any) => void>} */
  watchers = new Set();

  isHidden = () => this.hidden;

  isOffline = () => this.offline;

  watch = (/** @type {(change: any) => void} */ told) => {
    this.watchers.add(told);
    return () => void this.watchers.delete(told);
  };

  /** @param {"online" | "offline" | "visible" | "hidden" | "leaving"} change */
  becomes(change) {
    if (change === "online" || change === "offline") this.offline = change === "offline";
    if (change === "visible" || change === "hidden") this.hidden = change === "hidden";
    for (const told of [...this.watchers]) told(change);
  }
}

/** Chance that a test can repeat. @param {number} seed */
function seededBytes(seed) {
  let state = seed;
  return (/** @type {number} */ count) =>
    Uint8Array.from({ length: count }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 16;
    });
}

let seeds = 0;

/**
 * @param {Partial<ClientOptions> & {time?: VirtualTime, server?: FakeServer}} [options]
 */
export function world(options = {}) {
  const time = options.time ?? new VirtualTime();
  const server = options.server ?? new FakeServer(time);
  const page = new FakePage();
  /** @type {string[]} */
  const warnings = [];
  const { now, wall, setTimeout, clearTimeout } = time;
  const environment = {
    WebSocket: server.WebSocket,
    fetch: server.fetch,
    now,
    wall,
    setTimeout,
    clearTimeout,
    random: () => 0.5,
    randomBytes: seededBytes(++seeds),
    page,
    warn: (/** @type {string} */ text) => void warnings.push(text),
    ...options.environment,
  };
  const url = "http://collab.test";
  const store = createCollabClient({ url, userId: "ann", ...options, environment });
  return { time, server, page, store, warnings };
}

/** The persisted numbers that an application was handed. @param {readonly any[]} events */
export function numbers(events) {
  return events.map((event) => event.sequenceNumber).filter((number) => number !== undefined);
}
