/**
 * The picture of a run's pipeline, read from what is in force: steps, the agents grafted after them, what is pruned
 * and what is flagged.
 *
 * Law of this file: pure; the same places give the same picture, for whoever looks and whenever they came. Nothing in
 * force is left out: what has no place in the pipeline stands under `elsewhere`.
 */

/** @import { CollabEvent } from "../js/index.js" */
/** @import { Places } from "./places.js" */

import { apply, placeName } from "./places.js";

/**
 * @typedef {CollabEvent & {pendingState?: string}} Shown an event in force; with `pendingState` one that is on its way
 *
 * @typedef {object} PictureNode
 * @property {string} id a step's or an agent's name
 * @property {"step" | "agent" | "unknown"} kind
 * @property {string | null} after what an agent was grafted after
 * @property {Shown | null} graft how an agent came here
 * @property {Shown | null} prune the newest PRUNE of it, also one that restored it
 * @property {boolean} isPruned
 * @property {Shown | null} flag the newest FLAG with a note
 * @property {string} note empty for none
 * @property {PictureNode[]} agents of a step: what comes after it, in order
 *
 * @typedef {object} Picture
 * @property {PictureNode[]} steps
 * @property {PictureNode[]} elsewhere what is in force at places that this pipeline does not have
 */

/**
 * @param {readonly string[]} steps
 * @param {Places} places
 * @returns {Picture}
 */
export function picture(steps, places) {
  const known = new Set(steps);
  const drawn = steps.map((id) => stepNode(id, "step", places, known));
  return { steps: drawn, elsewhere: elsewhere(places, known) };
}

/**
 * Places with messages that are not committed yet laid over them.
 * @param {Places} places
 * @param {readonly Shown[]} pending oldest first
 * @returns {Places}
 */
export function withPending(places, pending) {
  return pending.length === 0 ? places : apply(new Map(places), pending);
}

/** Every node of a picture, in the order of reading. @param {Picture} drawn @returns {PictureNode[]} */
export function allNodes({ steps, elsewhere: others }) {
  return [...steps, ...others].flatMap((node) => [node, ...node.agents]);
}

/** The nodes that work flows through, in order. @param {Picture} drawn @returns {PictureNode[]} */
export function flow({ steps }) {
  return steps.flatMap((node) => [node, ...node.agents]).filter((node) => !node.isPruned);
}

/**
 * The picture as lines of text: what a test compares, and what is copied as text.
 * @param {Picture} drawn
 * @returns {string[]}
 */
export function asText({ steps, elsewhere: others }) {
  const line = (/** @type {PictureNode} */ node, /** @type {string} */ indent) =>
    `${indent}${node.id}${node.isPruned ? " (pruned)" : ""}${node.note === "" ? "" : ` [flag: ${node.note}]`}`;
  const lines = (/** @type {PictureNode[]} */ nodes) =>
    nodes.flatMap((node) => [line(node, ""), ...node.agents.map((agent) => line(agent, "  "))]);
  return [...lines(steps), ...(others.length === 0 ? [] : ["Elsewhere:", ...lines(others)])];
}

/**
 * @param {string} id
 * @param {"step" | "unknown"} kind
 * @param {Places} places
 * @param {Set<string>} taken ids that have their place; those of the agents found are added
 * @returns {PictureNode}
 */
function stepNode(id, kind, places, taken) {
  const agents = [];
  let graft = places.get(placeName("GRAFT", id));
  let after = id;
  while (graft !== undefined) {
    const name = graft.data.agentName;
    if (!isName(name)) break;
    agents.push(node(name, "agent", places, { after, graft }));
    // An agent named like something that is already drawn ends the chain there: what follows has one place only.
    if (taken.has(name)) break;
    taken.add(name);
    after = name;
    graft = places.get(placeName("GRAFT", name));
  }
  return { ...node(id, kind, places, {}), agents };
}

/**
 * @param {string} id
 * @param {PictureNode["kind"]} kind
 * @param {Places} places
 * @param {{after?: string, graft?: Shown}} came
 * @returns {PictureNode}
 */
function node(id, kind, places, { after, graft }) {
  const prune = places.get(placeName("PRUNE", id)) ?? null;
  const flag = places.get(placeName("FLAG", id)) ?? null;
  const note = flag !== null && typeof flag.data.note === "string" ? flag.data.note.trim() : "";
  return {
    id,
    kind,
    after: after ?? null,
    graft: graft ?? null,
    prune,
    isPruned: prune?.data.isPruned === true,
    flag: note === "" ? null : flag,
    note,
    agents: [],
  };
}

/**
 * @param {Places} places
 * @param {Set<string>} taken
 * @returns {PictureNode[]}
 */
function elsewhere(places, taken) {
  const inForce = [...places.values()].filter(isInForce);
  const grafts = inForce.filter((event) => event.eventType === "GRAFT" && !taken.has(event.data.after));
  const grafted = new Set(grafts.map((event) => event.data.agentName));
  // By name, not by time: who came late does not know when a place was first taken.
  const starts = grafts.map((event) => event.data.after).sort();
  const others = inForce.map((event) => event.data.stepId).sort();
  // Where a chain of agents begins comes first, so that its agents are found in it and not one by one.
  const ids = [...starts.filter((id) => !grafted.has(id)), ...starts, ...others];
  /** @type {PictureNode[]} */
  const nodes = [];
  for (const id of ids) {
    if (typeof id !== "string" || taken.has(id)) continue;
    taken.add(id);
    nodes.push(stepNode(id, "unknown", places, taken));
  }
  return nodes;
}

/** @param {CollabEvent} event in a place, so that its data is an object */
function isInForce({ eventType, data }) {
  if (eventType === "GRAFT") return isName(data.agentName);
  if (eventType === "PRUNE") return data.isPruned === true;
  return typeof data.note === "string" && data.note.trim() !== "";
}

/** @param {unknown} name @returns {name is string} */
function isName(name) {
  return typeof name === "string" && name !== "";
}
