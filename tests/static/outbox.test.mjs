import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../../static/js/chat/outbox.js";
import { ServiceError } from "../../static/js/errors.js";
import { FakeClock, MemoryStorage, settled } from "./helpers.mjs";

/** An outbox whose sends are answered by hand. */
function setUp(storage, owner = "me") {
  const clock = new FakeClock();
  const sends = [];
  const send = (entry) => new Promise((resolve, reject) => sends.push({ entry, resolve, reject }));
  const outbox = new Outbox({ owner, send, storage, clock, random: () => 0.5 });
  const texts = (id = "c1") => outbox.entries(id).map(({ text, status }) => `${text}: ${status}`);
  return { outbox, clock, sends, texts };
}

test("messages of one conversation go one by one, those of others do not wait for them", async () => {
  const { outbox, sends } = setUp();
  outbox.add("c1", "one");
  outbox.add("c1", "two");
  outbox.add("c2", "other");
  assert.deepEqual(sends.map(({ entry }) => entry.text), ["one", "other"]);
  sends[0].resolve();
  await settled();
  assert.equal(sends[2].entry.text, "two");
});

test("an unanswered message goes again under the same id, in order, when there is a connection", async () => {
  const { outbox, sends, texts } = setUp();
  outbox.add("c1", "one");
  outbox.add("c1", "two");
  sends[0].reject(new ServiceError("closed", ""));
  await settled();
  assert.deepEqual(texts(), ["one: queued", "two: queued"]);
  outbox.flush();
  assert.equal(sends[1].entry.clientMessageId, sends[0].entry.clientMessageId);
  sends[1].resolve();
  await settled();
  assert.deepEqual(texts(), ["two: queued"]);
  sends[2].resolve();
  await settled();
  assert.deepEqual(texts(), []);
});

test("without a new connection it is tried again after a while", async () => {
  const { outbox, clock, sends } = setUp();
  outbox.add("c1", "one");
  sends[0].reject(new ServiceError("unavailable", ""));
  await settled();
  clock.advance(999);
  assert.equal(sends.length, 1);
  clock.advance(1);
  assert.equal(sends.length, 2);
});

test("a refused message waits for its writer, the next one goes on", async () => {
  const { outbox, sends, texts } = setUp();
  outbox.add("c1", "one");
  outbox.add("c1", "two");
  sends[0].reject(new ServiceError("not_allowed", "You can't write here."));
  await settled();
  assert.deepEqual(texts(), ["one: failed", "two: queued"]);
  assert.equal(outbox.entries("c1")[0].error, "You can't write here.");
  assert.equal(sends[1].entry.text, "two");
  sends[1].resolve();
  await settled();
  outbox.retry(outbox.entries("c1")[0].clientMessageId);
  assert.equal(sends[2].entry.clientMessageId, sends[0].entry.clientMessageId);
});

test("the event may come before the answer", async () => {
  const { outbox, sends, texts } = setUp();
  outbox.add("c1", "one");
  outbox.remove(sends[0].entry.clientMessageId);
  assert.deepEqual(texts(), []);
  sends[0].reject(new ServiceError("closed", ""));
  await settled();
  outbox.flush();
  assert.equal(sends.length, 1);
});

test("what one user left unsent is never sent by another", () => {
  const storage = new MemoryStorage();
  setUp(storage).outbox.add("c1", "one");
  const other = setUp(storage, "you");
  other.outbox.flush();
  assert.deepEqual(other.sends, []);
});

test("unsent messages survive a reload, but not a logout", () => {
  const storage = new MemoryStorage();
  const before = setUp(storage);
  before.outbox.add("c1", "one");
  const after = setUp(storage);
  after.outbox.flush();
  assert.equal(after.sends[0].entry.clientMessageId, before.sends[0].entry.clientMessageId);
  after.outbox.clear();
  assert.deepEqual(setUp(storage).texts(), []);
});
