/**
 * How long to wait before the next try.
 *
 * Law of this file: pure; randomness is an argument. Full jitter (any time between nothing and the bound) keeps a
 * thousand clients that lost the same server from returning together.
 */

/**
 * @typedef {object} BackoffRule all in milliseconds
 * @property {number} base bound of the first wait
 * @property {number} cap no bound is larger
 */

/**
 * @param {number} failures how many tries failed so far, from 1
 * @param {BackoffRule} rule
 * @param {() => number} random in [0, 1)
 * @returns {number} milliseconds
 */
export function backoffMs(failures, rule, random) {
  const bound = Math.min(rule.cap, rule.base * 2 ** Math.min(failures - 1, 30));
  return Math.floor(random() * bound);
}
