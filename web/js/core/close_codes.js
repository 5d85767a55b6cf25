/**
 * What the end of a WebSocket tells the client to do (docs/client-behaviour.md, R25, R29).
 *
 * Law of this file: one table and its look-up; pure.
 */

/**
 * @typedef {object} CloseRule
 * @property {"back" | "token" | "stop"} act come back, ask for a token first, or stay away
 * @property {boolean} failure whether it counts as one when the connection was not yet stable
 * @property {"ended" | "replaced" | "forbidden" | "run_not_found"} [why] of a stop
 * @property {boolean} [content] a message on its way was the cause (R21)
 */

/** @type {CloseRule} */
const COMES_BACK = { act: "back", failure: true };

/** @type {Readonly<Record<number, CloseRule>>} */
export const CLOSE_RULES = Object.freeze({
  1000: { act: "stop", failure: false, why: "ended" },
  1001: COMES_BACK,
  1002: COMES_BACK,
  1003: { act: "back", failure: true, content: true },
  1005: COMES_BACK,
  1006: COMES_BACK,
  1007: { act: "back", failure: true, content: true },
  1008: COMES_BACK,
  1009: { act: "back", failure: true, content: true },
  1010: COMES_BACK,
  1011: COMES_BACK,
  1012: { act: "back", failure: false },
  4000: COMES_BACK,
  4008: COMES_BACK,
  4009: { act: "stop", failure: false, why: "replaced" },
  4401: { act: "token", failure: false },
  4403: { act: "stop", failure: false, why: "forbidden" },
  4404: { act: "stop", failure: false, why: "run_not_found" },
  4429: { act: "back", failure: false },
  4500: COMES_BACK,
});

/**
 * @param {number} code
 * @returns {CloseRule} an unknown code is a lost connection
 */
export function closeRule(code) {
  return CLOSE_RULES[code] ?? COMES_BACK;
}
