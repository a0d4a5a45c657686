// @ts-check
import { isCovered } from "./position.js";
import { Timer, fullJitter, systemClock } from "./timer.js";

/**
 * @typedef {{
 *   topic: string, id?: string, type: string, actorId?: string, key?: string, version?: number, data: any,
 * }} TopicEvent
 * @typedef {{
 *   onEvent: (event: TopicEvent) => void,
 *   onLost: () => Promise<void>,
 *   onEnded?: (error: import("../errors.js").ServiceError) => void,
 * }} Handlers `onLost` reads the topic's things again; it is repeated until it succeeds.
 * @typedef {{topic: string, position?: string, recovered?: boolean}} Answer
 */

/** After a server lost its place all its clients read again: not all at once. */
const REREAD_WITHIN_MS = 5_000;
/** Replays stop at the position anyway, so forgetting the oldest versions costs nothing. */
const KEPT_VERSIONS = 2_000;

/** One followed topic: its position across connections, and which of its events are news. */
export class Subscription {
  /** Whether the server answered what it was last asked; until then its events belong to an older question. */
  following = false;
  /** Tells the newest question from those before it: an answer to an older one settles nothing. */
  asked = {};
  /** @type {Map<string, number>} */
  #versions = new Map();
  #reread;

  /**
   * @param {string} topic
   * @param {Handlers} handlers
   * @param {string | undefined} after
   * @param {{clock?: import("./timer.js").Clock, random?: () => number}} [options]
   */
  constructor(topic, handlers, after, { clock = systemClock, random = Math.random } = {}) {
    this.topic = topic;
    this.handlers = handlers;
    /** @type {string | null} */
    this.position = after ?? null;
    const again = fullJitter(1_000, 30_000, random);
    const delayFor = (/** @type {number} */ tries) => (tries === 1 ? random() * REREAD_WITHIN_MS : again(tries - 1));
    this.#reread = new Timer(() => this.#readAgain(), delayFor, clock);
  }

  ask() {
    this.suspend();
    return (this.asked = {});
  }

  suspend() {
    this.following = false;
  }

  /** The server follows it now. When it recovered, what was missed comes next, so the position stays where it was. @param {Answer} answer */
  confirm(answer) {
    this.following = true;
    if (answer.recovered === false) this.lose(answer.position);
    else if (!answer.recovered) this.position = answer.position ?? null;
  }

  /** @param {string | undefined} position */
  lose(position) {
    this.position = position ?? null;
    this.#reread.reset();
    this.#reread.schedule();
  }

  /** @param {TopicEvent} event */
  receive(event) {
    if (!this.following || !this.#isNews(event)) return;
    this.handlers.onEvent(event);
  }

  close() {
    this.suspend();
    this.#reread.cancel();
  }

  /** @param {TopicEvent} event */
  #isNews({ id, type, key, version }) {
    if (id) {
      if (isCovered(id, this.position)) return false;
      this.position = id;
    }
    if (version === undefined) return true;
    const state = `${type} ${key}`;
    if (version <= (this.#versions.get(state) ?? -Infinity)) return false;
    this.#versions.delete(state);
    this.#versions.set(state, version);
    if (this.#versions.size > KEPT_VERSIONS) this.#versions.delete(/** @type {string} */ (this.#versions.keys().next().value));
    return true;
  }

  async #readAgain() {
    try {
      await this.handlers.onLost();
      if (!this.#reread.pending) this.#reread.reset();
    } catch {
      if (!this.#reread.pending) this.#reread.schedule();
    }
  }
}
