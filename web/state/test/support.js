/** Events for tests. Law of this file: makes data, asserts nothing. */

/** @import { CollabEvent } from "../../js/index.js" */

/**
 * @param {number} sequenceNumber
 * @param {string} eventType
 * @param {any} data
 * @param {string} [userId]
 * @returns {CollabEvent}
 */
export function event(sequenceNumber, eventType, data, userId = "ann") {
  return { sequenceNumber, eventType, data, userId, timestamp: 1_700_000_000_000 + sequenceNumber, isCritical: true };
}

/** Chance that a test can repeat. @param {number} seed @returns {(below: number) => number} */
export function chance(seed) {
  let state = seed + 1;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
