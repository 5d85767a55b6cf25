/**
 * `<app-connection-health>`: how a connection does, at a glance. Usable by itself in any page or framework.
 *
 *     <script type="module" src="https://collab.example.org/connection-health.js"></script>
 *     <app-connection-health></app-connection-health>
 *
 * Properties, each also as an attribute (attributes are text: `health` as JSON, `queued-messages` as digits,
 * `using-fallback` present or "true"; `queuedMessages` and `usingFallback` are read too, whatever their case):
 *
 * - `health`: `{status?, latency, reconnectionCount, messageDeliveryRate, isHealthy}` as the client library gives it.
 *   `status` is connected, reconnected, disconnected or polling; absent, it follows: using the fallback is polling, not
 *   healthy is disconnected, a reconnectionCount above 0 is reconnected, else connected. Never set: connecting.
 * - `queuedMessages`: how many messages wait to be sent.
 * - `usingFallback`: whether HTTP polling stands in for the WebSocket.
 *
 * `change` is fired when what is shown has changed: `detail` is `{status, latency, queuedMessages, usingFallback}`.
 * Colours follow the page's tokens (app/tokens.css) where it has them, and `color-scheme` everywhere.
 *
 * Law of this file: it draws what it is given; it knows no client.
 */

/** @import { HealthInput } from "../state/health.js" */

import { figure } from "../state/figures.js";
import { STATUS_WORDS, sparkline, statusOf } from "../state/health.js";
import styles from "./connection-health.css";
import { h, setAttribute, setText, shadow, sheet, svg, tell } from "./dom.js";

const styleSheet = sheet(styles);
const LINE = { width: 72, height: 20, most: 24 };

/** What to do about each state, in a sentence. @type {Record<string, string>} */
const ADVICE = {
  polling:
    "WebSocket does not get through, so changes are fetched every few seconds. Nothing is lost, it is only slower.",
  disconnected: "Changes you make are kept here and sent when the connection is back.",
};

export class ConnectionHealth extends HTMLElement {
  static observedAttributes = ["health", "queued-messages", "queuedmessages", "using-fallback", "usingfallback"];

  /** @type {HealthInput | null} */
  #health = null;
  #queuedMessages = 0;
  #usingFallback = false;
  /** @type {number[]} */
  #latencies = [];
  #isDrawing = false;
  #shown = "";

  constructor() {
    super();
    this.status = h("span", { class: "status", role: "status" });
    this.latency = h("span", { class: "value" });
    this.line = svg("polyline", { points: "" });
    this.delivery = h("dd");
    this.reconnections = h("dd");
    this.queued = h("dd");
    this.advice = h("p", { class: "advice" });
    shadow(this, [styleSheet]).append(this.#body());
  }

  #body() {
    const { width, height } = LINE;
    const graph = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, this.line);
    const pair = (/** @type {string} */ name, /** @type {HTMLElement} */ value) =>
      h("div", {}, h("dt", {}, name), value);
    return h(
      "section",
      { "aria-label": "Connection" },
      h("div", { class: "first" }, h("span", { class: "dot", "aria-hidden": "true" }), this.status),
      h(
        "dl",
        {},
        h("div", { class: "latency" }, h("dt", {}, "Latency"), h("dd", {}, this.latency, graph)),
        pair("Delivered", this.delivery),
        pair("Reconnections", this.reconnections),
        pair("Queued", this.queued),
      ),
      this.advice,
    );
  }

  connectedCallback() {
    this.#draw();
  }

  /**
   * @param {string} name
   * @param {string | null} _before
   * @param {string | null} text
   */
  attributeChangedCallback(name, _before, text) {
    if (name === "health") this.health = parsed(text);
    else if (name.startsWith("queued")) this.queuedMessages = Number(text ?? 0);
    else this.usingFallback = text !== null && text !== "false";
  }

  /** @returns {HealthInput | null} */
  get health() {
    return this.#health;
  }

  set health(health) {
    const before = this.#health?.latency;
    this.#health = typeof health === "object" ? health : null;
    const latency = this.#health?.latency;
    if (typeof latency === "number" && latency !== before) {
      this.#latencies = [...this.#latencies, latency].slice(-LINE.most);
    }
    this.#draw();
  }

  get queuedMessages() {
    return this.#queuedMessages;
  }

  set queuedMessages(count) {
    this.#queuedMessages = Number.isFinite(Number(count)) ? Math.max(0, Number(count)) : 0;
    this.#draw();
  }

  get usingFallback() {
    return this.#usingFallback;
  }

  set usingFallback(isUsed) {
    this.#usingFallback = Boolean(isUsed);
    this.#draw();
  }

  /** Properties are often set one after the other: they are drawn together. */
  #draw() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    queueMicrotask(() => {
      this.#isDrawing = false;
      this.#drawNow();
    });
  }

  #drawNow() {
    const { latency = null, reconnectionCount = 0, messageDeliveryRate = 1 } = this.#health ?? {};
    const status = statusOf(this.#health, this.#usingFallback);
    const [queuedMessages, usingFallback] = [this.#queuedMessages, this.#usingFallback];
    // Nothing told yet: a first connection on its way is no lost one.
    const isUnknown = this.#health === null && !usingFallback;
    setAttribute(this, "data-status", isUnknown ? null : status);
    setText(this.status, isUnknown ? "Connecting …" : STATUS_WORDS[status]);
    setText(this.latency, figure(latency === null ? null : Math.round(latency), "ms"));
    setAttribute(this.line, "points", sparkline(this.#latencies, LINE));
    setText(this.delivery, figure(messageDeliveryRate, "%"));
    setText(this.reconnections, String(reconnectionCount));
    setText(this.queued, String(queuedMessages));
    setAttribute(this, "data-waiting", queuedMessages > 0);
    // Who gets no answer by polling either is told that, not that it is slow.
    const concern = usingFallback && status !== "disconnected" ? "polling" : status;
    setText(this.advice, isUnknown ? "" : (ADVICE[concern] ?? ""));
    const shown = JSON.stringify({ status, latency, queuedMessages, usingFallback });
    if (this.#shown !== "" && shown !== this.#shown) {
      tell(this, "change", { status, latency, queuedMessages, usingFallback });
    }
    this.#shown = shown;
  }
}

/** @param {string | null} text @returns {HealthInput | null} */
function parsed(text) {
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return null;
  }
}
