/**
 * What every page has: header, states in place of content, short messages, a line for screen readers.
 *
 * Law of this file: builds page content and keeps no state but that of its own parts.
 */

import { avatar } from "../elements/avatar.js";
import { fill, h, setText, svg } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { SERVER } from "./server.js";

/** @import { Child } from "../elements/dom.js" */
/** @import { Identity } from "./identity.js" */

const TOAST_MS = 5_000;
const QUIET_MS = 3_000;

/**
 * @param {object} parts
 * @param {"runs" | "console" | null} parts.current which of the main pages this is
 * @param {Child[]} [parts.middle]
 * @param {Child[]} [parts.end]
 */
export function header({ current, middle = [], end = [] }) {
  const link = (/** @type {string} */ path, /** @type {string} */ name, /** @type {string} */ key) =>
    h("a", { href: new URL(path, SERVER).href, "aria-current": current === key && "page" }, name);
  const parts = [
    h(
      "a",
      { class: "brand", href: SERVER.href, "aria-label": "collabd, all runs" },
      logo(),
      h("span", { class: "only-wide" }, "collabd"),
    ),
    ...(current === null
      ? []
      : [h("nav", { "aria-label": "Pages" }, link("", "Runs", "runs"), link("admin", "Console", "console"))]),
    ...middle,
    h("div", { class: "fill" }),
    ...end,
  ];
  const place = document.querySelector("header.top");
  if (place !== null) fill(place, ...parts);
}

function logo() {
  return svg(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": "true" },
    svg("rect", { width: 32, height: 32, rx: 8, fill: "var(--accent-solid)" }),
    svg("path", {
      d: "M8 11.5h5.5c3 0 3 9 6 9H24M8 11.5h16",
      fill: "none",
      stroke: "#fff",
      "stroke-width": 2,
      "stroke-linecap": "round",
      opacity: 0.75,
    }),
    svg("circle", { cx: 8, cy: 11.5, r: 3, fill: "#fff" }),
    svg("circle", { cx: 24, cy: 11.5, r: 3, fill: "#fff" }),
    svg("circle", { cx: 24, cy: 20.5, r: 3, fill: "#ffc861" }),
  );
}

/**
 * The button that shows who one is, and lets one change it.
 * @param {Identity | null} identity
 * @param {() => void} change
 */
export function meButton(identity, change) {
  if (identity === null)
    return h("button", { class: "button small", type: "button", onclick: change }, "Choose a name");
  const { userId, color } = identity;
  return h(
    "button",
    { class: "me", type: "button", onclick: change },
    avatar(userId, color),
    h("bdi", { class: "clip only-wide", "aria-hidden": "true" }, userId),
    h("span", { class: "unseen" }, `You are ${userId}. Change name or colour`),
  );
}

/**
 * A state in place of content: what is the matter, and what to do.
 * @param {object} what
 * @param {Parameters<typeof icon>[0]} what.emblem
 * @param {string} what.title
 * @param {Child[]} what.text
 * @param {Child[]} [what.actions]
 * @param {boolean} [what.isBad]
 * @param {boolean} [what.isPage] whether it is the page's whole content, so that its title is the page's
 */
export function state({ emblem, title, text, actions = [], isBad = false, isPage = false }) {
  return h(
    "div",
    { class: isBad ? "state bad" : "state", role: isBad && "alert" },
    h("div", { class: "emblem" }, icon(emblem)),
    h(isPage ? "h1" : "h2", {}, title),
    h("p", {}, ...text),
    actions.length > 0 && h("div", { class: "actions" }, ...actions),
  );
}

/** Say something for a moment. @param {string} text */
export function toast(text) {
  const place = document.querySelector(".toasts");
  const shown = h("div", { class: "toast" }, text);
  place?.append(shown);
  setTimeout(() => shown.remove(), TOAST_MS);
}

/**
 * Tells screen readers, politely and not more often than every few seconds: what comes in between is put together.
 * @template T
 */
export class Announcer {
  /** @param {(things: T[]) => string} words */
  constructor(words) {
    this.words = words;
    /** @type {T[]} */
    this.waiting = [];
    this.quietUntil = 0;
    /** @type {any} */
    this.timer = null;
    this.place = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
    document.body.append(this.place);
  }

  /** @param {T} thing */
  say(thing) {
    this.waiting.push(thing);
    this.timer ??= setTimeout(() => this.#speak(), Math.max(200, this.quietUntil - performance.now()));
  }

  #speak() {
    this.timer = null;
    this.quietUntil = performance.now() + QUIET_MS;
    const text = this.words(this.waiting.splice(0));
    if (text !== "") setText(this.place, text);
  }
}

/** @param {string} text @returns {Promise<boolean>} whether it is on the clipboard */
export async function copy(text) {
  try {
    // Absent on plain http beyond localhost.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const field = h("textarea", { class: "unseen", "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  return isCopied;
}
