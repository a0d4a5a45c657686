// @ts-check
import { ServiceError, isRefusal } from "../errors.js";
import { CloseCode, isOurFault } from "./close-codes.js";
import { Credentials } from "./credentials.js";
import { Heartbeat } from "./heartbeat.js";
import { alwaysThere } from "./page.js";
import { Pacer } from "./pacer.js";
import { Pushes } from "./push.js";
import { Timeouts, Timer, fullJitter, systemClock } from "./timer.js";
import { Topics } from "./topics.js";

/**
 * @typedef {"idle" | "connecting" | "open" | "waiting" | "paused" | "stopped"} State
 *   waiting: until the next attempt; paused: until the page is seen or online again; stopped: for good, with a reason
 * @typedef {"logout" | "login" | "suspended"} StopReason
 * @typedef {{
 *   url: string,
 *   token: import("./credentials.js").TokenSource,
 *   WebSocket?: any,
 *   page?: import("./page.js").Page,
 *   clock?: import("./timer.js").Clock,
 *   random?: () => number,
 *   onState?: (state: State, reason?: StopReason) => void,
 *   onProblem?: (problem: string) => void,
 * }} ConnectionOptions
 */

const SUBPROTOCOL = "wechat.v1";
const ANSWER_WITHIN_MS = 10_000;
const RETRY_RENEWAL_MS = 10_000;
/** A connection that lived this long was a good one: the next attempt starts from short delays. */
const GOOD_AFTER_MS = 10_000;
const LONG_BACKOFF_MS = 30_000;
/** The server closes at 20. */
const FRAMES_PER_SECOND = 15;

/** The one websocket of the page: authenticated, resumed and re-subscribed by itself. */
export class Connection {
  /** @type {State} */
  state = "idle";
  /** @type {any} */
  #socket = null;
  /** Counts connects, so that a token that comes late opens nothing. */
  #attempt = 0;
  #openedAt = 0;

  /** @param {ConnectionOptions} options */
  constructor(options) {
    const { clock = systemClock, random = Math.random, page = alwaysThere } = options;
    this.options = options;
    this.clock = clock;
    this.page = page;
    this.timeouts = new Timeouts(clock);
    this.credentials = new Credentials(options.token);
    this.pushes = new Pushes(clock);
    this.pacer = new Pacer((frame) => this.#socket?.readyState === 1 && this.#socket.send(frame), FRAMES_PER_SECOND, clock);
    this.retry = new Timer(() => this.#reconnect(), fullJitter(1_000, 30_000, random), clock);
    const dead = () => this.#closed(CloseCode.abnormal);
    this.heartbeat = new Heartbeat({ ping: () => this.#send({ op: "ping" }), dead, clock });
    this.topics = new Topics({
      ask: (frame, onReply, onError) => this.#ask(frame, onReply, onError),
      later: (work, ms) => this.timeouts.add(work, ms),
      unanswered: dead,
      clock,
      random,
    });
    page.onChange(() => this.#pageChanged());
  }

  start() {
    if (this.state === "idle" || this.state === "stopped") this.#connect();
  }

  /** @param {StopReason} [reason] */
  stop(reason = "logout") {
    this.#attempt++;
    this.#drop();
    this.retry.reset();
    this.#setState("stopped", reason);
  }

  /**
   * Follows a topic until `unsubscribe`, through any number of connections. One owner a topic.
   *
   * @param {string} topic
   * @param {import("./subscription.js").Handlers} handlers
   * @param {string} [after] the position of what was read
   */
  subscribe(topic, handlers, after) {
    const subscription = this.topics.add(topic, handlers, after);
    if (this.state === "open") this.topics.follow([subscription]);
    return subscription;
  }

  /** @param {import("./subscription.js").Subscription} subscription */
  unsubscribe(subscription) {
    const followed = this.topics.remove(subscription);
    if (followed && this.state === "open") this.#ask({ op: "unsubscribe", topics: [subscription.topic] });
  }

  /**
   * One method, one answer. Whoever calls repeats what failed with a retryable error.
   *
   * @param {string} method
   * @param {object} args
   * @returns {Promise<any>}
   */
  call(method, args) {
    return new Promise((resolve, reject) => {
      if (this.state !== "open") reject(new ServiceError("closed", "There is no connection."));
      else this.#ask({ op: "call", method, args }, (frame) => resolve(frame.data), reject);
    });
  }

  async #connect() {
    const attempt = ++this.#attempt;
    this.#setState("connecting");
    try {
      await this.credentials.take();
      if (attempt === this.#attempt) this.#open();
    } catch (error) {
      if (attempt === this.#attempt) this.#tokenFailed(error, () => this.#wait());
    }
  }

  #open() {
    const socket = new (this.options.WebSocket ?? WebSocket)(this.options.url, [SUBPROTOCOL]);
    this.#socket = socket;
    socket.onopen = () => this.#send({ op: "auth", token: this.credentials.token, after: this.topics.resumeUser() });
    socket.onmessage = (/** @type {{data: string}} */ { data }) => this.#receive(JSON.parse(data));
    socket.onclose = (/** @type {{code: number}} */ { code }) => this.#closed(code);
    socket.onerror = () => {}; // close follows, with all there is to know
    this.timeouts.add(() => this.state === "connecting" && this.#closed(CloseCode.abnormal), ANSWER_WITHIN_MS);
  }

  /** @param {any} frame */
  #receive(frame) {
    this.heartbeat.heard();
    if (frame.op === "event") this.topics.receive(frame);
    else if (frame.op === "lost") this.topics.lose(frame);
    else if (frame.op === "hello") this.#hello(frame);
    else if (frame.op === "reconnect") this.timeouts.add(() => this.#reconnect(), frame.inMs);
    else if (frame.ref !== undefined) this.pushes.settle(frame);
    else if (frame.op === "unsubscribed") for (const topic of frame.topics) this.topics.end(topic, frame.error);
    else if (frame.op === "error") this.options.onProblem?.(frame.error.message);
  }

  /** @param {any} hello */
  #hello(hello) {
    this.#openedAt = this.clock.now();
    this.credentials.accepted();
    this.heartbeat.start(hello.heartbeatMs);
    this.#renewLater();
    this.topics.greeted(hello.topics);
    this.#setState("open");
  }

  /** @param {number} [ms] */
  #renewLater(ms = this.credentials.renewInMs(this.clock.now())) {
    this.timeouts.add(() => this.#renew(), ms);
  }

  /** A new token in place, so that nothing has to be resumed. */
  async #renew() {
    const socket = this.#socket;
    try {
      await this.credentials.renew();
      if (socket !== this.#socket) return;
      this.#send({ op: "auth", token: this.credentials.token });
      this.#renewLater();
    } catch (error) {
      if (socket === this.#socket) this.#tokenFailed(error, () => this.#renewLater(RETRY_RENEWAL_MS));
    }
  }

  /** @param {unknown} error @param {() => void} retry */
  #tokenFailed(error, retry) {
    if (isRefusal(error)) this.stop("login");
    else retry();
  }

  /** @param {number} code */
  #closed(code) {
    const good = this.state === "open" && this.clock.now() - this.#openedAt >= GOOD_AFTER_MS;
    this.#drop();
    if (good) this.retry.reset();
    if (code === CloseCode.suspended) return this.stop("suspended");
    if (code === CloseCode.unauthenticated && !this.credentials.refused()) return this.stop("login");
    if (isOurFault(code)) this.options.onProblem?.(`The server refused what this page sent (${code}).`);
    this.#wait(isOurFault(code) || code === CloseCode.tooMany ? LONG_BACKOFF_MS : 0);
  }

  /** @param {number} [leastMs] */
  #wait(leastMs = 0) {
    this.#setState("waiting");
    this.retry.schedule(leastMs);
    if (!this.page.online()) this.#pause();
  }

  #pause() {
    this.retry.cancel();
    this.#setState("paused");
  }

  /** With a new socket, unless nobody would see it. */
  #reconnect() {
    this.#drop();
    if (this.page.hidden() || !this.page.online()) this.#pause();
    else this.#connect();
  }

  #pageChanged() {
    const there = this.page.online() && !this.page.hidden();
    if (this.state === "open" && there) this.heartbeat.probe();
    else if (this.state === "paused" && there) this.#connect();
    else if (this.state === "waiting" && !this.page.online()) this.#pause();
  }

  /** Leaves the socket behind at once: closing one on a dead network can take a minute. */
  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (this.state === "open") this.state = "waiting";
    this.heartbeat.stop();
    this.pacer.clear();
    this.timeouts.clear();
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.topics.disconnected();
    this.pushes.failAll(new ServiceError("closed", "The connection was lost."));
  }

  /** @param {object} frame @param {(frame: any) => void} [onReply] @param {(error: ServiceError) => void} [onError] */
  #ask(frame, onReply = () => {}, onError = () => {}) {
    this.#send({ ...frame, ref: this.pushes.open(onReply, onError, ANSWER_WITHIN_MS) });
  }

  /** @param {object} frame */
  #send(frame) {
    this.pacer.push(JSON.stringify(frame));
  }

  /** @param {State} state @param {StopReason} [reason] */
  #setState(state, reason) {
    this.state = state;
    this.options.onState?.(state, reason);
  }
}
