// @ts-check
import { systemClock } from "../realtime/timer.js";

/** @typedef {import("../realtime/timer.js").Clock} Clock */

const REPEAT_MS = 3_000;
const STOP_AFTER_MS = 4_000;
const SHOWN_MS = 6_000;

/** Tells the others that one types: again every three seconds, and when it ended. */
export class TypingSignal {
  #startedAt = -Infinity;
  #typing = false;
  /** @type {any} */
  #timeout = null;

  /** @param {(method: "TypingStarted" | "TypingStopped") => void} send @param {Clock} [clock] */
  constructor(send, clock = systemClock) {
    this.send = send;
    this.clock = clock;
  }

  typed() {
    const now = this.clock.now();
    if (!this.#typing || now - this.#startedAt >= REPEAT_MS) {
      this.#typing = true;
      this.#startedAt = now;
      this.send("TypingStarted");
    }
    this.clock.clearTimeout(this.#timeout);
    this.#timeout = this.clock.setTimeout(() => this.stop(), STOP_AFTER_MS);
  }

  stop() {
    this.clock.clearTimeout(this.#timeout);
    if (this.#typing) this.send("TypingStopped");
    this.#typing = false;
  }
}

/** Who types here: until told otherwise, or until nothing was heard of them for six seconds. */
export class TypingPeople {
  /** @type {Map<string, any>} */
  #timeouts = new Map();

  /** @param {() => void} onChange @param {Clock} [clock] */
  constructor(onChange, clock = systemClock) {
    this.onChange = onChange;
    this.clock = clock;
  }

  get userIds() {
    return [...this.#timeouts.keys()];
  }

  /** @param {string} userId */
  started(userId) {
    this.clock.clearTimeout(this.#timeouts.get(userId));
    this.#timeouts.set(userId, this.clock.setTimeout(() => this.stopped(userId), SHOWN_MS));
    this.onChange();
  }

  /** @param {string} userId */
  stopped(userId) {
    if (!this.#timeouts.has(userId)) return;
    this.clock.clearTimeout(this.#timeouts.get(userId));
    this.#timeouts.delete(userId);
    this.onChange();
  }

  clear() {
    for (const userId of this.userIds) this.stopped(userId);
  }
}
