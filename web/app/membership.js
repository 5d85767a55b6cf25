/**
 * This browser's membership in a run: client, history, and the token where one is needed.
 *
 * Law of this file: no page content. It tells `onChange` whenever something that is shown may have changed.
 */

/** @import { CollabEvent, OwnMessage, Reset, StreamStore } from "../js/index.js" */
/** @import { Identity } from "./identity.js" */

import { createCollabClient } from "../js/index.js";
import { onTheirWay } from "../state/feed.js";
import { RunHistory } from "../state/history.js";
import { colourOf } from "../state/people.js";
import { storedToken, storeToken } from "./identity.js";
import { SERVER } from "./server.js";

/**
 * @typedef {object} Told
 * @property {() => void} onChange
 * @property {(event: CollabEvent) => void} onLive an event that came while the page was there
 * @property {(reset: Reset) => void} onReset
 * @property {(problem: import("../js/index.js").CollabdError) => void} onProblem
 * @property {(message: OwnMessage) => void} onRejected once for each own message that will not be committed
 * @property {(isRefused: boolean) => Promise<string | null>} askToken null: none is given now
 */

export class Membership {
  history = new RunHistory();
  /** Rejected messages that the user has seen. @type {Set<string>} */
  dismissed = new Set();
  isJoined = false;
  /** The colours that people have told, also of those who have left. @type {Map<string, any>} */
  #colours = new Map();
  /** Rejected messages that were told. @type {Set<string>} */
  #rejected = new Set();
  /** What one looks at. @type {string | null} */
  #at = null;
  #isDeclined = false;

  /**
   * @param {string} runId
   * @param {Identity} identity
   * @param {Told} told
   */
  constructor(runId, identity, told) {
    this.runId = runId;
    this.identity = identity;
    this.told = told;
    /** @type {(() => void)[]} */
    this.endings = [];
    this.store = this.#open();
  }

  /** @returns {StreamStore} */
  #open() {
    const { told } = this;
    const { userId } = this.identity;
    const token = storedToken() === null ? {} : { token: this.#tokens() };
    const store = createCollabClient({ url: SERVER.href, userId, ...token });
    const shown = [
      store.connectionHealth,
      store.ownMessages,
      store.activeUsers,
      store.cursorPositions,
      store.connectionState,
      store.problem,
    ];
    this.endings = [
      store.onEvent((event) => this.#happened(event)),
      store.onReset((reset) => this.#reset(reset)),
      store.onProblem(told.onProblem),
      ...shown.map((each) => each.subscribe(() => told.onChange())),
      store.ownMessages.subscribe((messages) => this.#tellRejected(messages)),
      store.cursorPositions.subscribe((cursors) => {
        for (const [userId, cursor] of Object.entries(cursors)) this.#colours.set(userId, cursor);
      }),
      // The server forgets cursors with a restart, and with who was away for long: it is told again at each return.
      store.connectionState.subscribe((state) => {
        if (state === "live" || state === "polling") this.look(this.#at);
      }),
    ];
    return store;
  }

  /** Go into the run, or into it again. */
  join() {
    this.history.clear();
    this.isJoined = false;
    const { store } = this;
    store.connectToRun(this.runId).then(
      () => {
        if (store !== this.store) return;
        this.isJoined = true;
        this.told.onChange();
      },
      () => this.told.onChange(),
    );
  }

  /** Leave, at once: what is not committed stays queued for the next time. */
  leave() {
    for (const end of this.endings.splice(0)) end();
    void this.store.close({ waitMs: 0 });
  }

  /** Come back with a token that was given just now. @param {string} token */
  rejoinWith(token) {
    storeToken(token);
    this.#isDeclined = false;
    this.leave();
    this.store = this.#open();
    this.join();
  }

  /** @returns {() => Promise<string>} the token in store first; asked again it was refused, or is about to expire */
  #tokens() {
    /** @type {string | null} */
    let shown = null;
    return async () => {
      const stored = storedToken();
      if (stored !== null && stored !== shown) return (shown = stored);
      const given = this.#isDeclined ? null : await this.told.askToken(true);
      if (given === null) {
        // Not to be asked at every try to reconnect; the page offers it.
        this.#isDeclined = true;
        throw new Error("no access token was given");
      }
      storeToken(given);
      return (shown = given);
    };
  }

  /** @param {readonly OwnMessage[]} messages */
  #tellRejected(messages) {
    for (const message of messages) {
      if (message.state !== "rejected" || this.#rejected.has(message.clientMessageId)) continue;
      this.#rejected.add(message.clientMessageId);
      this.told.onRejected(message);
    }
  }

  /** @param {string} userId */
  colourOf(userId) {
    return userId === this.identity.userId ? this.identity.color : colourOf(userId, this.#colours.get(userId));
  }

  /** Own messages that the history does not show yet, oldest first. @returns {OwnMessage[]} */
  pending() {
    const waiting = onTheirWay(this.store.ownMessages(), this.history.head);
    return waiting.filter(({ clientMessageId }) => !this.dismissed.has(clientMessageId));
  }

  /** Tell the others where one looks, and in what colour one is shown. @param {string | null} [nodeId] null: nowhere */
  look(nodeId = this.#at) {
    this.#at = nodeId;
    const { color } = this.identity;
    try {
      this.store.sendCursorMove(nodeId, { color });
    } catch {
      // Not in a run: nobody to tell.
    }
  }

  /** @param {CollabEvent} event */
  #happened(event) {
    if (event.eventType === "CURSOR_MOVE") return;
    this.history.add(event, this.store.runInfo.peek().oldestSequence);
    if (this.isJoined) this.told.onLive(event);
    this.told.onChange();
  }

  /** @param {Reset} reset */
  #reset(reset) {
    const { oldestSequence } = this.store.runInfo.peek();
    this.history.clear();
    // Their numbers belong to the history that is gone.
    for (const { state, clientMessageId } of this.store.ownMessages.peek()) {
      if (state === "committed") this.dismissed.add(clientMessageId);
    }
    for (const event of reset.events) this.history.add(event, oldestSequence);
    this.told.onReset(reset);
    this.told.onChange();
  }
}
