import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatStore } from "../../static/js/chat/store.js";
import { FakeClock, message, summary } from "./helpers.mjs";

/** A store with one conversation of three messages, two of them unread, which is open. */
function setUp() {
  const clock = new FakeClock();
  const store = new ChatStore({ me: "me", clock });
  const messages = [1, 2, 3].map((seq) => message(seq));
  const readMarks = [{ userId: "you", lastReadSeq: 1 }, { userId: "me", lastReadSeq: 1 }];
  store.putSummary(summary({ lastSeq: 3, lastMessage: messages[2], lastReadSeq: 1, unreadCount: 2, rev: 10, readMarks }));
  store.open("c1");
  store.thread("c1").merge(messages, 1, 3);
  const apply = (type, data, more = {}) => store.apply({ topic: "conv:c1", type, data, ...more });
  return { store, clock, apply, seqs: () => store.thread("c1").messages.map(({ seq }) => seq) };
}

test("MessageReceived adds a message and counts it as unread", () => {
  const { store, apply, seqs } = setUp();
  apply("MessageReceived", message(4));
  assert.deepEqual(seqs(), [1, 2, 3, 4]);
  const { lastSeq, unreadCount, lastMessage } = store.summary("c1");
  assert.deepEqual({ lastSeq, unreadCount, last: lastMessage.seq }, { lastSeq: 4, unreadCount: 3, last: 4 });
});

test("system messages change the summary, which is not sent while one follows the conversation", () => {
  const { store, apply } = setUp();
  const system = (seq, type, more) => message(seq, { kind: "system", text: null, system: { type, userIds: [], role: null, title: null, ...more } });
  apply("MessageReceived", system(4, "titleChanged", { title: "Trip" }));
  apply("MessageReceived", system(5, "memberJoined", { userIds: ["a", "b"] }));
  apply("MessageReceived", system(6, "memberLeft", { userIds: ["a"] }));
  apply("MessageReceived", system(6, "memberLeft", { userIds: ["a"] }));
  const { title, memberCount } = store.summary("c1");
  assert.deepEqual({ title, memberCount }, { title: "Trip", memberCount: 3 });
});

test("one's own message, by event and by answer, is there once and leaves nothing unread", () => {
  const { store, apply, seqs } = setUp();
  const mine = message(4, { senderId: "me" });
  apply("MessageReceived", mine);
  store.receive(mine);
  assert.deepEqual(seqs(), [1, 2, 3, 4]);
  assert.equal(store.summary("c1").unreadCount, 0);
  assert.equal(store.summary("c1").lastReadSeq, 4);
});

test("MessageEdited and MessageDeleted change the message and the list's last line", () => {
  const { store, apply } = setUp();
  apply("MessageEdited", message(3, { rev: 2, text: "edited" }));
  assert.equal(store.thread("c1").messages[2].text, "edited");
  assert.equal(store.summary("c1").lastMessage.text, "edited");
  apply("MessageDeleted", message(3, { rev: 3, text: null, deletedAt: "2026-01-01T00:00:00.000Z" }));
  assert.equal(store.summary("c1").lastMessage.text, null);
  apply("MessageEdited", message(1, { rev: 2, text: "first" }));
  assert.equal(store.summary("c1").lastMessage.text, null, "an older message is not the last line");
});

test("MessageReactionUpdated replaces the counts", () => {
  const { store, apply } = setUp();
  apply("MessageReactionUpdated", { conversationId: "c1", messageId: "m2", reactions: { like: 2 }, userId: "you", type: "like" });
  assert.deepEqual(store.thread("c1").messages[1].reactions, { like: 2 });
});

test("MessageRead of another moves their mark, forward only", () => {
  const { store, apply } = setUp();
  assert.equal(store.readBy("c1", 2), 0);
  apply("MessageRead", { conversationId: "c1", userId: "you", lastReadSeq: 3 });
  apply("MessageRead", { conversationId: "c1", userId: "you", lastReadSeq: 2 });
  assert.equal(store.readBy("c1", 3), 1);
  assert.equal(store.summary("c1").unreadCount, 2);
});

test("MessageRead of oneself, on another device, clears what was read", () => {
  const { store, apply } = setUp();
  apply("MessageRead", { conversationId: "c1", userId: "me", lastReadSeq: 2 });
  assert.equal(store.summary("c1").unreadCount, 1);
  apply("MessageRead", { conversationId: "c1", userId: "me", lastReadSeq: 3 });
  assert.equal(store.summary("c1").unreadCount, 0);
  assert.equal(store.readBy("c1", 1), 1, "one's own mark is no receipt");
});

test("ReadCountUpdated tells how many have read in a large group", () => {
  const { store, apply } = setUp();
  apply("ReadCountUpdated", { conversationId: "c1", seq: 3, readCount: 40 });
  assert.equal(store.readBy("c1", 3), 40);
  assert.equal(store.readBy("c1", 4), 0);
});

test("ConversationUpdated replaces the summary, never by an older one", () => {
  const { store, apply } = setUp();
  apply("ConversationUpdated", summary({ lastSeq: 3, title: "New", rev: 11 }));
  apply("ConversationUpdated", summary({ lastSeq: 3, title: "Old", rev: 9 }));
  assert.equal(store.summary("c1").title, "New");
});

test("a summary that was made before the newest messages does not take them back", () => {
  const { store, apply } = setUp();
  apply("MessageReceived", message(4));
  apply("MessageReceived", message(5));
  apply("ConversationUpdated", summary({ lastSeq: 4, unreadCount: 1, title: "New", rev: 12 }));
  const { lastSeq, unreadCount, title } = store.summary("c1");
  assert.deepEqual({ lastSeq, unreadCount, title }, { lastSeq: 5, unreadCount: 2, title: "New" });
});

test("a removed conversation goes, and an older summary does not bring it back", () => {
  const { store, apply } = setUp();
  apply("ConversationUpdated", { conversationId: "c1", removed: true }, { key: "c1", version: 14 });
  apply("ConversationUpdated", summary({ rev: 13 }));
  assert.equal(store.summary("c1"), undefined);
  assert.equal(store.thread("c1"), undefined);
  apply("ConversationUpdated", summary({ rev: 15 }));
  assert.equal(store.summary("c1").rev, 15);
});

test("the badge is absolute, and the higher version holds", () => {
  const { store, apply } = setUp();
  apply("UnreadChanged", { unread: 4, mentions: 1 }, { version: 8 });
  store.putBadge({ unread: 9, mentions: 0, version: 7 });
  assert.equal(store.badge.unread, 4);
});

test("typing shows until it stops, a message comes, or six seconds are over", () => {
  const { store, clock, apply } = setUp();
  const who = { conversationId: "c1", userId: "you" };
  apply("TypingStarted", { conversationId: "c1", userId: "me" });
  assert.deepEqual(store.typing("c1"), [], "not one's own");
  apply("TypingStarted", who);
  assert.deepEqual(store.typing("c1"), ["you"]);
  apply("TypingStopped", who);
  assert.deepEqual(store.typing("c1"), []);
  apply("TypingStarted", who);
  apply("MessageReceived", message(4));
  assert.deepEqual(store.typing("c1"), []);
  apply("TypingStarted", who);
  clock.advance(5_999);
  apply("TypingStarted", who);
  clock.advance(5_999);
  assert.deepEqual(store.typing("c1"), ["you"]);
  clock.advance(1);
  assert.deepEqual(store.typing("c1"), []);
});

test("a list that was read again drops what it does not name", () => {
  const { store } = setUp();
  store.putSummary(summary({ conversationId: "gone" }));
  store.putSummary(summary({ conversationId: "kept", updatedAt: "2026-02-01T00:00:00.000Z" }));
  store.replaceSummaries([summary({ conversationId: "kept", updatedAt: "2026-02-01T00:00:00.000Z" }), summary({ rev: 10 })]);
  assert.deepEqual(store.conversations.map(({ conversationId }) => conversationId), ["kept", "c1"]);
});
