/**
 * `<run-pipeline>`: the run as a picture that one works on.
 *
 * `show({picture, watchers, isReadOnly, agents})` draws; it tells `graft` {after, agentName}, `prune` {stepId,
 * isPruned}, `flag` {stepId, note} and `look` {nodeId}.
 *
 * Law of this file: it draws a picture and tells what the user did to it; what becomes of that is seen when the next
 * picture comes.
 */

/** @import { Picture, PictureNode } from "../state/picture.js" */
/** @import { Section } from "./step-panel.js" */
/** @import { Box } from "../state/geometry.js" */

import { flowAcross, flowDown } from "../state/geometry.js";
import { allNodes, flow } from "../state/picture.js";
import { avatar } from "./avatar.js";
import { baseSheet } from "./base.js";
import { define, eachFrame, fill, h, keyed, setAttribute, shadow, sheet, svg, tell } from "./dom.js";
import { icon } from "./icons.js";
import { makeNode, updateNode } from "./pipeline-node.js";
import styles from "./run-pipeline.css";
import { StepPanel } from "./step-panel.js";

/**
 * @typedef {{userId: string, colour: string}} Watcher
 *
 * @typedef {object} Scene
 * @property {Picture} picture
 * @property {ReadonlyMap<string, readonly Watcher[]>} watchers by the node that they look at
 * @property {boolean} isReadOnly
 * @property {readonly string[]} agents names that were used before
 */

const sheets = [baseSheet, sheet(styles)];
const NARROWEST_COLUMN = 104;
const GAP = 24;
const ABOVE = 10;
const RAIL = 10;
/** So many who look at one node get a name; more get their avatars only. */
const NAMED_WATCHERS = 2;
const SHOWN_WATCHERS = 4;

export class RunPipeline extends HTMLElement {
  /** @type {Scene} */
  #scene = { picture: { steps: [], elsewhere: [] }, watchers: new Map(), isReadOnly: false, agents: [] };
  #isAcross = true;

  constructor() {
    super();
    this.lines = svg("svg", { class: "flow", "aria-hidden": "true" });
    this.columns = h("ol", { class: "columns" });
    this.cursors = h("div", { class: "cursors", "aria-hidden": "true" });
    this.others = h("ol", { class: "others" });
    this.elsewhere = h(
      "section",
      { class: "elsewhere", "aria-labelledby": "elsewhere" },
      h("h3", { id: "elsewhere" }, "Not in this pipeline"),
      h("p", { class: "quiet small" }, "In force in this run at places that the steps shown here do not have."),
      this.others,
    );
    this.board = h("div", { class: "board" }, this.lines, this.columns, this.cursors);
    this.panel = new StepPanel({
      graft: (after, agentName) => tell(this, "graft", { after, agentName }),
      prune: (stepId, isPruned) => tell(this, "prune", { stepId, isPruned }),
      flag: (stepId, note) => tell(this, "flag", { stepId, note }),
    });
    shadow(this, sheets).append(this.board, this.elsewhere, this.panel.dialog);
    this.layOut = eachFrame(() => this.#layOut());
    this.watcher = new ResizeObserver(() => this.layOut());
    for (const place of [this.board, this.elsewhere]) this.#listen(place);
  }

  connectedCallback() {
    this.watcher.observe(this);
    this.watcher.observe(this.columns);
  }

  disconnectedCallback() {
    this.watcher.disconnect();
  }

  /** @param {HTMLElement} place */
  #listen(place) {
    place.addEventListener("click", ({ target }) => this.#clicked(/** @type {Element} */ (target)));
    place.addEventListener("pointerover", ({ target }) => this.#looked(/** @type {Element} */ (target)));
    place.addEventListener("focusin", ({ target }) => this.#looked(/** @type {Element} */ (target)));
    place.addEventListener("keydown", (event) => this.#moved(event));
  }

  /** @param {Scene} scene */
  show(scene) {
    this.#scene = scene;
    const { steps, elsewhere } = scene.picture;
    keyed(this.columns, steps, {
      key: ({ id }) => id,
      make: (node) => this.#makeColumn(node),
      update: (column, node, index) => this.#updateColumn(column, node, index),
    });
    keyed(this.others, elsewhere, {
      key: ({ id }) => id,
      make: (node) => this.#makeColumn(node),
      update: (column, node, index) => this.#updateColumn(column, node, index),
    });
    this.elsewhere.hidden = elsewhere.length === 0;
    const open = this.panel.dialog.open ? this.#node(this.panel.node?.id ?? "") : undefined;
    if (open !== undefined) this.panel.update(open, scene.isReadOnly);
    this.layOut();
  }

  /** @param {PictureNode} node */
  #makeColumn(node) {
    return h(
      "li",
      { class: "column" },
      makeNode(node),
      h("ol", { class: "agents", "aria-label": `Agents after ${node.id}` }),
      h("button", { class: "slot", type: "button", "data-action": "graft" }, icon("plus"), "Graft"),
    );
  }

  /**
   * @param {HTMLElement} column
   * @param {PictureNode} node
   * @param {number} index
   */
  #updateColumn(column, node, index) {
    const [card, agents, slot] = /** @type {HTMLElement[]} */ ([...column.children]);
    if (card === undefined || agents === undefined || slot === undefined) return;
    this.#updateCard(card, node);
    keyed(agents, node.agents, {
      key: ({ id, after }) => JSON.stringify([after, id]),
      make: (agent) => h("li", {}, makeNode(agent)),
      update: (item, agent) => this.#updateCard(item.firstElementChild, agent),
    });
    agents.hidden = node.agents.length === 0;
    const last = node.agents.at(-1) ?? node;
    setAttribute(slot, "data-id", last.id);
    setAttribute(slot, "aria-label", `Graft an agent after ${last.id}`);
    /** @type {HTMLButtonElement} */ (slot).disabled = this.#scene.isReadOnly;
    setAttribute(column, "data-index", index);
  }

  /** @param {HTMLElement} card @param {PictureNode} node */
  #updateCard(card, node) {
    const { watchers, isReadOnly } = this.#scene;
    updateNode(card, node, { watchers: watchers.get(node.id) ?? [], isReadOnly });
  }

  /** @param {string} id */
  #node(id) {
    return allNodes(this.#scene.picture).find((node) => node.id === id);
  }

  /** @param {Element} target */
  #clicked(target) {
    const button = target.closest("[data-action]");
    const card = target.closest("[data-id]");
    const node = this.#node(card?.getAttribute("data-id") ?? "");
    if (button === null || card === null || node === undefined) return;
    const action = button.getAttribute("data-action");
    if (action === "prune") tell(this, "prune", { stepId: node.id, isPruned: !node.isPruned });
    else
      this.#open(node, button.closest(".node") ?? button, action === "open" ? null : /** @type {Section} */ (action));
  }

  /**
   * @param {PictureNode} node
   * @param {Element} beside
   * @param {Section} section
   */
  #open(node, beside, section) {
    const { isReadOnly, agents } = this.#scene;
    this.panel.open(node, { beside, section, isReadOnly, agents });
  }

  /** @param {Element} target */
  #looked(target) {
    const id = target.closest(".node")?.getAttribute("data-id");
    if (typeof id === "string") tell(this, "look", { nodeId: id });
  }

  /** Arrow keys go from card to card; letters do what the tools do. @param {KeyboardEvent} event */
  #moved(event) {
    const face = /** @type {Element} */ (event.target).closest(".face");
    if (face === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const faces = /** @type {HTMLElement[]} */ ([...(this.shadowRoot?.querySelectorAll(".face") ?? [])]);
    const index = faces.indexOf(/** @type {HTMLElement} */ (face));
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const tool = { g: "graft", f: "flag", p: "prune" }[event.key];
    if (step !== undefined) faces[index + step]?.focus();
    else if (tool !== undefined) this.#clickTool(face, tool);
    else return;
    event.preventDefault();
  }

  /** @param {Element} face @param {string} tool */
  #clickTool(face, tool) {
    const button = face.parentElement?.querySelector(`.tools [data-action="${tool}"]`);
    if (button instanceof HTMLButtonElement) button.click();
  }

  #layOut() {
    const { steps } = this.#scene.picture;
    const needed = steps.length * NARROWEST_COLUMN + (steps.length - 1) * GAP;
    this.#isAcross = this.clientWidth >= needed;
    setAttribute(this, "data-across", this.#isAcross);
    setAttribute(this.columns, "data-count", steps.length);
    this.columns.style.setProperty("--columns", String(steps.length));
    const boxes = this.#boxes();
    this.#drawFlow(boxes);
    this.#drawCursors();
  }

  /** @returns {Map<PictureNode, Box>} where the nodes of the pipeline are drawn */
  #boxes() {
    const cards = /** @type {HTMLElement[]} */ ([...this.columns.querySelectorAll(".node")]);
    const nodes = this.#scene.picture.steps.flatMap((step, column) =>
      [step, ...step.agents].map((node) => ({ node, column })),
    );
    const boxes = new Map();
    nodes.forEach(({ node, column }, index) => {
      const card = cards[index];
      if (card === undefined) return;
      const { offsetLeft: left, offsetTop: top, offsetWidth, offsetHeight } = card;
      boxes.set(node, { id: node.id, column, left, top, right: left + offsetWidth, bottom: top + offsetHeight });
    });
    return boxes;
  }

  /** @param {Map<PictureNode, Box>} boxes */
  #drawFlow(boxes) {
    const { width, height } = this.board.getBoundingClientRect();
    setAttribute(this.lines, "viewBox", `0 0 ${Math.round(width)} ${Math.round(height)}`);
    const paths = this.#flowPaths(boxes);
    const shown = JSON.stringify([paths, this.#isAcross]);
    if (this.lines.getAttribute("data-shown") === shown) return;
    this.lines.setAttribute("data-shown", shown);
    const arrow = svg(
      "marker",
      {
        id: "arrow",
        viewBox: "0 0 8 8",
        refX: 6.5,
        refY: 4,
        markerWidth: 7,
        markerHeight: 7,
        orient: "auto-start-reverse",
      },
      svg("path", { d: "M1 1 6.5 4 1 7", class: "head" }),
    );
    const ends = this.#isAcross ? { "marker-end": "url(#arrow)" } : {};
    fill(this.lines, svg("defs", {}, arrow), ...paths.map((d) => svg("path", { d, class: "way", ...ends })));
  }

  /** @param {Map<PictureNode, Box>} boxes */
  #flowPaths(boxes) {
    const all = [...boxes.values()];
    const active = flow(this.#scene.picture).flatMap((node) => boxes.get(node) ?? []);
    if (!this.#isAcross) return flowDown(active, RAIL);
    const columns = all.filter((box, index) => box.column !== all[index - 1]?.column);
    const follows = new Map(all.map((box, index) => [box, all[index + 1]]));
    return flowAcross(active, { columns, above: ABOVE, gap: GAP }, (from, to) => follows.get(from) === to);
  }

  #drawCursors() {
    const shown = [...this.#scene.watchers].flatMap(([nodeId, watchers]) => {
      const card = [...this.board.querySelectorAll(".node")].find((each) => each.getAttribute("data-id") === nodeId);
      if (!(card instanceof HTMLElement)) return [];
      const isNamed = watchers.length <= NAMED_WATCHERS;
      return watchers.slice(0, SHOWN_WATCHERS).map((watcher, index) => ({ watcher, card, index, isNamed }));
    });
    keyed(this.cursors, shown, {
      key: ({ watcher }) => watcher.userId,
      make: ({ watcher }) =>
        h(
          "div",
          { class: "cursor" },
          pointer(),
          avatar(watcher.userId, watcher.colour),
          h("bdi", { class: "clip" }, watcher.userId),
        ),
      update: (cursor, { watcher, card, index, isNamed }) => {
        setAttribute(cursor, "data-colour", watcher.colour);
        setAttribute(cursor.children[1], "data-colour", watcher.colour);
        setAttribute(cursor, "data-named", isNamed);
        const x = card.offsetLeft + 8 + index * (isNamed ? 0 : 18);
        const y = card.offsetTop + card.offsetHeight - (this.#isAcross ? 12 : 8) + (isNamed ? index * 24 : 0);
        cursor.style.setProperty("transform", `translate(${x}px, ${y}px)`);
        cursor.style.setProperty("max-width", `${card.offsetWidth - 16}px`);
      },
    });
  }
}

function pointer() {
  return svg("svg", { class: "pointer", viewBox: "0 0 12 12" }, svg("path", { d: "M1.5 1.5 11 5 6.8 6.8 5 11z" }));
}

define("run-pipeline", RunPipeline);
