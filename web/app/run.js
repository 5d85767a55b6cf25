/**
 * The run page: the pipeline, the people in it, what happened, and the way back in time.
 *
 * Law of this file: this page's parts and their wiring.
 */

/** @import { CollabEvent, OwnMessage } from "../js/index.js" */
/** @import { Shown } from "../state/picture.js" */
/** @import { Watcher } from "../elements/run-pipeline.js" */

import "../elements/define-connection-health.js";
import "../elements/run-feed.js";
import "../elements/run-pipeline.js";
import "../elements/run-timeline.js";
import { avatar } from "../elements/avatar.js";
import { eachFrame, fill, h, keyed, setAttribute, setText } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { FeedRows } from "../state/feed.js";
import { momentSentence, momentWords, numberAt } from "../state/past.js";
import { colourOf, userOfToken } from "../state/people.js";
import { picture, withPending } from "../state/picture.js";
import { runOfPath, shortRunId } from "../state/references.js";
import { announcement } from "../state/sentences.js";
import { stepsOf } from "../state/steps.js";
import { askIdentity, askToken } from "./dialogs.js";
import { Announcer, copy, header, meButton, state, toast } from "./frame.js";
import { storedIdentity, storedToken, storeIdentity } from "./identity.js";
import { Membership } from "./membership.js";
import { noticeOf, RESETS } from "./notices.js";
import { SERVER } from "./server.js";

const KNOWN_AGENTS = ["security-scanner-v1", "performance-profiler-v1", "docs-reviewer-v1", "test-writer-v2"];
const SHOWN_PEOPLE = 6;

const page = /** @type {HTMLElement} */ (document.querySelector("main"));
const { text: named, runId } = runOfPath(location.pathname);

function noRunPage() {
  document.title = "No such run · collabd";
  header({ current: "runs" });
  page.classList.add("blank");
  const text = [
    h("span", {}, "“", h("bdi", { class: "wrap" }, named.slice(0, 120)), "” is no run id. "),
    "An id looks like 3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d: check that the link was copied whole.",
  ];
  const lobby = h("a", { class: "button primary", href: SERVER.href }, "All runs");
  fill(page, state({ emblem: "link", title: "This link leads to no run", text, actions: [lobby], isPage: true }));
}

/** The page of one run; its parts are made once and shown again whenever something changed. */
class RunPage {
  /** @param {string} id */
  constructor(id) {
    this.runId = id;
    this.steps = stepsOf(location.search);
    this.identity = storedIdentity();
    /** After how many events the picture stands; null: live. @type {number | null} */
    this.index = null;
    /** @type {Membership | null} */
    this.membership = null;
    this.storageNotice = false;
    this.pipeline = h("run-pipeline");
    this.feed = h("run-feed", { role: "group", "aria-label": "Events" });
    this.timeline = h("run-timeline");
    this.health = h("app-connection-health");
    this.people = h("ul", { class: "people", "aria-label": "In this run" });
    this.notices = h("div", { class: "notices", role: "status" });
    this.eventCount = h("span", { class: "tag figures" });
    this.past = h("span", { class: "tag warn figures" });
    this.hint = h(
      "p",
      { class: "hint" },
      "Point at a step to show the others where you look. Keys on a step: G graft, P prune, F flag.",
    );
    this.stage = h("section", { class: "card stage", "aria-labelledby": "stage" });
    this.announcer = new Announcer((/** @type {CollabEvent[]} */ events) => announcement(events, this.me));
    this.draw = eachFrame(() => this.#draw());
    this.#build();
    this.#listen();
  }

  get me() {
    return this.identity?.userId ?? "";
  }

  #build() {
    document.title = `Run ${shortRunId(this.runId)} · collabd`;
    this.#drawHeader();
    fill(
      this.stage,
      h("div", { class: "stage-head" }, h("h2", { id: "stage" }, "Pipeline"), this.past, this.hint),
      h("div", { class: "stage-body" }, this.pipeline),
      h("div", { class: "stage-time" }, this.timeline),
    );
    const side = h(
      "section",
      { class: "card side", "aria-labelledby": "feed" },
      h("header", {}, h("h2", { id: "feed" }, "What happened"), this.eventCount),
      this.feed,
    );
    const work = h("div", { class: "work" }, this.notices, h("div", { class: "card health" }, this.health), this.stage);
    fill(page, work, side);
    this.#draw();
  }

  #drawHeader() {
    const share = h(
      "button",
      {
        class: "icon-button",
        type: "button",
        "aria-label": "Copy the link to this run",
        title: "Copy the link to this run",
        onclick: () => void this.#share(),
      },
      icon("link"),
    );
    const title = h(
      "div",
      { class: "run-id" },
      h("h1", {}, h("span", { class: "unseen" }, "Run "), shortRunId(this.runId)),
      share,
    );
    header({
      current: "runs",
      middle: [title],
      end: [this.people, meButton(this.identity, () => void this.#changeIdentity())],
    });
  }

  #listen() {
    this.pipeline.addEventListener("graft", (event) =>
      this.#send((store) => store.sendGraft(detail(event).after, detail(event).agentName)),
    );
    this.pipeline.addEventListener("prune", (event) =>
      this.#send((store) => store.sendPrune(detail(event).stepId, detail(event).isPruned)),
    );
    this.pipeline.addEventListener("flag", (event) =>
      this.#send((store) => store.sendFlag(detail(event).stepId, detail(event).note)),
    );
    this.pipeline.addEventListener("look", (event) => this.membership?.look(detail(event).nodeId));
    this.timeline.addEventListener("seek", (event) => this.#seek(detail(event).index));
    this.feed.addEventListener("select", (event) =>
      this.#seek(this.membership?.history.indexAfter(detail(event).sequenceNumber) ?? null),
    );
    this.feed.addEventListener("retry", (event) => this.#retry(detail(event).message));
    this.feed.addEventListener("dismiss", (event) => this.#dismiss(detail(event).clientMessageId));
  }

  async start() {
    const fromToken = userOfToken(storedToken() ?? "");
    if (fromToken !== null) this.#is({ userId: fromToken, color: this.identity?.color ?? colourOf(fromToken) });
    if (this.identity === null) {
      const chosen = await askIdentity({ identity: null, title: "Join this run", action: "Join", canCancel: false });
      if (chosen !== null) this.#is(chosen);
    }
    this.#enter();
  }

  /** @param {import("./identity.js").Identity} identity */
  #is(identity) {
    this.identity = identity;
    storeIdentity(identity);
    this.#drawHeader();
  }

  #enter() {
    if (this.identity === null) return;
    this.membership?.leave();
    this.index = null;
    this.membership = new Membership(this.runId, this.identity, {
      onChange: () => this.draw(),
      onLive: (event) => this.announcer.say(event),
      onReset: ({ reason }) => this.#wasReset(reason),
      onProblem: ({ code }) => this.#met(code),
      askToken: () => this.#tokenAgain(),
    });
    this.membership.join();
  }

  async #changeIdentity() {
    const named = userOfToken(storedToken() ?? "");
    const chosen = await askIdentity({
      identity: this.identity,
      title: "You",
      action: "Save",
      nameIsFixed: named !== null,
    });
    if (chosen === null) return;
    const isSame = chosen.userId === this.me;
    this.#is(chosen);
    if (!isSame || this.membership === null) return this.#enter();
    this.membership.identity = chosen;
    this.membership.look();
    this.draw();
  }

  #tokenAgain() {
    const why = "The server refused your access token, or it is about to expire. What you do meanwhile is kept.";
    return askToken({ title: "A new access token is needed", why, namesUser: true });
  }

  async #giveToken() {
    const why = "This server lets in whoever has an access token. Paste the one that you were given.";
    const token = await askToken({ title: "Sign in", why, namesUser: true });
    const userId = userOfToken(token ?? "");
    if (token === null || userId === null || this.membership === null) return;
    const isSame = userId === this.me;
    this.#is({ userId, color: this.identity?.color ?? colourOf(userId) });
    if (isSame) return this.membership.rejoinWith(token);
    this.membership.identity = { userId, color: this.identity?.color ?? colourOf(userId) };
    this.membership.rejoinWith(token);
  }

  async #share() {
    const isCopied = await copy(location.href);
    toast(
      isCopied
        ? "The link is on the clipboard."
        : "This browser does not let the page copy: take the link from the address bar.",
    );
  }

  /** @param {string} reason */
  #wasReset(reason) {
    this.index = null;
    toast(RESETS[reason] ?? "The run's history was replaced; this is the run as it is now.");
  }

  /** @param {string} code */
  #met(code) {
    if (code === "storage_blocked") this.storageNotice = true;
    this.draw();
  }

  /** @param {(store: import("../js/index.js").StreamStore) => unknown} act */
  #send(act) {
    try {
      if (this.membership !== null) act(this.membership.store);
    } catch (error) {
      toast(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {OwnMessage} message */
  #retry(message) {
    this.#send((store) => store.send(message.eventType, message.data));
    this.#dismiss(message.clientMessageId);
  }

  /** @param {string} clientMessageId */
  #dismiss(clientMessageId) {
    this.membership?.dismissed.add(clientMessageId);
    this.draw();
  }

  /** @param {number | null} index */
  #seek(index) {
    const total = this.membership?.history.events.length ?? 0;
    this.index = index === null || index > total ? null : index;
    this.draw();
  }

  #draw() {
    const { membership } = this;
    const pending = membership?.pending() ?? [];
    this.#drawStage(pending);
    if (membership === null) return;
    const { store, history } = membership;
    setText(this.eventCount, String(history.events.length));
    this.feed.show({
      rows: new FeedRows(history, pending),
      me: this.me,
      colourOf: (user) => this.#colour(user),
      selected: numberAt(history, this.index),
    });
    this.timeline.show({
      total: history.events.length,
      index: this.index,
      describe: (index) => momentSentence(history, index, Date.now()),
    });
    this.#drawHealth(store);
    this.#drawPeople(store.activeUsers());
    this.#drawNotices();
  }

  /** @param {import("../js/index.js").StreamStore} store */
  #drawHealth(store) {
    const isFirst = store.connectionState() === "connecting" && this.membership?.isJoined !== true;
    if (isFirst && this.health.health === null) return;
    this.health.health = store.connectionHealth();
    this.health.queuedMessages = store.queuedMessageCount();
    this.health.usingFallback = store.usingFallback();
  }

  /** @param {OwnMessage[]} pending */
  #drawStage(pending) {
    const { membership, index } = this;
    const history = membership?.history;
    const isLive = index === null;
    const places = history === undefined ? new Map() : history.placesAt(index ?? history.events.length);
    const onTop = pending.filter(({ state: of }) => of !== "rejected").map((message) => asShown(message, this.me));
    const drawn = picture(this.steps, isLive ? withPending(places, onTop) : places);
    const isClosed = membership !== null && membership.store.connectionState() === "closed";
    this.pipeline.show({
      picture: drawn,
      watchers: isLive ? this.#watchers() : new Map(),
      isReadOnly: !isLive || isClosed || membership === null,
      agents: this.#agents(),
    });
    setAttribute(this.stage, "data-past", !isLive);
    this.past.hidden = isLive;
    this.hint.hidden = !isLive;
    setText(this.past, isLive || history === undefined ? "" : `As it was ${momentWords(history, index)}`);
  }

  #agents() {
    const used = this.membership?.history.now.values() ?? [];
    const names = [...used]
      .filter(({ eventType }) => eventType === "GRAFT")
      .map(({ data }) => String(data.agentName ?? ""));
    return [...new Set([...names.filter((name) => name !== ""), ...KNOWN_AGENTS])].slice(0, 30);
  }

  /** @returns {Map<string, Watcher[]>} */
  #watchers() {
    /** @type {Map<string, Watcher[]>} */
    const watchers = new Map();
    const cursors = this.membership?.store.cursorPositions() ?? {};
    for (const userId of this.membership?.store.activeUsers() ?? []) {
      const nodeId = cursors[userId]?.nodeId;
      if (userId === this.me || typeof nodeId !== "string") continue;
      watchers.set(nodeId, [...(watchers.get(nodeId) ?? []), { userId, colour: this.#colour(userId) }]);
    }
    return watchers;
  }

  /** @param {string} userId */
  #colour(userId) {
    if (userId === this.me && this.identity !== null) return this.identity.color;
    return colourOf(userId, this.membership?.store.cursorPositions.peek()[userId]);
  }

  /** @param {readonly string[]} users */
  #drawPeople(users) {
    const others = users.filter((user) => user !== this.me);
    const shown = others.slice(0, SHOWN_PEOPLE).map((userId) => ({ userId, more: 0 }));
    const more = others.length - shown.length;
    const items = more > 0 ? [...shown, { userId: "", more }] : shown;
    keyed(this.people, items, {
      key: ({ userId }) => userId,
      make: ({ userId }) =>
        userId === ""
          ? h("li", { class: "more" })
          : h("li", {}, avatar(userId, this.#colour(userId)), h("span", { class: "unseen" }, userId)),
      update: (item, { userId, more: count }) => {
        if (userId === "") setText(item, `+${count}`);
        else setAttribute(item.firstElementChild, "data-colour", this.#colour(userId));
      },
    });
    this.people.hidden = items.length === 0;
  }

  #drawNotices() {
    const { store } = /** @type {Membership} */ (this.membership);
    const notice = noticeOf(store.connectionState(), store.problem());
    const shown = [
      ...(notice === null ? [] : [{ ...notice, key: notice.text }]),
      ...(this.storageNotice
        ? [
            {
              text: "This browser gives the page no storage: changes that wait to be sent are lost with a reload.",
              action: null,
              isBad: false,
              key: "storage",
            },
          ]
        : []),
    ];
    keyed(this.notices, shown, {
      key: ({ key }) => key,
      make: ({ text, action, isBad }) =>
        h(
          "div",
          { class: isBad ? "notice bad" : "notice" },
          icon("warning"),
          h("p", {}, text),
          this.#noticeButton(action),
        ),
      update: () => {},
    });
  }

  /** @param {string | null} action */
  #noticeButton(action) {
    if (action === "lobby") return h("a", { class: "button small", href: SERVER.href }, "All runs");
    if (action === "token")
      return h(
        "button",
        { class: "button small", type: "button", onclick: () => void this.#giveToken() },
        "Give a token",
      );
    if (action === "again")
      return h(
        "button",
        { class: "button small", type: "button", onclick: () => this.membership?.join() },
        "Join again",
      );
    return null;
  }
}

/** @param {Event} event */
function detail(event) {
  return /** @type {CustomEvent} */ (event).detail;
}

/** An own message as an event that is not in force yet. @param {OwnMessage} message @param {string} me @returns {Shown} */
function asShown({ eventType, data, clientMessageId, state: pendingState }, me) {
  return { eventType, data, clientMessageId, pendingState, userId: me, timestamp: Date.now(), isCritical: true };
}

if (runId === null) noRunPage();
else void new RunPage(runId).start();
