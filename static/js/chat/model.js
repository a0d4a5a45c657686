// @ts-check

/**
 * @typedef {import("./store.js").ChatStore} ChatStore
 * @typedef {import("./people.js").People} People
 * @typedef {import("./types.js").Message} Message
 * @typedef {import("./types.js").Summary} Summary
 * @typedef {{
 *   key: string, kind: "mine" | "theirs" | "system", author: string, text: string, time: string,
 *   startsRun: boolean, faded: boolean, note: string, reactions: string, failed: boolean, clientMessageId: string,
 * }} MessageModel
 * @typedef {{
 *   id: string, title: string, preview: string, time: string, unread: number, muted: boolean, request: boolean, current: boolean,
 * }} ConversationModel
 */

const RUN_MS = 5 * 60_000;
const REACTIONS = { like: "👍", love: "❤️", haha: "😄", wow: "😮", sad: "😢", angry: "😠" };

/** @param {Summary} summary @param {People} people */
export function titleOf({ type, title, peer, memberCount }, people) {
  if (type === "direct") return peer ? people.name(peer.userId) : "Conversation";
  return title || `Group of ${memberCount}`;
}

/** @param {Message} message @param {People} people */
export function textOf(message, people) {
  if (message.deletedAt) return "This message was deleted.";
  if (message.kind !== "system") return message.text ?? "";
  const names = (message.system?.userIds ?? []).map((id) => people.name(id)).join(", ");
  const texts = /** @type {Record<string, string>} */ ({
    memberJoined: `${names} joined.`,
    memberLeft: `${names} left.`,
    roleChanged: `${names} is now ${message.system?.role}.`,
    titleChanged: `The title is now “${message.system?.title}”.`,
    avatarChanged: "The picture was changed.",
  });
  return texts[message.system?.type ?? ""] ?? "The conversation was changed.";
}

/**
 * @param {ChatStore} store
 * @param {People} people
 * @param {string | null} currentId
 * @returns {ConversationModel[]}
 */
export function conversationModels(store, people, currentId) {
  return store.conversations.map((summary) => ({
    id: summary.conversationId,
    title: titleOf(summary, people),
    preview: summary.lastMessage ? previewOf(summary.lastMessage, summary, store.me, people) : "No messages yet",
    time: summary.updatedAt,
    unread: summary.unreadCount,
    muted: summary.muted,
    request: summary.request,
    current: summary.conversationId === currentId,
  }));
}

/** @param {Message} message @param {Summary} summary @param {string} me @param {People} people */
function previewOf(message, summary, me, people) {
  const text = textOf(message, people);
  if (message.kind === "system") return text;
  if (message.senderId === me) return `You: ${text}`;
  return summary.type === "group" ? `${people.name(message.senderId)}: ${text}` : text;
}

/**
 * The messages of a conversation with what is still on its way behind them.
 *
 * @param {ChatStore} store
 * @param {import("./outbox.js").Outbox} outbox
 * @param {People} people
 * @param {string} id
 * @returns {MessageModel[]}
 */
export function messageModels(store, outbox, people, id) {
  const messages = store.thread(id)?.messages ?? [];
  const mine = messages.filter(({ senderId, kind }) => senderId === store.me && kind === "user");
  const answered = new Set(mine.map(({ clientMessageId }) => clientMessageId));
  const lastMine = mine.at(-1);
  const group = store.summary(id)?.type === "group";
  const models = messages.map((message, index) => /** @type {MessageModel} */ ({
    key: message.senderId === store.me ? message.clientMessageId : message.messageId,
    kind: kindOf(message, store.me),
    author: people.name(message.senderId),
    text: textOf(message, people),
    time: message.createdAt,
    startsRun: startsRun(messages[index - 1], message),
    faded: message.deletedAt !== null,
    note: noteOf(message, message === lastMine ? store.readBy(id, message.seq) : null, group),
    reactions: reactionsOf(message),
    failed: false,
    clientMessageId: message.clientMessageId,
  }));
  const waiting = outbox.entries(id).filter(({ clientMessageId }) => !answered.has(clientMessageId));
  return models.concat(waiting.map((entry) => /** @type {MessageModel} */ ({
    key: entry.clientMessageId,
    kind: "mine",
    author: "",
    text: entry.text,
    time: entry.createdAt,
    startsRun: false,
    faded: false,
    note: entry.status === "failed" ? `Not sent: ${entry.error}` : "Sending…",
    reactions: "",
    failed: entry.status === "failed",
    clientMessageId: entry.clientMessageId,
  })));
}

/** @param {Message} message @param {string} me @returns {MessageModel["kind"]} */
function kindOf({ kind, senderId }, me) {
  if (kind === "system") return "system";
  return senderId === me ? "mine" : "theirs";
}

/** @param {Message | undefined} before @param {Message} message */
function startsRun(before, message) {
  if (!before || before.kind === "system" || before.senderId !== message.senderId) return true;
  return Date.parse(message.createdAt) - Date.parse(before.createdAt) > RUN_MS;
}

/** @param {Message} message @param {number | null} readBy null where it is not told @param {boolean} group */
function noteOf({ editedAt, deletedAt }, readBy, group) {
  const edited = editedAt && !deletedAt ? ["Edited"] : [];
  if (readBy === null) return edited.join("");
  const read = group ? `Read by ${readBy}` : "Read";
  return [...edited, readBy ? read : "Sent"].join(" · ");
}

/** @param {Message} message */
function reactionsOf({ reactions }) {
  const counted = Object.entries(reactions ?? {}).filter(([, count]) => count > 0);
  return counted.map(([type, count]) => `${/** @type {any} */ (REACTIONS)[type] ?? type} ${count}`).join("  ");
}

/** @param {string[]} names */
export function typingText(names) {
  if (!names.length) return "";
  if (names.length === 1) return `${names[0]} is typing…`;
  return names.length === 2 ? `${names[0]} and ${names[1]} are typing…` : "Several people are typing…";
}
