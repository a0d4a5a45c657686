// @ts-check
import { systemClock } from "./timer.js";

const WINDOW_MS = 1_000;

/** Keeps below the server's limit of frames a second: what is too fast waits, in order, instead of costing the connection. */
export class Pacer {
  /** When the last sends were, oldest first. @type {number[]} */
  #sentAt = [];
  /** @type {string[]} */
  #waiting = [];
  /** @type {any} */
  #timeout = null;

  /** @param {(frame: string) => void} send @param {number} perSecond @param {import("./timer.js").Clock} [clock] */
  constructor(send, perSecond, clock = systemClock) {
    this.send = send;
    this.perSecond = perSecond;
    this.clock = clock;
  }

  /** @param {string} frame */
  push(frame) {
    this.#waiting.push(frame);
    if (this.#timeout === null) this.#flush();
  }

  /** What waited was for a connection that is gone. */
  clear() {
    this.clock.clearTimeout(this.#timeout);
    this.#timeout = null;
    this.#waiting = [];
    this.#sentAt = [];
  }

  #flush() {
    this.#timeout = null;
    for (let frame = this.#waiting[0]; frame !== undefined; frame = this.#waiting[0]) {
      const waitMs = this.#waitMs();
      if (waitMs > 0) {
        this.#timeout = this.clock.setTimeout(() => this.#flush(), waitMs);
        return;
      }
      this.#waiting.shift();
      this.#sentAt.push(this.clock.now());
      this.send(frame);
    }
  }

  #waitMs() {
    if (this.#sentAt.length < this.perSecond) return 0;
    const waitMs = this.#sentAt[0] + WINDOW_MS - this.clock.now();
    if (waitMs <= 0) this.#sentAt.shift();
    return waitMs;
  }
}
