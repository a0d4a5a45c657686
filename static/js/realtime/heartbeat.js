// @ts-check
import { systemClock } from "./timer.js";

/** How long a pong may take before the line counts as dead. */
const PONG_WITHIN_MS = 10_000;

/** Finds out that a connection died without a word: pings when nothing was heard, ends it when nothing comes back. */
export class Heartbeat {
  #intervalMs = 25_000;
  #heardAt = 0;
  #running = false;
  /** @type {any} */
  #timeout = null;

  /**
   * @param {{ping: () => void, dead: () => void, clock?: import("./timer.js").Clock}} options
   */
  constructor({ ping, dead, clock = systemClock }) {
    this.ping = ping;
    this.dead = dead;
    this.clock = clock;
  }

  /** @param {number} intervalMs */
  start(intervalMs) {
    this.stop();
    this.#running = true;
    this.#intervalMs = intervalMs;
    this.heard();
    this.#wait(intervalMs);
  }

  stop() {
    this.#running = false;
    this.clock.clearTimeout(this.#timeout);
  }

  /** Called for each frame, so it only notes the time. */
  heard() {
    this.#heardAt = this.clock.now();
  }

  /** Asks at once: the network came back, or the page was away with its timers asleep. */
  probe() {
    if (!this.#running) return;
    this.clock.clearTimeout(this.#timeout);
    const askedAt = this.clock.now();
    this.ping();
    this.#timeout = this.clock.setTimeout(() => {
      if (this.#heardAt >= askedAt) this.#wait(this.#intervalMs);
      else this.dead();
    }, PONG_WITHIN_MS);
  }

  /** @param {number} ms */
  #wait(ms) {
    this.#timeout = this.clock.setTimeout(() => {
      const silentMs = this.clock.now() - this.#heardAt;
      if (silentMs >= this.#intervalMs) this.probe();
      else this.#wait(this.#intervalMs - silentMs);
    }, ms);
  }
}
