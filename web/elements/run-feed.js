/**
 * `<run-feed>`: what happened, newest first, however much it is: only rows that are seen are drawn.
 *
 * `show({rows, me, colourOf, selected})` draws; it tells `select` {sequenceNumber}, `retry` {message} and `dismiss`
 * {clientMessageId}.
 *
 * Law of this file: it draws rows and scrolls; what the rows are is decided in state/feed.js.
 */

/** @import { CollabEvent, OwnMessage } from "../js/index.js" */
/** @import { FeedRows, Row } from "../state/feed.js" */
/** @import { Part } from "../state/sentences.js" */

import { MESSAGE_STATES, plain, sentence } from "../state/sentences.js";
import { listTime, wholeTime } from "../state/times.js";
import { scrollToShow, visibleSpan } from "../state/windowing.js";
import { avatar } from "./avatar.js";
import { baseSheet } from "./base.js";
import { define, eachFrame, h, keyed, setAttribute, setText, shadow, sheet, tell } from "./dom.js";
import { icon } from "./icons.js";
import styles from "./run-feed.css";

/**
 * @typedef {object} FeedScene
 * @property {FeedRows} rows
 * @property {string} me
 * @property {(userId: string) => string} colourOf
 * @property {number | null} selected the number of the event that the picture shows; null: live
 */

const sheets = [baseSheet, sheet(styles)];
const ROW_HEIGHT = 68;
/** @type {Record<string, string>} */
const STATE_LOOKS = { storing: "", queued: "warn", sent: "accent", committed: "ok", rejected: "bad" };

export class RunFeed extends HTMLElement {
  /** @type {FeedScene | null} */
  #scene = null;
  #count = 0;
  #active = 0;

  constructor() {
    super();
    this.list = h("ol", { class: "rows", "aria-label": "Events, newest first" });
    this.scroller = h("div", { class: "scroller" }, this.list);
    this.empty = h(
      "div",
      { class: "empty" },
      icon("clock"),
      h("p", {}, "Nothing has happened yet."),
      h("p", { class: "quiet small" }, "Graft, prune or flag a step, and it stands here for everybody."),
    );
    this.newer = h(
      "button",
      { class: "button small newer", type: "button", hidden: true, onclick: () => this.#toTop() },
      icon("up"),
      h("span"),
    );
    shadow(this, sheets).append(this.scroller, this.empty, this.newer);
    this.draw = eachFrame(() => this.#draw());
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.#moved(event));
    this.list.addEventListener("click", (event) => this.#clicked(event));
    this.watcher = new ResizeObserver(() => this.draw());
    this.missed = 0;
  }

  connectedCallback() {
    this.watcher.observe(this.scroller);
  }

  disconnectedCallback() {
    this.watcher.disconnect();
  }

  /** @param {FeedScene} scene */
  show(scene) {
    const grown = scene.rows.length - this.#count;
    this.#scene = scene;
    this.#count = scene.rows.length;
    this.empty.hidden = this.#count > 0;
    this.list.style.setProperty("height", `${this.#count * ROW_HEIGHT}px`);
    // Who reads further down keeps their place while new rows come in above.
    if (grown > 0 && this.scroller.scrollTop > ROW_HEIGHT / 2) {
      this.scroller.scrollTop += grown * ROW_HEIGHT;
      this.missed += grown;
      this.#active += grown;
    }
    this.draw();
  }

  #draw() {
    const scene = this.#scene;
    if (scene === null) return;
    const { scrollTop: top, clientHeight: height } = this.scroller;
    if (top < ROW_HEIGHT / 2) this.missed = 0;
    this.newer.hidden = this.missed === 0;
    setText(/** @type {Node} */ (this.newer.lastChild), `${this.missed} new`);
    const { first, end } = visibleSpan({ count: this.#count, rowHeight: ROW_HEIGHT, top, height });
    this.#active = Math.max(0, Math.min(this.#active, this.#count - 1));
    const indexes = Array.from({ length: end - first }, (_, index) => first + index);
    const items = indexes.map((index) => ({ index, row: scene.rows.at(index) }));
    keyed(this.list, items, {
      key: ({ row }) => row.key,
      make: ({ row }) => makeRow(row, scene),
      update: (element, { row, index }) => this.#update(element, row, index),
    });
  }

  /**
   * @param {HTMLElement} element
   * @param {Row} row
   * @param {number} index
   */
  #update(element, row, index) {
    const { selected, me, colourOf } = /** @type {FeedScene} */ (this.#scene);
    element.style.setProperty("transform", `translateY(${index * ROW_HEIGHT}px)`);
    setAttribute(element, "aria-setsize", this.#count);
    setAttribute(element, "aria-posinset", index + 1);
    setAttribute(element, "data-index", index);
    const target = element.querySelector(".open");
    if (target !== null) setAttribute(target, "tabindex", this.#reachable(index) ? 0 : -1);
    const isSelected =
      row.kind === "event" && !row.isKept && selected !== null && row.event.sequenceNumber === selected;
    if (target !== null) setAttribute(target, "aria-current", isSelected && "true");
    if (row.kind === "own") updateOwn(element, row.message);
    // Somebody's colour may come to be known, or be changed, after what they did.
    const who = row.kind === "event" ? row.event.userId : me;
    const disc = element.querySelector(".avatar");
    if (disc !== null) setAttribute(disc, "data-colour", colourOf(who));
  }

  /** One row is in the order of tabbing: the active one, or the first drawn when that is out of sight. @param {number} index */
  #reachable(index) {
    const { first, end } = visibleSpan({
      count: this.#count,
      rowHeight: ROW_HEIGHT,
      top: this.scroller.scrollTop,
      height: this.scroller.clientHeight,
    });
    return index === (this.#active >= first && this.#active < end ? this.#active : first);
  }

  /** @param {KeyboardEvent} event */
  #moved(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW_HEIGHT) - 1);
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.#count, End: this.#count };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.#active = Math.max(0, Math.min(this.#count - 1, this.#active + step));
    const { scrollTop: top, clientHeight: height } = this.scroller;
    this.scroller.scrollTop = scrollToShow(this.#active, { rowHeight: ROW_HEIGHT, top, height });
    this.#draw();
    const target = this.list.querySelector(`[data-index="${this.#active}"] .open`);
    if (target instanceof HTMLElement) target.focus({ preventScroll: true });
  }

  /** @param {MouseEvent} event */
  #clicked({ target }) {
    const element = /** @type {Element} */ (target);
    const item = element.closest("li");
    const row = item === null ? undefined : this.#scene?.rows.at(Number(item.getAttribute("data-index")));
    if (row === undefined) return;
    this.#active = Number(item?.getAttribute("data-index"));
    const action = element.closest("[data-action]")?.getAttribute("data-action");
    if (row.kind === "own" && action === "retry") tell(this, "retry", { message: row.message });
    if (row.kind === "own" && action === "dismiss")
      tell(this, "dismiss", { clientMessageId: row.message.clientMessageId });
    if (row.kind === "event" && action === "open" && !row.isKept && row.event.sequenceNumber !== undefined) {
      tell(this, "select", { sequenceNumber: row.event.sequenceNumber });
    }
  }

  #toTop() {
    this.scroller.scrollTop = 0;
    this.#active = 0;
    this.draw();
  }
}

/** @param {Row} row @param {FeedScene} scene @returns {HTMLElement} */
function makeRow(row, scene) {
  if (row.kind === "cut") return cutRow(row.oldest, row.hasKept);
  return row.kind === "own" ? ownRow(row.message, scene) : eventRow(row.event, row.isKept, scene);
}

/** @param {CollabEvent} event @param {boolean} isKept @param {FeedScene} scene */
function eventRow(event, isKept, { me, colourOf }) {
  const { sequenceNumber, timestamp, userId } = event;
  const parts = sentence(event);
  const isOwn = userId === me && sequenceNumber !== undefined;
  const opens = sequenceNumber !== undefined && !isKept;
  const content = [
    avatar(userId, colourOf(userId)),
    words(parts),
    h(
      "span",
      { class: "side figures" },
      h(
        "time",
        { datetime: new Date(timestamp).toISOString(), title: wholeTime(timestamp) },
        listTime(timestamp, Date.now()),
      ),
      sequenceNumber !== undefined && h("span", {}, isOwn && committedMark(), `#${sequenceNumber}`),
    ),
  ];
  const look = { class: "open", title: plain(parts) };
  const hint = h("span", { class: "unseen" }, "; show the run as it was then");
  return h(
    "li",
    { class: sequenceNumber === undefined ? "row transient" : "row" },
    opens
      ? h("button", { ...look, type: "button", "data-action": "open" }, ...content, hint)
      : h("div", look, ...content),
  );
}

function committedMark() {
  return h(
    "span",
    { class: "committed", title: "Committed" },
    icon("check"),
    h("span", { class: "unseen" }, "committed"),
  );
}

/** @param {OwnMessage} message @param {FeedScene} scene */
function ownRow(message, { me, colourOf }) {
  const { eventType, data } = message;
  const parts = sentence({ eventType, data, userId: me });
  return h(
    "li",
    { class: "row own" },
    h(
      "div",
      { class: "open", title: plain(parts) },
      avatar(me, colourOf(me)),
      words(parts, h("span", { class: "why problem clip" })),
      h(
        "span",
        { class: "side" },
        h("span", { class: "tag" }),
        h("span", { class: "again" }, small("retry", "Send again"), small("dismiss", "Dismiss")),
      ),
    ),
  );
}

/** @param {string} action @param {string} name */
function small(action, name) {
  return h("button", { class: "link", type: "button", "data-action": action }, name);
}

/** @param {HTMLElement} element @param {OwnMessage} message */
function updateOwn(element, message) {
  const { state, code = "" } = message;
  const tag = element.querySelector(".tag");
  const why = element.querySelector(".why");
  const again = element.querySelector(".again");
  if (tag === null || why === null || !(again instanceof HTMLElement)) return;
  setText(tag, MESSAGE_STATES[state] ?? state);
  setAttribute(tag, "class", `tag ${STATE_LOOKS[state] ?? ""}`);
  setText(why, state === "rejected" ? (message.message ?? code) : "");
  setAttribute(why, "title", message.message);
  again.hidden = state !== "rejected";
  element.classList.toggle("rejected", state === "rejected");
}

/** @param {number} oldest @param {boolean} hasKept */
function cutRow(oldest, hasKept) {
  const rest = hasKept ? " What was set before it and is still in force:" : "";
  return h(
    "li",
    { class: "row cut" },
    h("p", {}, h("strong", {}, `History before #${oldest} is no longer kept.`), rest),
  );
}

/** @param {Part[]} parts @param {Node | null} [below] */
function words(parts, below = null) {
  const shown = parts.flatMap((part, index) => [index > 0 ? " " : "", partOf(part)]);
  return h("span", { class: "said" }, h("span", { class: "sentence" }, ...shown), below);
}

/** @param {Part} part */
function partOf({ kind, text }) {
  return kind === "words" ? text : h("bdi", { class: kind }, text);
}

define("run-feed", RunFeed);
