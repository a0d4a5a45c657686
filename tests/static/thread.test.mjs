import assert from "node:assert/strict";
import { test } from "node:test";
import { Thread } from "../../static/js/chat/thread.js";
import { message } from "./helpers.mjs";

const seqs = (thread) => thread.messages.map(({ seq }) => seq);
const range = (from, through) => Array.from({ length: through - from + 1 }, (_, i) => message(from + i));

function loaded(from, through) {
  const thread = new Thread();
  thread.merge(range(from, through), from, through);
  return thread;
}

test("messages stand by seq, whatever the order they come in", () => {
  const thread = loaded(1, 2);
  for (const seq of [5, 3, 4]) thread.receive(message(seq));
  assert.deepEqual(seqs(thread), [1, 2, 3, 4, 5]);
});

test("an older revision does not undo a newer one", () => {
  const thread = loaded(1, 1);
  thread.revise(message(1, { rev: 3, text: "newest" }));
  thread.receive(message(1, { rev: 1, text: "first" }));
  thread.revise(message(1, { rev: 2, text: "second" }));
  assert.equal(thread.messages[0].text, "newest");
});

test("what the viewer alone was told survives events, which don't carry it", () => {
  const thread = new Thread();
  thread.merge([message(1, { myReaction: "like" })], 1, 1);
  thread.revise(message(1, { rev: 2 }));
  assert.equal(thread.messages[0].myReaction, "like");
});

test("an edit of a message that is not loaded brings nothing in", () => {
  const thread = loaded(10, 12);
  assert.equal(thread.revise(message(3, { rev: 2 })), false);
  assert.equal(thread.receive(message(3)), false);
  assert.deepEqual(seqs(thread), [10, 11, 12]);
});

test("a hole is found, and is gone when it is filled", () => {
  const thread = loaded(5, 6);
  assert.equal(thread.gap(), null);
  thread.receive(message(9));
  assert.deepEqual(thread.gap(), { after: 6, before: 9 });
  thread.merge(range(7, 8), 7, 8);
  assert.equal(thread.gap(), null);
});

test("a number that a read did not bring is no hole", () => {
  const thread = loaded(1, 2);
  thread.receive(message(6));
  thread.merge([message(4)], 3, 5);
  assert.equal(thread.gap(), null);
  assert.deepEqual(seqs(thread), [1, 2, 4, 6]);
});

test("there are earlier messages until the first one, or until a read found none", () => {
  assert.equal(loaded(1, 3).hasEarlier, false);
  const thread = loaded(10, 12);
  assert.equal(thread.hasEarlier, true);
  thread.merge([], 1, 9);
  assert.equal(thread.hasEarlier, false);
});

test("after a loss the newest page replaces what is stale and keeps what is newer", () => {
  const thread = loaded(1, 4);
  thread.receive(message(8, { rev: 5, text: "edited live" }));
  thread.receive(message(9));
  thread.replace(range(6, 8), 8);
  assert.deepEqual(seqs(thread), [6, 7, 8, 9]);
  assert.equal(thread.messages[2].text, "edited live");
  assert.equal(thread.gap(), null);
});

test("a conversation that stays open for long does not grow for ever", () => {
  const thread = loaded(1, 1_000);
  thread.receive(message(1_001));
  assert.equal(thread.messages.length, 1_000);
  assert.equal(thread.firstSeq, 2);
  assert.equal(thread.hasEarlier, true);
});
