/**
 * The run page: the pipeline, the people in it, what happened, and the way back in time.
 *
 * Law of this file: this page's parts and their wiring.
 */

/** @import { CollabEvent, OwnMessage } from "../js/index.js" */
/** @import { Shown } from "../state/picture.js" */
/** @import { Membership } from "./membership.js" */

import "../elements/define-connection-health.js";
import "../elements/run-feed.js";
import "../elements/run-pipeline.js";
import "../elements/run-timeline.js";
import { eachFrame, fill, h, setAttribute, setText } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { FeedRows } from "../state/feed.js";
import { statusOf } from "../state/health.js";
import { momentSentence, momentWords, numberAt } from "../state/past.js";
import { colourOf } from "../state/people.js";
import { picture, withPending } from "../state/picture.js";
import { runOfPath, shortRunId } from "../state/references.js";
import { announcement, rejection } from "../state/sentences.js";
import { stepsOf } from "../state/steps.js";
import { Announcer, copy, header, meButton, toast } from "./frame.js";
import { showNoRun } from "./no_run.js";
import { NoticeList } from "./notice_list.js";
import { nameTaken, noticeOf, NO_STORAGE, RESETS } from "./notices.js";
import { RunPeople, watchersOf } from "./run_people.js";
import { Seat } from "./seat.js";

const KNOWN_AGENTS = ["security-scanner-v1", "performance-profiler-v1", "docs-reviewer-v1", "test-writer-v2"];
const OFFERED_AGENTS = 30;
const HINT = "Point at a step to show the others where you look. Keys on a step: G graft, P prune, F flag.";
const NO_COPY = "This browser does not let the page copy: take the link from the address bar.";

const page = /** @type {HTMLElement} */ (document.querySelector("main"));
const { text: named, runId } = runOfPath(location.pathname);

/** The page of one run; its parts are made once and shown again whenever something changed. */
class RunPage {
  /** @param {string} id */
  constructor(id) {
    this.runId = id;
    this.steps = stepsOf(location.search);
    /** After how many events the picture stands; null: live. @type {number | null} */
    this.index = null;
    this.isStorageBlocked = false;
    this.pipeline = h("run-pipeline");
    this.feed = h("run-feed", { role: "group", "aria-label": "Events" });
    this.timeline = h("run-timeline");
    this.health = h("app-connection-health");
    this.people = new RunPeople();
    this.notices = new NoticeList((action) => this.#act(action));
    this.eventCount = h("span", { class: "tag figures" });
    this.past = h("span", { class: "tag warn figures" });
    this.hint = h("p", { class: "hint" }, HINT);
    this.stage = h("section", { class: "card stage", "aria-labelledby": "stage" });
    this.draw = eachFrame(() => this.#draw());
    this.seat = new Seat(id, {
      onEnter: () => (this.index = null),
      onIdentity: () => this.#drawHeader(),
      onChange: () => this.draw(),
      onLive: (event) => this.announcer.say(event),
      onReset: ({ reason }) => this.#wasReset(reason),
      onProblem: ({ code }) => this.#met(code),
      onRejected: (message) => toast(rejection(message, this.seat.me)),
    });
    this.announcer = new Announcer((/** @type {CollabEvent[]} */ events) => announcement(events, this.seat.me));
    this.#build();
    this.#listen();
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
    const health = h("div", { class: "card health" }, this.health);
    fill(page, h("div", { class: "work" }, this.notices.element, health, this.stage), side);
    this.#draw();
  }

  #drawHeader() {
    const label = "Copy the link to this run";
    const onclick = () => void this.#share();
    const share = h(
      "button",
      { class: "icon-button", type: "button", "aria-label": label, title: label, onclick },
      icon("link"),
    );
    const name = h("h1", {}, h("span", { class: "unseen" }, "Run "), shortRunId(this.runId));
    header({
      current: "runs",
      middle: [h("div", { class: "run-id" }, name, share)],
      end: [this.people.element, meButton(this.seat.identity, () => void this.seat.changeIdentity())],
    });
  }

  #listen() {
    const { pipeline, timeline, feed } = this;
    /** @param {HTMLElement} element @param {string} name @param {(detail: any) => void} heard */
    const on = (element, name, heard) =>
      element.addEventListener(name, (event) => heard(/** @type {CustomEvent} */ (event).detail));
    on(pipeline, "graft", ({ after, agentName }) => this.#send((store) => store.sendGraft(after, agentName)));
    on(pipeline, "prune", ({ stepId, isPruned }) => this.#send((store) => store.sendPrune(stepId, isPruned)));
    on(pipeline, "flag", ({ stepId, note }) => this.#send((store) => store.sendFlag(stepId, note)));
    on(pipeline, "look", ({ nodeId }) => this.seat.membership?.look(nodeId));
    on(timeline, "seek", ({ index }) => this.#seek(index));
    on(feed, "select", ({ sequenceNumber }) =>
      this.#seek(this.seat.membership?.history.indexAfter(sequenceNumber) ?? null),
    );
    on(feed, "retry", ({ message }) => this.#retry(message));
    on(feed, "dismiss", ({ clientMessageId }) => this.#dismiss(clientMessageId));
  }

  async #share() {
    toast((await copy(location.href)) ? "The link is on the clipboard." : NO_COPY);
  }

  /** @param {string} action of a notice */
  #act(action) {
    if (action === "token") void this.seat.giveToken();
    else if (action === "again") this.seat.membership?.join();
    else if (action === "name") void this.seat.changeIdentity();
    else this.seat.confirmName();
  }

  /** @param {string} reason */
  #wasReset(reason) {
    this.index = null;
    toast(RESETS[reason] ?? "The run's history was replaced; this is the run as it is now.");
  }

  /** @param {string} code */
  #met(code) {
    if (code === "storage_blocked") this.isStorageBlocked = true;
    this.draw();
  }

  /** @param {(store: import("../js/index.js").StreamStore) => unknown} act */
  #send(act) {
    const { membership } = this.seat;
    try {
      if (membership !== null) act(membership.store);
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
    this.seat.membership?.dismissed.add(clientMessageId);
    this.draw();
  }

  /** @param {number | null} index */
  #seek(index) {
    const total = this.seat.membership?.history.events.length ?? 0;
    this.index = index === null || index > total ? null : index;
    this.draw();
  }

  #draw() {
    const { membership } = this.seat;
    const pending = membership?.pending() ?? [];
    this.#drawStage(pending);
    if (membership === null) return;
    const { store, history } = membership;
    this.#drawHealth(membership);
    const { health, usingFallback } = this.health;
    setText(this.eventCount, String(history.events.length));
    this.feed.show({
      rows: new FeedRows(history, pending),
      me: this.seat.me,
      colourOf: this.#colour,
      selected: numberAt(history, this.index),
    });
    this.timeline.show({
      total: history.events.length,
      index: this.index,
      isStale: health !== null && statusOf(health, usingFallback) === "disconnected",
      describe: (index) => momentSentence(history, index, Date.now()),
    });
    this.people.show(this.#others(), this.#colour);
    const notice = noticeOf(store.connectionState(), store.problem(), membership.isJoined);
    const mayBeTwo = this.seat.isNameTaken ? [nameTaken(this.seat.me)] : [];
    this.notices.show([
      ...(notice === null ? [] : [notice]),
      ...(this.isStorageBlocked ? [NO_STORAGE] : []),
      ...mayBeTwo,
    ]);
  }

  /** @param {Membership} membership */
  #drawHealth({ store, isJoined }) {
    const isFirst = store.connectionState() === "connecting" && !isJoined;
    if (isFirst && this.health.health === null) return;
    this.health.health = store.connectionHealth();
    this.health.queuedMessages = store.queuedMessageCount();
    this.health.usingFallback = store.usingFallback();
  }

  /** @param {OwnMessage[]} pending */
  #drawStage(pending) {
    const { index } = this;
    const { membership, me } = this.seat;
    const history = membership?.history;
    const isLive = index === null;
    const places = history === undefined ? new Map() : history.placesAt(index ?? history.events.length);
    const onTop = pending.filter(({ state }) => state !== "rejected").map((message) => asShown(message, me));
    const isClosed = membership === null || membership.store.connectionState() === "closed";
    const cursors = membership?.store.cursorPositions() ?? {};
    this.pipeline.show({
      picture: picture(this.steps, isLive ? withPending(places, onTop) : places),
      watchers: isLive ? watchersOf(this.#others(), cursors, this.#colour) : new Map(),
      isReadOnly: !isLive || isClosed,
      agents: this.#agents(),
    });
    setAttribute(this.stage, "data-past", !isLive);
    this.past.hidden = isLive;
    this.hint.hidden = !isLive;
    setText(this.past, isLive || history === undefined ? "" : `As it was ${momentWords(history, index)}`);
  }

  /** Agents to choose from: those that are in force, then some that one may know. */
  #agents() {
    const inForce = [...(this.seat.membership?.history.now.values() ?? [])];
    const grafts = inForce.filter(({ eventType }) => eventType === "GRAFT");
    const names = grafts.map(({ data }) => String(data.agentName ?? "")).filter((name) => name !== "");
    return [...new Set([...names, ...KNOWN_AGENTS])].slice(0, OFFERED_AGENTS);
  }

  #others() {
    const users = this.seat.membership?.store.activeUsers() ?? [];
    return users.filter((user) => user !== this.seat.me);
  }

  #colour = (/** @type {string} */ userId) => this.seat.membership?.colourOf(userId) ?? colourOf(userId);
}

/** An own message as an event that is not in force yet. @param {OwnMessage} message @param {string} me @returns {Shown} */
function asShown({ eventType, data, clientMessageId, state: pendingState }, me) {
  return { eventType, data, clientMessageId, pendingState, userId: me, timestamp: Date.now(), isCritical: true };
}

if (runId === null) showNoRun(page, named);
else void new RunPage(runId).seat.start();
