/**
 * `<data-table>`: rows of figures that can be sorted, of which only those in sight are drawn.
 *
 * `show({columns, rows, key, order})` draws rows in the order given; it tells `order` {key, direction} when a head is
 * clicked, and `open` {row} when a row is.
 *
 * Law of this file: it draws and scrolls; sorting and filtering are done by whoever hands in the rows (state/tables.js).
 */

/** @import { Order } from "../state/tables.js" */

import { nextOrder } from "../state/tables.js";
import { visibleSpan } from "../state/windowing.js";
import { baseSheet } from "./base.js";
import styles from "./data-table.css";
import { define, eachFrame, h, keyed, setAttribute, setText, shadow, sheet, tell } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} label
 * @property {(row: any) => string} text
 * @property {(row: any) => string} [tag] makes it a tag of this look
 * @property {boolean} [isNumber]
 * @property {boolean} [isMono]
 * @property {Order["direction"]} [first] the direction of the first click
 *
 * @typedef {object} TableScene
 * @property {readonly Column[]} columns the first one opens the row
 * @property {readonly any[]} rows
 * @property {(row: any) => string} key
 * @property {Order} order
 */

const sheets = [baseSheet, sheet(styles)];
const ROW_HEIGHT = 44;

export class DataTable extends HTMLElement {
  /** @type {TableScene} */
  #scene = { columns: [], rows: [], key: () => "", order: { key: "", direction: "ascending" } };
  #columns = "";

  constructor() {
    super();
    this.heads = h("tr", { "aria-rowindex": 1 });
    this.above = h("tr", { class: "space", "aria-hidden": "true" });
    this.body = h("tbody");
    this.below = h("tr", { class: "space", "aria-hidden": "true" });
    this.table = h(
      "table",
      {},
      h("thead", {}, this.heads),
      h("tbody", { "aria-hidden": "true" }, this.above),
      this.body,
      h("tbody", { "aria-hidden": "true" }, this.below),
    );
    this.scroller = h("div", { class: "scroller", tabindex: 0, role: "group" }, this.table);
    shadow(this, sheets).append(this.scroller);
    this.draw = eachFrame(() => this.#draw());
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.heads.addEventListener("click", ({ target }) => this.#sort(/** @type {Element} */ (target)));
    this.body.addEventListener("click", ({ target }) => this.#open(/** @type {Element} */ (target)));
    this.watcher = new ResizeObserver(() => this.draw());
  }

  connectedCallback() {
    const name = this.getAttribute("aria-label") ?? "";
    this.table.setAttribute("aria-label", name);
    this.scroller.setAttribute("aria-label", name);
    this.watcher.observe(this.scroller);
  }

  disconnectedCallback() {
    this.watcher.disconnect();
  }

  /** @param {TableScene} scene */
  show(scene) {
    this.#scene = scene;
    setAttribute(this.table, "aria-rowcount", scene.rows.length + 1);
    this.#drawHeads();
    this.draw();
  }

  #drawHeads() {
    const { columns, order } = this.#scene;
    keyed(this.heads, columns, {
      key: ({ key }) => key,
      make: ({ key, label, isNumber }) =>
        h(
          "th",
          { scope: "col", class: isNumber === true && "number" },
          h("button", { type: "button", "data-key": key }, label, icon("up")),
        ),
      update: (head, { key }) => setAttribute(head, "aria-sort", key === order.key ? order.direction : "none"),
    });
  }

  #draw() {
    const { rows, key, columns } = this.#scene;
    const head = this.heads.offsetHeight;
    const { scrollTop, clientHeight } = this.scroller;
    const { first, end } = visibleSpan({
      count: rows.length,
      rowHeight: ROW_HEIGHT,
      top: Math.max(0, scrollTop - head),
      height: clientHeight,
    });
    this.above.style.setProperty("height", `${first * ROW_HEIGHT}px`);
    this.below.style.setProperty("height", `${(rows.length - end) * ROW_HEIGHT}px`);
    const shape = columns.map((column) => column.key).join(" ");
    if (shape !== this.#columns) this.body.replaceChildren();
    this.#columns = shape;
    const items = rows.slice(first, end).map((row, index) => ({ row, index: first + index }));
    keyed(this.body, items, {
      key: ({ row }) => `${shape} ${key(row)}`,
      make: ({ row }) => this.#makeRow(key(row)),
      update: (element, { row, index }) => this.#updateRow(element, row, index),
    });
  }

  /** @param {string} name */
  #makeRow(name) {
    const cells = this.#scene.columns.map(({ tag, isNumber, isMono }, index) => {
      const kind = [isNumber === true ? "number figures" : "", isMono === true ? "mono" : ""].join(" ").trim();
      const content =
        index === 0
          ? h("button", { class: "open clip", type: "button" })
          : h(tag === undefined ? "bdi" : "span", { class: "clip" });
      return h("td", { class: kind }, content);
    });
    return h("tr", { "data-row": name }, ...cells);
  }

  /**
   * @param {HTMLElement} element
   * @param {any} row
   * @param {number} index
   */
  #updateRow(element, row, index) {
    setAttribute(element, "aria-rowindex", index + 2);
    this.#scene.columns.forEach(({ text, tag, label }, column) => {
      const content = element.children[column]?.firstElementChild;
      if (content === null || content === undefined) return;
      const words = text(row);
      setText(content, words);
      setAttribute(content, "title", words.length > 12 && words);
      if (tag !== undefined) setAttribute(content, "class", `tag ${tag(row)}`);
      if (column === 0) setAttribute(content, "aria-label", `${words}: ${label.toLowerCase()}, show more`);
    });
  }

  /** @param {Element} target */
  #sort(target) {
    const key = target.closest("[data-key]")?.getAttribute("data-key");
    const { columns, order } = this.#scene;
    const column = columns.find((each) => each.key === key);
    if (column !== undefined) tell(this, "order", nextOrder(order, column.key, column.first));
  }

  /** @param {Element} target */
  #open(target) {
    const name = target.closest("[data-row]")?.getAttribute("data-row");
    const row = this.#scene.rows.find((each) => this.#scene.key(each) === name);
    if (row !== undefined) tell(this, "open", { row });
  }
}

define("data-table", DataTable);
