/**
 * `<live-chart>`: a few lines over the last minutes, drawn by uPlot.
 *
 * `plan = {title, unit, series: [{label, colour}]}` once, then `data = [seconds, values, …]` as often as there is more.
 *
 * Law of this file: the only one that knows uPlot. What the lines say newest, or under the pointer, stands beside their
 * names as text, so that nobody needs to see the canvas.
 */

import uPlot from "uplot";
import uplotStyles from "uplot/dist/uPlot.min.css";
import { figure, newest } from "../state/figures.js";
import { clockTime } from "../state/times.js";
import { baseSheet } from "./base.js";
import { define, fill, h, setAttribute, setText, shadow, sheet } from "./dom.js";
import styles from "./live-chart.css";

/**
 * @typedef {object} ChartPlan
 * @property {string} title
 * @property {string} unit "ms", "%", "/s" or none
 * @property {{label: string, colour: string}[]} series colour: the name of a custom property, without its dashes
 */

const sheets = [baseSheet, sheet(uplotStyles), sheet(styles)];
const HEIGHT = 148;
/** So much time is shown at least, in seconds, so that a young server does not fill its charts with one minute. */
const SPAN = 300;
const MINUTES = [60, 120, 300, 600, 1200, 3600];
const darkness = matchMedia("(prefers-color-scheme: dark)");

export class LiveChart extends HTMLElement {
  /** @type {ChartPlan} */
  #plan = { title: "", unit: "", series: [] };
  /** @type {(number | null)[][]} */
  #data = [[]];
  /** @type {uPlot | null} */
  #chart = null;

  constructor() {
    super();
    this.heading = h("h3");
    this.names = h("ul", { class: "names" });
    this.place = h("div", { class: "place", role: "img" });
    this.nothing = h("p", { class: "nothing quiet small" }, "Nothing measured in the last minutes.");
    this.probe = h("span", { class: "unseen", "aria-hidden": "true" });
    shadow(this, sheets).append(h("header", {}, this.heading, this.names), this.place, this.nothing, this.probe);
    this.watcher = new ResizeObserver(() => this.#resize());
    this.recolour = () => this.#make();
  }

  connectedCallback() {
    this.watcher.observe(this.place);
    darkness.addEventListener("change", this.recolour);
    this.#make();
  }

  disconnectedCallback() {
    this.watcher.disconnect();
    darkness.removeEventListener("change", this.recolour);
    this.#chart?.destroy();
    this.#chart = null;
  }

  /** @param {ChartPlan} plan */
  set plan(plan) {
    this.#plan = plan;
    setText(this.heading, plan.title);
    fill(
      this.names,
      ...plan.series.map(({ label, colour }) =>
        h(
          "li",
          {},
          h("span", { class: `key ${colour}` }),
          h("span", { class: "quiet" }, label),
          h("span", { class: "value figures" }),
        ),
      ),
    );
    if (this.isConnected) this.#make();
  }

  /** @param {(number | null)[][]} data times in seconds, then a column for each series */
  set data(data) {
    this.#data = data;
    this.nothing.hidden = data.slice(1).some((column) => newest(column) !== null);
    this.#chart?.setData(/** @type {any} */ (data));
    this.#say(null);
  }

  /** @param {number | null} index under the pointer; null: the newest */
  #say(index) {
    const { title, unit, series } = this.#plan;
    const values = series.map((_, column) => {
      const all = this.#data[column + 1] ?? [];
      return index === null ? newest(all) : (all[index] ?? null);
    });
    [...this.names.children].forEach((item, column) =>
      setText(/** @type {Node} */ (item.lastChild), figure(values[column] ?? null, unit)),
    );
    const said = series.map(({ label }, column) => `${label} ${figure(values[column] ?? null, unit)}`).join(", ");
    if (index === null) setAttribute(this.place, "aria-label", `${title} over the last minutes; now ${said}`);
  }

  #resize() {
    const width = this.place.clientWidth;
    if (this.#chart !== null && width > 0 && width !== this.#chart.width)
      this.#chart.setSize({ width, height: HEIGHT });
  }

  #make() {
    this.#chart?.destroy();
    this.#chart = null;
    const width = this.place.clientWidth;
    if (width === 0 || this.#plan.series.length === 0) return;
    this.#chart = new uPlot(this.#options(width), /** @type {any} */ (this.#data), this.place);
  }

  /** @param {number} width @returns {uPlot.Options} */
  #options(width) {
    const { unit, series } = this.#plan;
    const [quiet, line] = [this.#colour("text-3"), this.#colour("line")];
    const axis = {
      stroke: quiet,
      font: "11px " + getComputedStyle(this).fontFamily,
      grid: { stroke: line, width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height: HEIGHT,
      padding: [8, 24, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, sync: { key: "collabd" }, drag: { x: false, y: false } },
      scales: {
        x: { range: (_plot, first, last) => [Math.min(first, last - SPAN), last] },
        y: { range: (_plot, _least, most) => [0, roomAbove(most, unit)] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          space: 72,
          size: 28,
          incrs: MINUTES,
          values: (_plot, ticks) => ticks.map((tick) => clockTime(tick * 1000)),
        },
        {
          ...axis,
          space: 32,
          size: 52,
          values: (_plot, ticks) => ticks.map((tick) => (tick === null ? "" : figure(tick, unit))),
        },
      ],
      series: [
        {},
        ...series.map(({ label, colour }) => ({
          label,
          stroke: this.#colour(colour),
          width: 1.75,
          spanGaps: true,
          points: { show: false },
        })),
      ],
      hooks: { setCursor: [({ cursor }) => this.#say(cursor.idx ?? null)] },
    };
  }

  /** The canvas needs a colour as it is computed. @param {string} name */
  #colour(name) {
    this.probe.style.setProperty("color", `var(--${name})`);
    return getComputedStyle(this.probe).color;
  }
}

/** @param {number} most @param {string} unit */
function roomAbove(most, unit) {
  const least = unit === "%" ? 0.05 : unit === "ms" ? 1 : 2;
  return Math.max(least, (most || 0) * 1.15);
}

define("live-chart", LiveChart);
