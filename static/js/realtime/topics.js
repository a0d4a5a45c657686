// @ts-check
import { ServiceError, isRetryable } from "../errors.js";
import { Subscription } from "./subscription.js";

const TOPICS_PER_FRAME = 500;
const ASK_AGAIN_MS = 2_000;

/**
 * @typedef {{
 *   ask: (frame: object, onReply: (frame: any) => void, onError: (error: ServiceError) => void) => void,
 *   later: (work: () => void, ms: number) => void,
 *   unanswered: () => void,
 *   clock: import("./timer.js").Clock,
 *   random: () => number,
 * }} TopicsOptions
 */

/** All that the page follows, and the asking for it after each hello. */
export class Topics {
  /** @type {Map<string, Subscription>} */
  #byName = new Map();
  /** @type {Subscription | undefined} */
  #resumed;

  /** @param {TopicsOptions} options */
  constructor(options) {
    this.options = options;
  }

  /** @param {string} topic @param {import("./subscription.js").Handlers} handlers @param {string} [after] */
  add(topic, handlers, after) {
    this.#byName.get(topic)?.close();
    const subscription = new Subscription(topic, handlers, after, this.options);
    this.#byName.set(topic, subscription);
    return subscription;
  }

  /** @param {Subscription} subscription */
  remove(subscription) {
    subscription.close();
    if (this.#byName.get(subscription.topic) !== subscription) return false;
    return this.#byName.delete(subscription.topic);
  }

  /** The position of the topic that the server follows by itself: it goes with the auth frame. */
  resumeUser() {
    this.#resumed = [...this.#byName.values()].find(({ topic }) => topic.startsWith("user:"));
    return this.#resumed?.position ?? undefined;
  }

  /** Whatever the hello did not settle is asked for. @param {any[]} answers */
  greeted(answers) {
    const answer = answers.find(({ topic, error }) => topic === this.#resumed?.topic && !error);
    const resumed = this.#resumed;
    if (answer && resumed === this.#byName.get(answer.topic)) resumed?.confirm(answer);
    this.follow([...this.#byName.values()].filter(({ following }) => !following));
  }

  /** Asks for topics, each from where it stands. @param {Subscription[]} subscriptions */
  follow(subscriptions) {
    for (let at = 0; at < subscriptions.length; at += TOPICS_PER_FRAME) {
      this.#ask(subscriptions.slice(at, at + TOPICS_PER_FRAME));
    }
  }

  /** @param {import("./subscription.js").TopicEvent} event */
  receive(event) {
    this.#byName.get(event.topic)?.receive(event);
  }

  /** @param {{topic: string, position?: string}} frame */
  lose({ topic, position }) {
    this.#byName.get(topic)?.lose(position);
  }

  /** The server will not go on with it. @param {string} topic @param {any} error */
  end(topic, error) {
    const subscription = this.#byName.get(topic);
    this.#byName.delete(topic);
    subscription?.close();
    subscription?.handlers.onEnded?.(ServiceError.from(error));
  }

  disconnected() {
    for (const subscription of this.#byName.values()) subscription.suspend();
  }

  /** @param {Subscription[]} subscriptions */
  #ask(subscriptions) {
    const topics = subscriptions.map(({ topic, position }) => ({ topic, after: position ?? undefined }));
    const asked = new Map(subscriptions.map((subscription) => [subscription.topic, subscription.ask()]));
    const answered = (/** @type {any} */ { topic, error, ...answer }) => {
      const subscription = this.#byName.get(topic);
      if (!subscription || subscription.asked !== asked.get(topic)) return; // asked again since
      if (!error) subscription.confirm({ topic, ...answer });
      else if (isRetryable(ServiceError.from(error))) this.#askLater(subscription);
      else this.end(topic, error);
    };
    this.options.ask({ op: "subscribe", topics }, (frame) => frame.topics.forEach(answered), (error) => {
      if (error.code === "timeout") this.options.unanswered();
      else if (error.code !== "closed") topics.forEach(({ topic }) => answered({ topic, error }));
    });
  }

  /** @param {Subscription} subscription */
  #askLater(subscription) {
    const { asked } = subscription;
    const work = () => {
      if (subscription.asked === asked && this.#byName.get(subscription.topic) === subscription) this.follow([subscription]);
    };
    this.options.later(work, ASK_AGAIN_MS * (1 + this.options.random()));
  }
}
