// @ts-check
import { systemClock } from "../realtime/timer.js";
import { Thread } from "./thread.js";
import { TypingPeople } from "./typing.js";

/**
 * @typedef {import("./types.js").Message} Message
 * @typedef {import("./types.js").Summary} Summary
 * @typedef {import("../realtime/subscription.js").TopicEvent} TopicEvent
 * @typedef {{unread: number, mentions: number, version: number}} Badge
 * @typedef {{thread: Thread, typing: TypingPeople}} Open
 */

/** Everything the chat shows, outside the DOM; events and reads both end here, in any order. */
export class ChatStore {
  /** @type {Map<string, Summary>} */
  #summaries = new Map();
  /** Versions of removals: an older summary does not bring a conversation back. @type {Map<string, number>} */
  #removed = new Map();
  /** @type {Map<string, Map<string, number>>} */
  #marks = new Map();
  /** In large groups the sender learns numbers, not names. @type {Map<string, {seq: number, readCount: number}>} */
  #readCounts = new Map();
  /** @type {Map<string, Open>} */
  #open = new Map();
  /** @type {Badge} */
  badge = { unread: 0, mentions: 0, version: -1 };

  /** @param {{me: string, onChange?: () => void, clock?: import("../realtime/timer.js").Clock}} options */
  constructor({ me, onChange = () => {}, clock = systemClock }) {
    this.me = me;
    this.onChange = onChange;
    this.clock = clock;
  }

  /** Newest activity first. */
  get conversations() {
    return [...this.#summaries.values()].sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
  }

  /** @param {string} conversationId */
  summary(conversationId) {
    return this.#summaries.get(conversationId);
  }

  /** @param {string} conversationId */
  thread(conversationId) {
    return this.#open.get(conversationId)?.thread;
  }

  /** @param {string} conversationId */
  typing(conversationId) {
    return this.#open.get(conversationId)?.typing.userIds ?? [];
  }

  /** How many others have read up to `seq`. @param {string} conversationId @param {number} seq */
  readBy(conversationId, seq) {
    const marks = [...(this.#marks.get(conversationId) ?? [])];
    const counted = this.#readCounts.get(conversationId);
    const named = marks.filter(([userId, mark]) => userId !== this.me && mark >= seq).length;
    return Math.max(named, counted && counted.seq >= seq ? counted.readCount : 0);
  }

  /** @param {string} conversationId */
  open(conversationId) {
    const typing = new TypingPeople(() => this.onChange(), this.clock);
    this.#open.set(conversationId, { thread: new Thread(), typing });
    this.onChange();
  }

  /** @param {string} conversationId */
  close(conversationId) {
    const open = this.#open.get(conversationId);
    this.#open.delete(conversationId);
    open?.typing.clear();
    this.#readCounts.delete(conversationId);
  }

  /** The whole list, read again: what it does not name is gone. @param {Summary[]} summaries */
  replaceSummaries(summaries) {
    const named = new Set(summaries.map(({ conversationId }) => conversationId));
    for (const id of this.#summaries.keys()) if (!named.has(id) && !this.#open.has(id)) this.#summaries.delete(id);
    for (const summary of summaries) this.putSummary(summary);
  }

  /** @param {Summary} incoming */
  putSummary(incoming) {
    const id = incoming.conversationId;
    const known = this.#summaries.get(id);
    for (const { userId, lastReadSeq } of incoming.readMarks ?? []) this.#mark(id, userId, lastReadSeq);
    if (incoming.rev < (known?.rev ?? this.#removed.get(id) ?? -Infinity)) return;
    this.#removed.delete(id);
    this.#summaries.set(id, known ? this.#keepNewer(known, incoming) : incoming);
    this.onChange();
  }

  /** @param {Badge} badge */
  putBadge(badge) {
    if (badge.version < this.badge.version) return;
    this.badge = badge;
    this.onChange();
  }

  /** The answer to a mark of one's own is absolute. @param {string} conversationId @param {Partial<Summary>} counts */
  putCounts(conversationId, { lastReadSeq = 0, unreadCount = 0, mentionCount = 0 }) {
    this.#change(conversationId, { lastReadSeq, unreadCount, mentionCount });
  }

  /** @param {TopicEvent} event */
  apply({ type, data, version = 0 }) {
    const open = this.#open.get(data.conversationId);
    if (type === "ConversationUpdated") data.removed ? this.#remove(data.conversationId, version) : this.putSummary(data);
    else if (type === "UnreadChanged") this.putBadge({ ...data, version });
    else if (type === "ReadCountUpdated") this.#readCounts.set(data.conversationId, data);
    else if (type === "MessageReceived") this.receive(data);
    else if (type === "MessageEdited" || type === "MessageDeleted") this.#revise(data);
    else if (type === "MessageReactionUpdated") open?.thread.react(data.messageId, data.reactions);
    else if (type === "MessageRead") this.#read(data);
    else if (type === "TypingStarted" && data.userId !== this.me) open?.typing.started(data.userId);
    else if (type === "TypingStopped") open?.typing.stopped(data.userId);
    this.onChange();
  }

  /** A message from an event or from the answer to one's own send, whichever comes first. @param {Message} message */
  receive(message) {
    const open = this.#open.get(message.conversationId);
    open?.thread.receive(message);
    open?.typing.stopped(message.senderId);
    const summary = this.#summaries.get(message.conversationId);
    if (!summary || message.seq <= summary.lastSeq) return this.onChange();
    const mine = message.senderId === this.me; // one's own send moves one's mark
    this.#change(message.conversationId, {
      lastSeq: message.seq,
      lastMessage: message,
      updatedAt: message.createdAt,
      unreadCount: mine ? 0 : summary.unreadCount + message.seq - summary.lastSeq,
      lastReadSeq: mine ? message.seq : summary.lastReadSeq,
      ...changesToldBy(message, summary),
    });
  }

  /** @param {Message} message */
  #revise(message) {
    this.#open.get(message.conversationId)?.thread.revise(message);
    const last = this.#summaries.get(message.conversationId)?.lastMessage;
    if (last?.messageId === message.messageId && message.rev >= last.rev) {
      this.#change(message.conversationId, { lastMessage: message });
    }
  }

  /** @param {{conversationId: string, userId: string, lastReadSeq: number}} read */
  #read({ conversationId, userId, lastReadSeq }) {
    this.#mark(conversationId, userId, lastReadSeq);
    const summary = this.#summaries.get(conversationId);
    if (userId !== this.me || !summary || lastReadSeq <= summary.lastReadSeq) return;
    const unreadCount = Math.min(summary.unreadCount, Math.max(0, summary.lastSeq - lastReadSeq));
    this.#change(conversationId, { lastReadSeq, unreadCount });
  }

  /** The mark that others see never goes back. @param {string} id @param {string} userId @param {number} seq */
  #mark(id, userId, seq) {
    const marks = this.#marks.get(id) ?? new Map();
    this.#marks.set(id, marks.set(userId, Math.max(seq, marks.get(userId) ?? 0)));
  }

  /**
   * While a conversation is followed its messages come sooner than its summary, which may have been made before them.
   *
   * @param {Summary} known
   * @param {Summary} incoming
   * @returns {Summary}
   */
  #keepNewer(known, incoming) {
    const ahead = known.lastSeq - incoming.lastSeq;
    if (ahead <= 0) return incoming;
    const { lastSeq, lastMessage, updatedAt } = known;
    const unreadCount = lastMessage?.senderId === this.me ? 0 : incoming.unreadCount + ahead;
    return { ...incoming, lastSeq, lastMessage, updatedAt, unreadCount };
  }

  /** @param {string} conversationId @param {number} version */
  #remove(conversationId, version) {
    if (version < (this.#summaries.get(conversationId)?.rev ?? -Infinity)) return;
    this.#summaries.delete(conversationId);
    this.#marks.delete(conversationId);
    this.#removed.set(conversationId, version);
    this.close(conversationId);
  }

  /** @param {string} conversationId @param {Partial<Summary>} changes */
  #change(conversationId, changes) {
    const summary = this.#summaries.get(conversationId);
    if (summary) this.#summaries.set(conversationId, { ...summary, ...changes });
    this.onChange();
  }
}

/**
 * While a conversation is followed its summary is not sent: what the summary holds follows from the system messages.
 *
 * @param {Message} message
 * @param {Summary} summary
 * @returns {Partial<Summary>}
 */
function changesToldBy({ system }, { memberCount }) {
  if (system?.type === "titleChanged") return { title: system.title };
  if (system?.type === "memberJoined") return { memberCount: memberCount + system.userIds.length };
  if (system?.type === "memberLeft") return { memberCount: memberCount - system.userIds.length };
  return {};
}
