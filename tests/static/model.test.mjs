import assert from "node:assert/strict";
import { test } from "node:test";
import { conversationModels, messageModels, typingText } from "../../static/js/chat/model.js";
import { parse } from "../../static/js/chat/start-dialog.js";
import { ChatStore } from "../../static/js/chat/store.js";
import { message, summary } from "./helpers.mjs";

const people = { name: (userId) => userId.toUpperCase() };

function show({ messages, entries = [], ...more }) {
  const store = new ChatStore({ me: "me" });
  store.putSummary(summary({ lastSeq: messages.length, lastMessage: messages.at(-1) ?? null, ...more }));
  store.open("c1");
  store.thread("c1").merge(messages, 1, messages.length);
  const outbox = { entries: () => entries };
  return { models: messageModels(store, outbox, people, "c1"), list: conversationModels(store, people, "c1") };
}

const mine = (seq, more) => message(seq, { senderId: "me", ...more });
const entry = (more) => ({ clientMessageId: "waiting", text: "on its way", createdAt: "2026-01-01T00:00:09.000Z", status: "queued", ...more });

test("what is on its way stands last, and is the same item once it is answered", () => {
  const before = show({ messages: [message(1)], entries: [entry()] }).models;
  assert.deepEqual(before.map(({ text, note }) => [text, note]), [["text 1", ""], ["on its way", "Sending…"]]);
  const after = show({ messages: [message(1), mine(2, { clientMessageId: "waiting" })], entries: [entry()] }).models;
  assert.deepEqual(after.map(({ key }) => key), before.map(({ key }) => key));
  assert.equal(after[1].note, "Sent");
});

test("a refused message says why", () => {
  const [model] = show({ messages: [], entries: [entry({ status: "failed", error: "Too long." })] }).models;
  assert.equal(model.note, "Not sent: Too long.");
  assert.equal(model.failed, true);
});

test("only the last of one's own messages says whether it was read", () => {
  const messages = [mine(1), mine(2), message(3)];
  const notes = (readMarks, type = "direct") => show({ messages, readMarks, type }).models.map(({ note }) => note);
  assert.deepEqual(notes([{ userId: "you", lastReadSeq: 1 }]), ["", "Sent", ""]);
  assert.deepEqual(notes([{ userId: "you", lastReadSeq: 2 }]), ["", "Read", ""]);
  assert.deepEqual(notes([{ userId: "you", lastReadSeq: 3 }, { userId: "her", lastReadSeq: 2 }], "group"), ["", "Read by 2", ""]);
});

test("messages of one person within five minutes are one run", () => {
  const at = (minute) => ({ createdAt: `2026-01-01T00:${minute}:00.000Z` });
  const messages = [message(1, at("00")), message(2, at("04")), message(3, at("10")), mine(4, at("10"))];
  assert.deepEqual(show({ messages }).models.map(({ startsRun }) => startsRun), [true, false, true, true]);
});

test("tombstones, edits, reactions and system messages are told in words", () => {
  const system = { type: "memberJoined", userIds: ["you", "her"], role: null, title: null };
  const { models } = show({ messages: [
    message(1, { text: null, deletedAt: "2026-01-01T00:00:01.000Z" }),
    message(2, { editedAt: "2026-01-01T00:00:01.000Z", reactions: { like: 2, sad: 0 } }),
    message(3, { kind: "system", text: null, system }),
  ] });
  assert.equal(models[0].text, "This message was deleted.");
  assert.equal(models[0].faded, true);
  assert.deepEqual([models[1].note, models[1].reactions], ["Edited", "👍 2"]);
  assert.deepEqual([models[2].kind, models[2].text], ["system", "YOU, HER joined."]);
});

test("the list names the person or the title, and who spoke last in a group", () => {
  const peer = { userId: "you", username: "you", displayName: "You", avatarUrl: null };
  const [direct] = show({ messages: [mine(1)], peer }).list;
  assert.deepEqual([direct.title, direct.preview, direct.current], ["YOU", "You: text 1", true]);
  const [group] = show({ messages: [message(1)], type: "group", title: "Trip", unreadCount: 3 }).list;
  assert.deepEqual([group.title, group.preview, group.unread], ["Trip", "YOU: text 1", 3]);
});

test("who types is named, up to two", () => {
  assert.equal(typingText([]), "");
  assert.equal(typingText(["Ada"]), "Ada is typing…");
  assert.equal(typingText(["Ada", "Bob"]), "Ada and Bob are typing…");
  assert.equal(typingText(["Ada", "Bob", "Eve"]), "Several people are typing…");
});

test("user names are read as people write them", () => {
  assert.deepEqual(parse(" @Ada, bob;eve\nADA "), ["ada", "bob", "eve"]);
  assert.deepEqual(parse(" "), []);
});
