/**
 * Noticing that the machine slept (docs/client-behaviour.md, R2).
 *
 * Law of this file: pure; both clocks are arguments, in milliseconds. Some systems stop the steady clock during sleep
 * and some do not, so both signs are looked for: a look that comes late, and a wall clock that ran ahead of the steady
 * one.
 */

/** Compares each look with the one before. */
export class WakeWatch {
  /**
   * @param {number} steady
   * @param {number} wall
   */
  constructor(steady, wall) {
    this.steady = steady;
    this.wall = wall;
  }

  /**
   * @param {number} steady
   * @param {number} wall
   * @param {{everyMs: number, toleranceMs: number}} plan how often a look is due, and how late is late
   * @returns {boolean} whether the machine slept since the last look
   */
  look(steady, wall, { everyMs, toleranceMs }) {
    const passed = steady - this.steady;
    const ahead = wall - this.wall - passed;
    this.steady = steady;
    this.wall = wall;
    return passed - everyMs > toleranceMs || ahead > toleranceMs;
  }
}
