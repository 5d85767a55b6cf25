/**
 * Which steps a pipeline has: the default ones, or those that a link names (`?steps=PLAN,BUILD,SHIP`).
 *
 * Law of this file: pure; a link that names nothing usable gives the default.
 */

/** @type {readonly string[]} */
export const DEFAULT_STEPS = ["PM", "QUALIFIER", "ARCHITECT", "DEVELOPER", "REVIEWER", "TESTER", "WRITER"];
const MOST_STEPS = 24;
const LONGEST_NAME = 60;

/**
 * @param {string} text names separated by commas or line ends
 * @returns {string[]} empty for none
 */
export function parseSteps(text) {
  const names = text.split(/[,\n]/).map((name) => name.trim().slice(0, LONGEST_NAME));
  return [...new Set(names.filter((name) => name !== ""))].slice(0, MOST_STEPS);
}

/**
 * @param {string} query of the page's address
 * @returns {readonly string[]}
 */
export function stepsOf(query) {
  const named = parseSteps(new URLSearchParams(query).get("steps") ?? "");
  return named.length === 0 ? DEFAULT_STEPS : named;
}

/**
 * The query that makes a link show these steps; empty for the default ones.
 * @param {readonly string[]} steps
 */
export function stepsQuery(steps) {
  const isDefault = steps.length === 0 || steps.join("\n") === DEFAULT_STEPS.join("\n");
  return isDefault ? "" : `?${new URLSearchParams({ steps: steps.join(",") })}`;
}
