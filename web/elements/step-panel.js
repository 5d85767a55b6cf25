/**
 * What one can know of a node and do to it, in a small dialog beside it.
 *
 * Law of this file: it shows one node and tells what the user wants done; it sends nothing.
 */

/** @import { PictureNode, Shown } from "../state/picture.js" */

import { listTime, wholeTime } from "../state/times.js";
import { fill, h, setText } from "./dom.js";
import { icon } from "./icons.js";

const LONGEST_NOTE = 2_000;
const LONGEST_AGENT = 255;
const MARGIN = 12;
/** From this width on the panel stands beside its node; below it is a sheet at the bottom. */
const WIDE = 640;

/**
 * @typedef {"graft" | "flag" | null} Section what is wanted: the field that gets the focus
 *
 * @typedef {object} PanelActions
 * @property {(after: string, agentName: string) => void} graft
 * @property {(stepId: string, isPruned: boolean) => void} prune
 * @property {(stepId: string, note: string) => void} flag
 */

export class StepPanel {
  /** @param {PanelActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {PictureNode | null} */
    this.node = null;
    this.title = h("h2", { class: "wrap", id: "panel-title", dir: "auto" });
    this.facts = h("ul", { class: "facts" });
    this.agentName = h("input", {
      class: "input",
      id: "agent",
      maxlength: LONGEST_AGENT,
      autocomplete: "off",
      dir: "auto",
      list: "agents",
      placeholder: "security-scanner-v1",
    });
    this.agents = h("datalist", { id: "agents" });
    this.graftHint = h("p", { class: "quiet small wrap" });
    this.note = h("textarea", {
      class: "input",
      id: "note",
      maxlength: LONGEST_NOTE,
      rows: 3,
      dir: "auto",
      placeholder: "What should the others know?",
    });
    this.unflag = h(
      "button",
      { class: "button small plain", type: "button", onclick: () => this.#flag("") },
      "Take flag off",
    );
    this.flagButton = h("button", { class: "button small" }, "");
    this.pruneButton = h("button", { class: "button small", type: "button", onclick: () => this.#prune() });
    this.fields = h("fieldset", { class: "work" }, this.#graftForm(), this.#flagForm(), this.#pruneRow());
    this.readOnly = h("p", { class: "quiet small" }, "This is how the run was. Go back to live to change it.");
    const close = h(
      "button",
      { class: "icon-button", type: "button", "aria-label": "Close", onclick: () => this.dialog.close() },
      icon("close"),
    );
    this.dialog = h(
      "dialog",
      {
        class: "panel",
        "aria-labelledby": "panel-title",
        onclick: (/** @type {MouseEvent} */ event) => this.#outside(event),
      },
      h("div", { class: "inside" }, h("header", {}, this.title, close), this.facts, this.readOnly, this.fields),
    );
  }

  #graftForm() {
    const form = h(
      "form",
      { class: "field" },
      h("label", { for: "agent" }, "Graft an agent after it"),
      h("div", { class: "line" }, this.agentName, h("button", { class: "button small primary" }, "Graft")),
      this.agents,
      this.graftHint,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = this.agentName.value.trim();
      if (name === "" || this.node === null) return this.agentName.focus();
      this.actions.graft(this.node.id, name);
      this.dialog.close();
    });
    return form;
  }

  #flagForm() {
    const form = h(
      "form",
      { class: "field" },
      h("label", { for: "note" }, "Flag it with a note"),
      this.note,
      h("div", { class: "line end" }, this.unflag, this.flagButton),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const note = this.note.value.trim();
      if (note === "") return this.note.focus();
      this.#flag(note);
    });
    return form;
  }

  #pruneRow() {
    return h("div", { class: "line end" }, this.pruneButton);
  }

  /**
   * @param {PictureNode} node
   * @param {object} how
   * @param {Element} how.beside
   * @param {Section} how.section
   * @param {boolean} how.isReadOnly
   * @param {readonly string[]} how.agents names to choose from
   */
  open(node, { beside, section, isReadOnly, agents }) {
    this.agentName.value = "";
    this.note.value = node.note;
    fill(this.agents, ...agents.map((name) => h("option", { value: name })));
    this.update(node, isReadOnly);
    this.dialog.showModal();
    this.#place(beside.getBoundingClientRect());
    if (isReadOnly) return;
    if (section === "flag") this.note.focus();
    else if (section === "graft") this.agentName.focus();
    else this.pruneButton.focus();
  }

  /** The node may change while the panel is open. @param {PictureNode} node @param {boolean} isReadOnly */
  update(node, isReadOnly) {
    this.node = node;
    setText(this.title, node.id);
    fill(this.facts, ...factsOf(node));
    this.fields.disabled = isReadOnly;
    this.fields.hidden = isReadOnly;
    this.readOnly.hidden = !isReadOnly;
    const [first] = node.agents;
    setText(this.graftHint, first === undefined ? "" : `Replaces ${first.id}, which stands there now.`);
    setText(this.flagButton, node.flag === null ? "Flag" : "Change note");
    this.unflag.hidden = node.flag === null;
    fill(this.pruneButton, icon(node.isPruned ? "restore" : "prune"), node.isPruned ? "Restore" : "Prune");
  }

  #prune() {
    if (this.node !== null) this.actions.prune(this.node.id, !this.node.isPruned);
    this.dialog.close();
  }

  /** @param {string} note */
  #flag(note) {
    if (this.node !== null) this.actions.flag(this.node.id, note);
    this.dialog.close();
  }

  /** @param {MouseEvent} event */
  #outside({ target }) {
    if (target === this.dialog) this.dialog.close();
  }

  /** @param {DOMRect} beside */
  #place({ left, right, top }) {
    const { style } = this.dialog;
    for (const side of ["left", "top"]) style.removeProperty(side);
    if (innerWidth < WIDE) return;
    const { width, height } = this.dialog.getBoundingClientRect();
    const fits = right + MARGIN + width < innerWidth;
    const x = fits ? right + MARGIN : left - MARGIN - width;
    style.setProperty("left", `${Math.max(MARGIN, Math.min(x, innerWidth - width - MARGIN))}px`);
    style.setProperty("top", `${Math.max(MARGIN, Math.min(top - MARGIN, innerHeight - height - MARGIN))}px`);
  }
}

/** @param {PictureNode} node @returns {HTMLElement[]} */
function factsOf({ graft, after, prune, flag, note, isPruned }) {
  const facts = [];
  if (graft !== null)
    facts.push(fact("agent", ["Grafted after ", h("bdi", {}, after ?? ""), " by ", who(graft)], graft));
  if (prune !== null)
    facts.push(fact(isPruned ? "prune" : "restore", [isPruned ? "Pruned by " : "Restored by ", who(prune)], prune));
  if (flag !== null) {
    facts.push(fact("flag", ["Flagged by ", who(flag)], flag, h("blockquote", { class: "wrap", dir: "auto" }, note)));
  }
  return facts;
}

/** @param {Shown} event */
function who({ userId }) {
  return h("bdi", {}, userId);
}

/**
 * @param {Parameters<typeof icon>[0]} shape
 * @param {(string | Node)[]} words
 * @param {Shown} event
 * @param {HTMLElement | null} [more]
 */
function fact(shape, words, event, more = null) {
  const { pendingState, sequenceNumber, timestamp } = event;
  const when =
    pendingState !== undefined
      ? h("span", { class: "quiet small" }, "not committed yet")
      : h(
          "span",
          { class: "quiet small figures", title: wholeTime(timestamp) },
          `#${sequenceNumber} · ${listTime(timestamp, Date.now())}`,
        );
  return h("li", {}, icon(shape), h("div", {}, h("span", { class: "wrap" }, ...words), when, more));
}
