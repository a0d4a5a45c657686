// @ts-check

/**
 * @typedef {{
 *   now: () => number,
 *   setTimeout: (work: () => void, ms: number) => any,
 *   clearTimeout: (id: any) => void,
 * }} Clock
 */

/** @type {Clock} */
export const systemClock = {
  now: () => Date.now(),
  setTimeout: (work, ms) => setTimeout(work, ms),
  clearTimeout: (id) => clearTimeout(id),
};

/**
 * Any moment up to a bound that doubles: clients that lost one server must not return together.
 *
 * @param {number} baseMs
 * @param {number} capMs
 * @param {() => number} [random]
 * @returns {(tries: number) => number}
 */
export function fullJitter(baseMs, capMs, random = Math.random) {
  return (tries) => random() * Math.min(capMs, baseMs * 2 ** (tries - 1));
}

/** One pending call at a time, whose delay is a function of how often it was tried. */
export class Timer {
  tries = 0;
  /** @type {any} */
  #pending = null;

  /**
   * @param {() => void} callback
   * @param {(tries: number) => number} delayFor
   * @param {Clock} [clock]
   */
  constructor(callback, delayFor, clock = systemClock) {
    this.callback = callback;
    this.delayFor = delayFor;
    this.clock = clock;
  }

  get pending() {
    return this.#pending !== null;
  }

  /** Replaces what was scheduled. @param {number} [leastMs] added in front of the delay */
  schedule(leastMs = 0) {
    this.cancel();
    this.tries += 1;
    this.#pending = this.clock.setTimeout(() => {
      this.#pending = null;
      this.callback();
    }, leastMs + this.delayFor(this.tries));
  }

  cancel() {
    if (this.#pending !== null) this.clock.clearTimeout(this.#pending);
    this.#pending = null;
  }

  reset() {
    this.cancel();
    this.tries = 0;
  }
}

/** What ends together: the time-outs of one socket. */
export class Timeouts {
  #pending = new Set();

  /** @param {Clock} [clock] */
  constructor(clock = systemClock) {
    this.clock = clock;
  }

  /** @param {() => void} work @param {number} ms */
  add(work, ms) {
    const timeout = this.clock.setTimeout(() => {
      this.#pending.delete(timeout);
      work();
    }, ms);
    this.#pending.add(timeout);
  }

  clear() {
    for (const timeout of this.#pending) this.clock.clearTimeout(timeout);
    this.#pending.clear();
  }
}

/**
 * Repeats what failed for a passing reason, for as long as its result is wanted.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @param {{wanted: () => boolean, passing: (error: unknown) => boolean, clock?: Clock, random?: () => number}} options
 * @returns {Promise<T | undefined>} undefined when it is wanted no longer
 */
export async function persist(work, { wanted, passing, clock = systemClock, random = Math.random }) {
  const delayFor = fullJitter(1_000, 30_000, random);
  for (let tries = 1; wanted(); tries++) {
    try {
      return await work();
    } catch (error) {
      if (!passing(error)) throw error;
      await new Promise((resolve) => clock.setTimeout(() => resolve(undefined), delayFor(tries)));
    }
  }
  return undefined;
}
