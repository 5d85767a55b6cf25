/**
 * `<run-timeline>`: turns the time of a run back to after any of its events, and plays it.
 *
 * `show({total, index, isStale, describe})` draws: `index` is after how many of `total` events the picture stands, null
 * is live; `isStale` says that nothing is heard just now.
 * It tells `seek` {index}, where null is back to live.
 *
 * Law of this file: it turns what the user does, and the clock while playing, into an index; it knows no events.
 */

import { baseSheet } from "./base.js";
import { define, fill, h, setAttribute, setText, shadow, sheet, tell } from "./dom.js";
import { icon } from "./icons.js";
import styles from "./run-timeline.css";

/**
 * @typedef {object} TimelineScene
 * @property {number} total
 * @property {number | null} index
 * @property {boolean} isStale there is no connection, and the newest is the newest that is known
 * @property {(index: number) => string} describe what stands at an index, in words
 */

const sheets = [baseSheet, sheet(styles)];
const EVENT_MS = 800;
const SPEEDS = [1, 4, 16];

export class RunTimeline extends HTMLElement {
  /** @type {TimelineScene} */
  #scene = { total: 0, index: null, isStale: false, describe: () => "" };
  /** @type {any} */
  #timer = null;

  constructor() {
    super();
    this.play = this.#button("play", "Play", () => this.#togglePlay());
    this.back = this.#button("back", "One event back", () => this.#step(-1));
    this.next = this.#button("next", "One event on", () => this.#step(1));
    this.first = this.#button("first", "To the beginning", () => this.#seek(0));
    this.range = h("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "Show the run as it was" });
    this.range.addEventListener("input", () => this.#seek(Number(this.range.value)));
    this.speed = h(
      "select",
      { class: "speed", "aria-label": "Playing speed" },
      ...SPEEDS.map((speed) => h("option", { value: speed }, `${speed}×`)),
    );
    this.speed.addEventListener("change", () => this.#timer !== null && this.#start());
    this.live = h(
      "button",
      { class: "button small live", type: "button", onclick: () => this.#goLive() },
      icon("live"),
      "Live",
    );
    this.words = h("p", { class: "words" });
    shadow(this, sheets).append(
      h(
        "div",
        { class: "bar", role: "group", "aria-label": "Time" },
        h("div", { class: "steps" }, this.first, this.back, this.play, this.next),
        this.range,
        this.speed,
        this.live,
      ),
      this.words,
    );
  }

  disconnectedCallback() {
    this.#stop();
  }

  /**
   * @param {Parameters<typeof icon>[0]} shape
   * @param {string} label
   * @param {() => void} act
   */
  #button(shape, label, act) {
    return h(
      "button",
      { class: "icon-button", type: "button", "aria-label": label, title: label, onclick: act },
      icon(shape),
    );
  }

  /** @param {TimelineScene} scene */
  show(scene) {
    this.#scene = scene;
    const { total, isStale, describe } = scene;
    const index = Math.min(scene.index ?? total, total);
    const isLive = scene.index === null;
    if (isLive && this.#timer !== null) this.#stop();
    setAttribute(this, "data-live", isLive);
    setAttribute(this, "data-stale", isLive && isStale);
    setAttribute(this.range, "max", total);
    if (this.range.value !== String(index)) this.range.value = String(index);
    this.range.style.setProperty("--share", `${total === 0 ? 100 : (index / total) * 100}%`);
    const words = isLive ? nowWords(total, isStale) : describe(index);
    setText(this.words, words);
    setAttribute(this.range, "aria-valuetext", words);
    setAttribute(this.live, "aria-pressed", String(isLive));
    for (const button of [this.play, this.first, this.back]) button.disabled = total === 0;
    this.first.disabled = this.back.disabled = index === 0;
    this.next.disabled = isLive;
    this.range.disabled = total === 0;
  }

  #togglePlay() {
    if (this.#timer !== null) return this.#stop();
    // Playing from live plays from the beginning.
    if (this.#scene.index === null) this.#seek(0, { isPlaying: true });
    this.#start();
  }

  #start() {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#step(1, { isPlaying: true }), EVENT_MS / Number(this.speed.value));
    this.#drawPlay(true);
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#drawPlay(false);
  }

  /** @param {boolean} isPlaying */
  #drawPlay(isPlaying) {
    fill(this.play, icon(isPlaying ? "pause" : "play"));
    const label = isPlaying ? "Pause" : "Play";
    setAttribute(this.play, "aria-label", label);
    setAttribute(this.play, "title", label);
  }

  /**
   * @param {number} by
   * @param {{isPlaying?: boolean}} [how]
   */
  #step(by, how) {
    const { index, total } = this.#scene;
    const target = (index ?? total) + by;
    if (target > total) this.#goLive();
    else this.#seek(Math.max(0, target), how);
  }

  /**
   * @param {number} index
   * @param {{isPlaying?: boolean}} [how]
   */
  #seek(index, { isPlaying = false } = {}) {
    if (!isPlaying) this.#stop();
    tell(this, "seek", { index });
  }

  #goLive() {
    this.#stop();
    tell(this, "seek", { index: null });
  }
}

/** @param {number} total @param {boolean} isStale */
function nowWords(total, isStale) {
  if (total === 0) return isStale ? "Not connected" : "Live";
  return `${isStale ? "Last known" : "Live"}: ${total} ${total === 1 ? "event" : "events"}`;
}

define("run-timeline", RunTimeline);
