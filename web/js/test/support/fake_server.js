/**
 * A collabd in a few lines, to talk to in virtual time: it keeps the promises of docs/protocol.md that clients lean on,
 * and breaks the network on command.
 *
 * Law of this file: what a test changes is a field; what a test looks at is a field.
 */

/** @import { VirtualTime } from "./virtual_time.js" */

const PERSISTED = new Set(["GRAFT", "PRUNE", "FLAG"]);

/** @typedef {{sessionId: string, userId: string, socket: FakeSocket}} LiveSession */

export class FakeServer {
  /** @param {VirtualTime} time */
  constructor(time) {
    this.time = time;
    this.epoch = "epoch-1";
    /** @type {any[]} retained persisted events */
    this.events = [];
    this.head = 0;
    /** @type {any[]} */
    this.runState = [];
    /** @type {Map<string, number>} user and clientMessageId → number */
    this.known = new Map();
    /** @type {Set<LiveSession>} */
    this.live = new Set();
    /** @type {URL[]} every upgrade that was tried */
    this.dials = [];
    /** @type {number[]} when, on the steady clock */
    this.dialTimes = [];
    /** @type {string[][]} */
    this.protocols = [];
    /** @type {{url: URL, init: any}[]} every HTTP request */
    this.requests = [];
    /** @type {any[]} every frame that clients sent */
    this.received = [];
    /** nothing answers at all */
    this.down = false;
    /** upgrades fail, HTTP works */
    this.noWebSocket = false;
    /** every WebSocket is cut this long after its upgrade, milliseconds */
    this.cutAfterMs = Infinity;
    /** the upgrade goes through and nothing follows */
    this.mute = false;
    /** @type {(frame: any) => any} what to answer instead of committing: an ERROR's data */
    this.refuse = () => undefined;
    /** @type {(frame: any) => boolean} */
    this.swallowAck = () => false;
    /** the upgrade goes through, and WELCOME takes this long, milliseconds */
    this.welcomeDelayMs = 0;
    /** @type {(url: URL, init: any) => Response | null | Promise<Response | null>} */
    this.intercept = () => null;
    /** @type {(welcome: any) => any} */
    this.welcome = (welcome) => welcome;
    this.heartbeatIntervalMs = 10_000;
    this.maxMessageBytes = 65_536;
    /** how far the server's clock is ahead of the client's, milliseconds */
    this.clockAheadMs = 0;
    const server = this;
    this.WebSocket = class extends FakeSocket {
      /**
       * @param {string} url
       * @param {string[]} [protocols]
       */
      constructor(url, protocols = []) {
        super(server, url, protocols);
      }
    };
  }

  /**
   * @param {string} userId
   * @param {any} frame
   * @returns {any} ACK's or ERROR's data
   */
  handle(userId, frame) {
    const { eventType, data, clientMessageId } = frame;
    const refusal = this.refuse(frame);
    if (refusal !== undefined) return { message: "no", clientMessageId, ...refusal };
    const key = `${userId} ${clientMessageId}`;
    const known = this.known.get(key);
    if (known !== undefined) return { clientMessageId, sequenceNumber: known, duplicate: true };
    if (!PERSISTED.has(eventType)) {
      this.tell({ eventType, userId, data, clientMessageId, timestamp: this.wall(), isCritical: false });
      return { clientMessageId, duplicate: false };
    }
    const event = this.commit(userId, eventType, data, clientMessageId);
    this.known.set(key, event.sequenceNumber);
    return { clientMessageId, sequenceNumber: event.sequenceNumber, duplicate: false };
  }

  /**
   * @param {string} userId
   * @param {string} eventType
   * @param {any} data
   * @param {string} [clientMessageId]
   */
  commit(userId, eventType, data, clientMessageId) {
    const sequenceNumber = ++this.head;
    const timestamp = this.wall();
    const event = { eventType, userId, timestamp, sequenceNumber, data, isCritical: true, clientMessageId };
    this.events.push(event);
    this.tell(event);
    return event;
  }

  /** @param {any} event */
  tell(event) {
    for (const { socket } of this.live) socket.deliver(event);
  }

  /** @param {number} count forgets the oldest */
  trim(count) {
    this.runState.push(...this.events.splice(0, count));
  }

  /** The database is replaced. @param {string} epoch */
  replaceHistory(epoch) {
    this.epoch = epoch;
    this.events = [];
    this.runState = [];
    this.head = 0;
    this.known.clear();
  }

  wall() {
    return this.time.wall() + this.clockAheadMs;
  }

  get oldest() {
    return this.events[0]?.sequenceNumber ?? this.head + 1;
  }

  get users() {
    return [...new Set([...this.live].map(({ userId }) => userId))].sort();
  }

  /** @param {URL} url */
  resume(url) {
    const asked = url.searchParams.get("afterSequence");
    const after = Number(asked ?? 0);
    const epoch = url.searchParams.get("epoch");
    if (asked === null || (epoch === null && after === 0))
      return { recovered: false, after: 0, resetReason: undefined };
    const resetReason =
      epoch !== this.epoch
        ? "epoch_changed"
        : after > this.head
          ? "ahead_of_log"
          : after < this.oldest - 1
            ? "trimmed"
            : undefined;
    return { recovered: resetReason === undefined, after, resetReason };
  }

  /** Cuts every WebSocket as a lost network does. @param {number} [code] */
  cut(code) {
    for (const { socket } of [...this.live]) socket.cut(code);
  }

  /** @param {string} url @param {any} init @returns {Promise<Response>} */
  fetch = async (url, init) => {
    const parsed = new URL(url);
    this.requests.push({ url: parsed, init });
    if (this.down) throw new TypeError("fetch failed");
    const intercepted = await this.intercept(parsed, init);
    if (intercepted !== null) return intercepted;
    const route = parsed.pathname.split("/").at(-1);
    if (route === "poll") return Response.json(this.#poll(parsed));
    if (route === "replay") return Response.json(this.#replay(parsed));
    if (route === "events") return Response.json(this.#publish(parsed, JSON.parse(init.body)));
    return Response.json({ maxReconnectAttempts: 5, pollingIntervalMs: 2000, messageRetryLimit: 3 });
  };

  /** @param {URL} url */
  #poll(url) {
    const { recovered, after, resetReason } = this.resume(url);
    const limit = Number(url.searchParams.get("limit"));
    const events = this.events.filter((event) => event.sequenceNumber > (recovered ? after : 0));
    const userId = url.searchParams.get("userId");
    return {
      userId,
      sessionId: url.searchParams.get("sessionId") ?? `polling-${userId}`,
      epoch: this.epoch,
      sequenceNumber: this.head,
      oldestSequence: this.oldest,
      recovered,
      resetReason,
      runState: recovered ? [] : this.runState,
      events: events.slice(0, limit),
      hasMore: events.length > limit,
      activeUsers: this.users,
      cursorPositions: {},
      nextPollMs: 2000,
    };
  }

  /** @param {URL} url */
  #replay(url) {
    const from = Number(url.searchParams.get("fromSequence"));
    const events = this.events.filter((event) => event.sequenceNumber >= from);
    return { epoch: this.epoch, sequenceNumber: this.head, oldestSequence: this.oldest, events, nextSequence: null };
  }

  /** @param {URL} url @param {any} body */
  #publish(url, body) {
    const userId = url.searchParams.get("userId") ?? "";
    let stopped = false;
    const acks = (body.events ?? [body]).map((/** @type {any} */ frame) => {
      this.received.push(frame);
      if (frame.eventType === "CLIENT_HEALTH") return {};
      if (stopped) return { code: "not_attempted", retryable: true, clientMessageId: frame.clientMessageId };
      const answer = this.handle(userId, frame);
      stopped = answer.retryable === true;
      return answer;
    });
    return { acks };
  }
}

/** One WebSocket, seen from the client. */
export class FakeSocket {
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: {data: any}) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onerror = null;
  /** @type {((event: {code?: number, reason?: string}) => void) | null} */
  onclose = null;
  readyState = 0;
  /** @type {number | undefined} what the client closed with */
  closedWith;
  /** the network swallows what either side says */
  dead = false;
  /** @type {string | null} the persisted message that has to come again first */
  waitingFor = null;

  /**
   * @param {FakeServer} server
   * @param {string} url
   * @param {string[]} protocols
   */
  constructor(server, url, protocols) {
    this.server = server;
    this.url = new URL(url);
    server.dials.push(this.url);
    server.dialTimes.push(server.time.now());
    server.protocols.push(protocols);
    server.time.setTimeout(() => this.#answer(), 1);
  }

  #answer() {
    const { server } = this;
    if (this.readyState !== 0) return;
    if (server.down || server.noWebSocket) return this.cut(1006);
    this.readyState = 1;
    this.onopen?.({});
    if (server.cutAfterMs < Infinity) server.time.setTimeout(() => this.cut(1006), server.cutAfterMs);
    if (server.welcomeDelayMs > 0) server.time.setTimeout(() => this.#welcome(), server.welcomeDelayMs);
    else if (!server.mute) this.#welcome();
  }

  #welcome() {
    const { server, url } = this;
    const { recovered, after, resetReason } = server.resume(url);
    const userId = url.searchParams.get("userId") ?? "";
    const sessionId = url.searchParams.get("sessionId") ?? `session-${server.dials.length}`;
    this.session = { sessionId, userId, socket: this };
    server.live.add(this.session);
    const replay = server.events.filter((event) => !recovered || event.sequenceNumber > after);
    const data = {
      sessionId,
      runId: "",
      userId,
      epoch: server.epoch,
      sequenceNumber: server.head,
      oldestSequence: server.oldest,
      recovered,
      resetReason,
      replayCount: replay.length,
      runState: recovered ? [] : server.runState,
      activeUsers: server.users,
      cursorPositions: {},
      serverTime: server.wall(),
      heartbeatIntervalMs: server.heartbeatIntervalMs,
      maxMessageBytes: server.maxMessageBytes,
    };
    this.deliver({ eventType: "WELCOME", data: server.welcome(data) });
    for (const event of replay) this.deliver(event);
  }

  /** @param {any} frame */
  deliver(frame) {
    const text = JSON.stringify(frame);
    this.server.time.setTimeout(() => {
      if (this.readyState === 1 && !this.dead) this.onmessage?.({ data: text });
    }, 1);
  }

  /** @param {string} text */
  send(text) {
    if (this.readyState !== 1) throw new Error("not open");
    if (this.dead) return;
    this.server.time.setTimeout(() => this.#receive(JSON.parse(text)), 1);
  }

  /** @param {any} frame */
  #receive(frame) {
    const { server } = this;
    if (this.readyState !== 1 || server.down) return;
    server.received.push(frame);
    const { eventType, data, clientMessageId } = frame;
    if (eventType === "PING") {
      return this.deliver({ eventType: "PONG", data: { sentAt: data.sentAt, serverTime: server.wall() } });
    }
    if (eventType === "AUTH") return this.deliver({ eventType: "AUTH_OK", data: {} });
    if (eventType === "CLIENT_HEALTH") return;
    if (this.waitingFor !== null && this.waitingFor !== clientMessageId) {
      return this.deliver({ eventType: "ERROR", data: { ...this.refusal, clientMessageId } });
    }
    this.waitingFor = null;
    const answer = server.handle(this.session?.userId ?? "", frame);
    if (answer.retryable === true && clientMessageId !== undefined) {
      this.waitingFor = clientMessageId;
      this.refusal = answer;
    }
    if (answer.code !== undefined) this.deliver({ eventType: "ERROR", data: answer });
    else if (clientMessageId !== undefined && !server.swallowAck(frame))
      this.deliver({ eventType: "ACK", data: answer });
  }

  /** @param {number} [code] as the client sees it @param {string} [reason] */
  cut(code = 1006, reason = "") {
    if (this.readyState === 3) return;
    this.readyState = 3;
    if (this.session !== undefined) this.server.live.delete(this.session);
    this.onerror?.({});
    this.onclose?.({ code, reason });
  }

  /** @param {number} [code] */
  close(code = 1005) {
    this.closedWith = code;
    if (this.dead) {
      this.readyState = 2;
      return;
    }
    this.server.time.setTimeout(() => this.cut(code), 1);
  }
}
