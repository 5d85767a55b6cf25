/**
 * Time that moves only when a test says so.
 *
 * Law of this file: nothing here waits for real time. Between two timers everything that is ready (promises, and what
 * libraries put on the event loop) runs to its end.
 */

/** @typedef {{at: number, order: number, work: () => void}} Timer */

export class VirtualTime {
  constructor() {
    this.steady = 1_000;
    this.wallOffset = 1_700_000_000_000;
    this.order = 0;
    /** How many turns of the real event loop things need between two timers: a database in memory needs more. */
    this.turns = 6;
    /** @type {Set<Timer>} */
    this.timers = new Set();
  }

  now = () => this.steady;

  wall = () => this.steady + this.wallOffset;

  setTimeout = (/** @type {() => void} */ work, /** @type {number} */ ms) => {
    const timer = { at: this.steady + Math.max(0, ms), order: ++this.order, work };
    this.timers.add(timer);
    return timer;
  };

  clearTimeout = (/** @type {any} */ timer) => void this.timers.delete(timer);

  /** Let everything run that waits for no timer. */
  async settle() {
    for (let turn = 0; turn < this.turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  /** @param {number} ms */
  async advance(ms) {
    const until = this.steady + ms;
    await this.settle();
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      this.timers.delete(next);
      this.steady = Math.max(this.steady, next.at);
      next.work();
      await this.settle();
    }
    this.steady = until;
  }

  /**
   * The machine sleeps: no timer fires, and the clocks go on (the steady one only where the system lets it).
   * @param {number} ms
   * @param {{steady?: boolean}} [clocks]
   */
  sleep(ms, { steady = true } = {}) {
    if (steady) this.steady += ms;
    else this.wallOffset += ms;
  }

  /** @param {number} until */
  #next(until) {
    const due = [...this.timers].filter((timer) => timer.at <= until);
    return due.sort((one, other) => one.at - other.at || one.order - other.order)[0];
  }
}
