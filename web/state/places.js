/**
 * What is in force in a run: at each place the newest event wins.
 *
 * Law of this file: pure. A place is an event type and the value of its key field, as the server has it
 * (docs/protocol.md, `runState`), so that state kept by the server and state folded here are the same state. An event
 * that makes no sense at its place still takes the place: ignoring it would show those who were there something else
 * than those who come later.
 */

/** @import { CollabEvent } from "../js/index.js" */

/** @typedef {ReadonlyMap<string, CollabEvent>} Places */

/** The field of `data` that names what an event is about. @type {Readonly<Record<string, string>>} */
const KEY_FIELDS = { GRAFT: "after", PRUNE: "stepId", FLAG: "stepId" };

/**
 * @param {string} eventType
 * @param {unknown} key
 */
export function placeName(eventType, key) {
  return `${eventType} ${JSON.stringify(key)}`;
}

/**
 * @param {CollabEvent} event
 * @returns {string | null} null for an event that is no state
 */
export function placeOf(event) {
  const field = Object.hasOwn(KEY_FIELDS, event.eventType) ? KEY_FIELDS[event.eventType] : undefined;
  const { data } = event;
  if (field === undefined || typeof data !== "object" || data === null || !Object.hasOwn(data, field)) return null;
  const key = data[field];
  return typeof key === "string" || typeof key === "number" ? placeName(event.eventType, key) : null;
}

/**
 * Put events, oldest first, into places that belong to the caller.
 * @param {Map<string, CollabEvent>} places
 * @param {Iterable<CollabEvent>} events
 * @returns {Map<string, CollabEvent>} the same places
 */
export function apply(places, events) {
  for (const event of events) {
    const place = placeOf(event);
    if (place !== null) places.set(place, event);
  }
  return places;
}
