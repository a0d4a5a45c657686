// @ts-check
import { path } from "../api.js";
import { isRetryable } from "../errors.js";
import { persist } from "../realtime/timer.js";
import { readBefore, readConversation, readGap, readLists } from "./reads.js";
import { TypingSignal } from "./typing.js";

/**
 * @typedef {import("./types.js").Message} Message
 * @typedef {import("../realtime/subscription.js").Subscription} Subscription
 * @typedef {{subscription: Subscription | null, signal: TypingSignal, filling: boolean}} Followed
 */

/** Conversations that stay followed, so that going back to one is immediate. */
const FOLLOWED = 20;

/** Moves chat between server and store: reads, events, and what the person does. */
export class ChatClient {
  /** Least recently opened first. @type {Map<string, Followed>} */
  #followed = new Map();
  /** The highest mark asked for in each conversation. @type {Map<string, number>} */
  #marked = new Map();
  #running = true;

  /**
   * @param {{
   *   me: string,
   *   api: import("../api.js").Api,
   *   connection: import("../realtime/connection.js").Connection,
   *   store: import("./store.js").ChatStore,
   *   people: import("./people.js").People,
   * }} parts
   */
  constructor({ me, api, connection, store, people }) {
    this.me = me;
    this.api = api;
    this.connection = connection;
    this.store = store;
    this.people = people;
    /** @type {(clientMessageId: string) => void} */
    this.onOwnMessage = () => {};
    /** @type {(conversationId: string) => void} */
    this.onGone = () => {};
  }

  /** The list first, then the events from where it was read. */
  async start() {
    const after = await this.#persist(() => this.#readLists());
    if (!this.#running) return;
    const handlers = {
      onEvent: (/** @type {any} */ event) => this.#userEvent(event),
      onLost: async () => void (await this.#readLists()),
    };
    this.connection.subscribe(`user:${this.me}`, handlers, after);
    this.connection.start();
  }

  stop() {
    this.#running = false;
  }

  /** Shows a conversation and follows it; throws when it is not there for this user. @param {string} id */
  async open(id) {
    const followed = this.#followed.get(id) ?? this.#begin(id);
    this.#followed.delete(id);
    this.#followed.set(id, followed);
    if (this.#followed.size > FOLLOWED) this.#end(/** @type {string} */ (this.#followed.keys().next().value));
    if (this.store.thread(id)?.loaded) return;
    try {
      await this.#persist(() => this.#read(id, followed), () => this.#followed.get(id) === followed);
    } catch (error) {
      this.#end(id);
      throw error;
    }
  }

  /** @param {import("./types.js").OutboxEntry} entry */
  async send({ conversationId, clientMessageId, text }) {
    this.store.receive(await this.connection.call("SendMessage", { conversationId, clientMessageId, text }));
    this.#fill(conversationId);
  }

  /** The newest message was seen. @param {string} id */
  async seen(id) {
    const summary = this.store.summary(id);
    const seq = this.store.thread(id)?.lastSeq ?? 0;
    if (!summary || summary.request || seq <= Math.max(summary.lastReadSeq, this.#marked.get(id) ?? 0)) return;
    if (this.connection.state !== "open") return;
    this.#marked.set(id, seq);
    try {
      this.store.putCounts(id, await this.connection.call("MarkRead", { conversationId: id, seq }));
    } catch {
      this.#marked.delete(id); // the next look at the conversation tries again
    }
  }

  /** @param {string} id */
  typed(id) {
    if (!this.store.summary(id)?.request) this.#followed.get(id)?.signal.typed();
  }

  /** @param {string} id */
  stoppedTyping(id) {
    this.#followed.get(id)?.signal.stop();
  }

  /** @param {string} id */
  async readEarlier(id) {
    const thread = this.store.thread(id);
    if (!thread?.hasEarlier) return;
    const before = thread.firstSeq;
    const messages = await readBefore(this.api, id, before);
    if (this.store.thread(id) !== thread || thread.firstSeq !== before) return;
    thread.merge(messages, messages[0]?.seq ?? 1, before - 1);
    this.store.onChange();
  }

  /** @param {string} username @returns {Promise<string>} the conversation's id */
  async startDirect(username) {
    const { userId } = await this.people.byUsername(username);
    return this.#create({ type: "direct", memberIds: [userId] });
  }

  /** @param {string} title @param {string[]} usernames @returns {Promise<string>} */
  async startGroup(title, usernames) {
    const people = await Promise.all(usernames.map((username) => this.people.byUsername(username)));
    return this.#create({ type: "group", title, memberIds: people.map(({ userId }) => userId) });
  }

  /** A stranger's conversation moves to the others. @param {string} id */
  async accept(id) {
    await this.api.post(path`/api/chat/conversations/${id}/accept`);
    const { data } = await this.api.get(path`/api/chat/conversations/${id}`);
    this.store.putSummary(data);
  }

  /** @param {object} body */
  async #create(body) {
    const { data } = await this.api.post("/api/chat/conversations", body);
    this.people.put(data.peer);
    this.store.putSummary(data);
    return data.conversationId;
  }

  /** @returns {Promise<string | undefined>} the position to follow from */
  async #readLists() {
    this.#readBadge();
    const { summaries, position } = await readLists(this.api, this.me);
    for (const { peer } of summaries) this.people.put(peer);
    this.store.replaceSummaries(summaries);
    return position;
  }

  async #readBadge() {
    try {
      this.store.putBadge((await this.api.get("/api/chat/unread")).data);
    } catch {
      // The list does without; the next UnreadChanged brings the number.
    }
  }

  /** @param {string} id @returns {Followed} */
  #begin(id) {
    this.store.open(id);
    const tell = (/** @type {string} */ method) => void this.connection.call(method, { conversationId: id }).catch(() => {});
    return { subscription: null, signal: new TypingSignal(tell), filling: false };
  }

  /** @param {string} id */
  #end(id) {
    const followed = this.#followed.get(id);
    this.#followed.delete(id);
    followed?.signal.stop();
    if (followed?.subscription) this.connection.unsubscribe(followed.subscription);
    this.store.close(id);
  }

  /** What is there, then the events from where that was read. @param {string} id @param {Followed} followed */
  async #read(id, followed) {
    const { summary, messages, lastSeq, position } = await readConversation(this.api, id);
    if (this.#followed.get(id) !== followed) return;
    this.people.put(summary.peer);
    this.store.thread(id)?.merge(messages, messages[0]?.seq ?? 1, lastSeq);
    this.store.putSummary(summary);
    const handlers = {
      onEvent: (/** @type {any} */ event) => this.#conversationEvent(id, event),
      onLost: () => this.#readAgain(id),
      onEnded: () => {
        this.#end(id);
        this.onGone(id);
      },
    };
    followed.subscription = this.connection.subscribe(`conv:${id}`, handlers, position);
  }

  /** @param {string} id */
  async #readAgain(id) {
    const { summary, messages, lastSeq } = await readConversation(this.api, id);
    this.store.thread(id)?.replace(messages, lastSeq);
    this.store.putSummary(summary);
    this.store.onChange();
    this.#fill(id);
  }

  /** @param {import("../realtime/subscription.js").TopicEvent} event */
  #userEvent(event) {
    if (event.type === "ConversationUpdated") this.people.put(event.data.peer);
    this.store.apply(event);
    if (event.type === "ConversationUpdated" && event.data.removed) this.#end(event.data.conversationId);
  }

  /** @param {string} id @param {import("../realtime/subscription.js").TopicEvent} event */
  #conversationEvent(id, event) {
    this.store.apply(event);
    if (event.type !== "MessageReceived") return;
    if (event.data.senderId === this.me) this.onOwnMessage(event.data.clientMessageId);
    this.#fill(id);
  }

  /** Numbers that are missing between two messages are read. @param {string} id */
  async #fill(id) {
    const followed = this.#followed.get(id);
    const thread = this.store.thread(id);
    if (!followed || !thread || followed.filling) return;
    followed.filling = true;
    const wanted = () => this.store.thread(id) === thread;
    try {
      for (let gap = thread.gap(); gap && wanted(); gap = thread.gap()) {
        const { after, before } = gap;
        const read = await this.#persist(() => readGap(this.api, id, { after, before }), wanted);
        if (read) thread.merge(read.messages, after + 1, read.through);
        this.store.onChange();
      }
    } catch {
      // Refused for good: the server ends the topic, too.
    }
    followed.filling = false;
  }

  /** @template T @param {() => Promise<T>} work @param {() => boolean} [wanted] */
  #persist(work, wanted = () => true) {
    return persist(work, { wanted: () => this.#running && wanted(), passing: isRetryable });
  }
}
