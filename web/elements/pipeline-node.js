/**
 * One step or agent of the pipeline as a card.
 *
 * Law of this file: draws one node; what a click means is told to the pipeline by `data-action` of what was clicked.
 */

/** @import { PictureNode } from "../state/picture.js" */
/** @import { Watcher } from "./run-pipeline.js" */

import { MESSAGE_STATES } from "../state/sentences.js";
import { fill, h, setAttribute, setText } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {string} action
 * @param {Parameters<typeof icon>[0]} name
 */
function tool(action, name) {
  return h("button", { class: `icon-button ${action}`, type: "button", "data-action": action }, icon(name));
}

/** @param {PictureNode} node @returns {HTMLElement} */
export function makeNode({ id, kind }) {
  return h(
    "div",
    { class: `node ${kind}`, "data-id": id },
    h(
      "button",
      { class: "face", type: "button", "data-action": "open", "aria-haspopup": "dialog" },
      h("span", { class: "name" }, kind === "agent" && icon("agent"), h("bdi", { class: "clip" }, id)),
      h("span", { class: "meta" }),
      h("span", { class: "unseen" }),
    ),
    h("div", { class: "tools" }, tool("graft", "plus"), tool("flag", "flag"), tool("prune", "prune")),
  );
}

/**
 * @param {HTMLElement} card
 * @param {PictureNode} node
 * @param {{watchers: readonly Watcher[], isReadOnly: boolean}} seen
 */
export function updateNode(card, node, { watchers, isReadOnly }) {
  const pending = pendingState(node);
  setAttribute(card, "data-pruned", node.isPruned);
  setAttribute(card, "data-flagged", node.flag !== null);
  setAttribute(card, "data-pending", pending);
  const [face, tools] = card.children;
  const [, meta, rest] = face?.children ?? [];
  if (face === undefined || tools === undefined || meta === undefined || rest === undefined) return;
  setText(meta, metaOf(node, pending));
  setText(rest, unseenOf(node, pending, watchers));
  setAttribute(face, "title", node.note === "" ? node.id : `${node.id}: ${node.note}`);
  updateTools(/** @type {HTMLElement} */ (tools), node, isReadOnly);
}

/**
 * @param {HTMLElement} tools
 * @param {PictureNode} node
 * @param {boolean} isReadOnly
 */
function updateTools(tools, node, isReadOnly) {
  const [graft, flag, prune] = /** @type {HTMLButtonElement[]} */ ([...tools.children]);
  for (const button of [graft, flag, prune]) if (button !== undefined) button.disabled = isReadOnly;
  label(graft, `Graft an agent after ${node.id}`);
  label(flag, node.flag === null ? `Flag ${node.id}` : `Change the flag on ${node.id}`);
  label(prune, node.isPruned ? `Restore ${node.id}` : `Prune ${node.id}`);
  const shape = node.isPruned ? "restore" : "prune";
  if (prune !== undefined && prune.getAttribute("data-shape") !== shape) {
    prune.setAttribute("data-shape", shape);
    fill(prune, icon(shape));
  }
}

/** @param {HTMLElement | undefined} button @param {string} words */
function label(button, words) {
  if (button === undefined) return;
  setAttribute(button, "aria-label", words);
  setAttribute(button, "title", words);
}

/** @param {PictureNode} node @returns {string | null} of what is on its way here */
function pendingState({ graft, prune, flag }) {
  const states = [graft, prune, flag].map((event) => event?.pendingState).filter((state) => state !== undefined);
  return states.find((state) => state !== "sent") ?? states[0] ?? null;
}

/** @param {PictureNode} node @param {string | null} pending */
function metaOf(node, pending) {
  if (pending !== null) return `${MESSAGE_STATES[pending] ?? pending} …`;
  if (node.isPruned) return `Pruned by ${node.prune?.userId}`;
  if (node.flag !== null) return node.note;
  if (node.kind === "agent") return `Grafted by ${node.graft?.userId}`;
  return node.kind === "unknown" ? "Not in this pipeline" : "Active";
}

/**
 * What the look of a card says, for those who do not see it.
 * @param {PictureNode} node
 * @param {string | null} pending
 * @param {readonly Watcher[]} watchers
 */
function unseenOf(node, pending, watchers) {
  const { kind, isPruned, flag } = node;
  const looking = watchers.map(({ userId }) => userId).join(", ");
  const parts = [
    kind === "agent" ? `agent after ${node.after}` : kind === "step" && "step",
    isPruned && pending !== null && "pruned",
    flag !== null && `flagged by ${flag.userId}`,
    flag !== null && (isPruned || pending !== null) && node.note,
    looking !== "" && `${looking} ${watchers.length === 1 ? "looks" : "look"} at it`,
  ];
  return parts
    .filter((part) => part !== false)
    .map((part) => `; ${part}`)
    .join("");
}
