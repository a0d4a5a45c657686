// @ts-check
import { ServiceError } from "../errors.js";
import { systemClock } from "./timer.js";

/**
 * @typedef {{onReply: (frame: any) => void, onError: (error: ServiceError) => void, timeout: any}} Push
 */

/** Frames that await an answer. A ref is never used twice, so a late answer finds nobody. */
export class Pushes {
  #lastRef = 0;
  /** @type {Map<number, Push>} */
  #waiting = new Map();

  /** @param {import("./timer.js").Clock} [clock] */
  constructor(clock = systemClock) {
    this.clock = clock;
  }

  /**
   * Replies come by callback, not by promise: what an answer changes must stand before the next frame is read.
   *
   * @param {(frame: any) => void} onReply
   * @param {(error: ServiceError) => void} onError
   * @param {number} timeoutMs
   * @returns {number} the ref to send
   */
  open(onReply, onError, timeoutMs) {
    const ref = ++this.#lastRef;
    const timeout = this.clock.setTimeout(
      () => this.fail(ref, new ServiceError("timeout", "The server did not answer in time.")),
      timeoutMs,
    );
    this.#waiting.set(ref, { onReply, onError, timeout });
    return ref;
  }

  /** @param {any} frame an answer with a ref */
  settle(frame) {
    if (frame.op === "error") this.fail(frame.ref, ServiceError.from(frame.error));
    else this.#take(frame.ref)?.onReply(frame);
  }

  /** @param {number} ref @param {ServiceError} error */
  fail(ref, error) {
    this.#take(ref)?.onError(error);
  }

  /** @param {ServiceError} error */
  failAll(error) {
    for (const ref of [...this.#waiting.keys()]) this.fail(ref, error);
  }

  /** @param {number} ref */
  #take(ref) {
    const push = this.#waiting.get(ref);
    if (!push) return undefined;
    this.#waiting.delete(ref);
    this.clock.clearTimeout(push.timeout);
    return push;
  }
}
