/**
 * Events in words.
 *
 * Law of this file: pure. What people wrote stays a part of its own (`user`, `place`, `quote`), so that whoever shows it
 * can keep its direction and its length apart from the words around it; nothing here is markup.
 */

/** @import { CollabEvent } from "../js/index.js" */

/**
 * @typedef {object} Part
 * @property {"words" | "user" | "place" | "quote"} kind
 * @property {string} text
 */

/** What of a transient event's data is shown. */
const LONGEST_DATA = 300;

/**
 * @param {Pick<CollabEvent, "eventType" | "userId" | "data">} event
 * @returns {Part[]}
 */
export function sentence(event) {
  const say = Object.hasOwn(SAYINGS, event.eventType) ? SAYINGS[event.eventType] : undefined;
  const said = typeof event.data === "object" && event.data !== null ? say?.(event.data) : undefined;
  return [user(event.userId), ...(said ?? other(event))];
}

/**
 * What became of an own message that will not be committed.
 * @param {{eventType: string, data: any, code?: string, message?: string}} message
 * @param {string} me
 */
export function rejection({ eventType, data, code = "", message }, me) {
  const [, ...what] = sentence({ eventType, data, userId: me });
  return `Not done: you ${plain(what)}. ${sentenceCase(message || code)}.`;
}

/** @param {string} text */
function sentenceCase(text) {
  const trimmed = text.trim().replace(/[.:]+$/, "");
  return trimmed.charAt(0).toLocaleUpperCase() + trimmed.slice(1);
}

/** @param {Part[]} parts */
export function plain(parts) {
  return parts.map(({ text }) => text).join(" ");
}

/** @type {Record<string, (data: any) => Part[] | undefined>} */
const SAYINGS = {
  GRAFT: ({ after, agentName }) =>
    isText(after) && isText(agentName) ? [words("grafted"), place(agentName), words("after"), place(after)] : undefined,
  PRUNE: ({ stepId, isPruned }) =>
    isText(stepId) ? [words(isPruned === true ? "pruned" : "restored"), place(stepId)] : undefined,
  FLAG: ({ stepId, note }) => (isText(stepId) ? flagged(stepId, note) : undefined),
  USER_JOIN: () => [words("joined")],
  USER_LEAVE: ({ reason }) => [words(LEAVES[reason] ?? "left")],
};

/** @type {Record<string, string>} */
const LEAVES = { timeout: "lost the connection", kicked: "was removed by an operator" };

/**
 * @param {string} stepId
 * @param {unknown} note
 */
function flagged(stepId, note) {
  if (!isText(note) || note.trim() === "") return [words("took the flag off"), place(stepId)];
  return [words("flagged"), place(stepId), quote(note)];
}

/** @param {Pick<CollabEvent, "eventType" | "data">} event */
function other({ eventType, data }) {
  const shown = data === null || data === undefined ? "" : JSON.stringify(data).slice(0, LONGEST_DATA);
  return [words("sent"), place(eventType), ...(shown === "" ? [] : [quote(shown)])];
}

/** @param {unknown} value @returns {value is string} */
function isText(value) {
  return typeof value === "string";
}

/** @param {string} text @returns {Part} */
function words(text) {
  return { kind: "words", text };
}

/** @param {string} text @returns {Part} */
function user(text) {
  return { kind: "user", text };
}

/** @param {string} text @returns {Part} */
function place(text) {
  return { kind: "place", text };
}

/** @param {string} text @returns {Part} */
function quote(text) {
  return { kind: "quote", text };
}

/** How an own message stands, in words. @type {Record<string, string>} */
export const MESSAGE_STATES = {
  storing: "Queued",
  queued: "Queued",
  sent: "Sent",
  committed: "Committed",
  rejected: "Rejected",
};

/**
 * What a screen reader is told of events that came together: one in full, several as a count.
 * @param {readonly CollabEvent[]} events
 * @param {string} me own events are not told: who did them knows
 * @returns {string} empty for nothing
 */
export function announcement(events, me) {
  const others = events.filter((event) => event.userId !== me && event.eventType !== "CURSOR_MOVE");
  const [first] = others;
  if (first === undefined) return "";
  if (others.length === 1) return plain(sentence(first));
  const people = [...new Set(others.map((event) => event.userId))];
  const who = people.length > 3 ? `${people.length} people` : people.join(", ");
  return `${others.length} changes by ${who}`;
}
