import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatClient } from "../../static/js/chat/client.js";
import { ChatStore } from "../../static/js/chat/store.js";
import { ServiceError } from "../../static/js/errors.js";
import { message, settled, summary } from "./helpers.mjs";

/** A client over a server of one conversation with `count` messages, at position e:`count`. */
function setUp(count) {
  const messages = Array.from({ length: count }, (_, i) => message(i + 1));
  const reads = [];
  const followed = new Map();
  const calls = [];
  const api = {
    async get(url) {
      reads.push(url);
      const { pathname, searchParams } = new URL(url, "http://host");
      const positions = { "conv:c1": `e:${messages.length}` };
      const lastSeq = messages.length;
      if (pathname === "/api/chat/unread") return { data: { unread: 0, mentions: 0, version: 1 } };
      if (pathname === "/api/chat/conversations") return { data: [], positions: { "user:me": "u:7" } };
      if (pathname === "/api/chat/conversations/c1") return { data: summary({ lastSeq, rev: lastSeq }), positions };
      if (pathname !== "/api/chat/conversations/c1/messages") throw new ServiceError("not_found", "Not there.", { status: 404 });
      const limit = Number(searchParams.get("limit"));
      const after = searchParams.get("after");
      const before = Number(searchParams.get("before") ?? Infinity);
      const page = after ? messages.slice(after, Number(after) + limit) : messages.filter((m) => m.seq < before).slice(-limit);
      const nextCursor = after && page.at(-1)?.seq < lastSeq ? "more" : null;
      return { data: page, lastSeq, pagination: { nextCursor, limit }, positions };
    },
  };
  const connection = {
    state: "open",
    start: () => calls.push("start"),
    subscribe: (topic, handlers, after) => followed.set(topic, { topic, handlers, after }).get(topic),
    unsubscribe: ({ topic }) => followed.delete(topic),
    call: async (method, args) => (calls.push({ method, ...args }), { lastReadSeq: args.seq, unreadCount: 0, mentionCount: 0 }),
  };
  const store = new ChatStore({ me: "me" });
  const client = new ChatClient({ me: "me", api, connection, store, people: { put() {} } });
  const hear = (type, data) => followed.get("conv:c1").handlers.onEvent({ topic: "conv:c1", type, data });
  const seqs = () => store.thread("c1").messages.map(({ seq }) => seq);
  return { client, store, messages, reads, followed, calls, hear, seqs };
}

test("the list is followed from where it was read", async () => {
  const { client, followed, calls } = setUp(0);
  await client.start();
  assert.equal(followed.get("user:me").after, "u:7");
  assert.deepEqual(calls, ["start"]);
});

test("a conversation is followed from where it was read", async () => {
  const { client, followed, seqs } = setUp(3);
  await client.open("c1");
  assert.deepEqual(seqs(), [1, 2, 3]);
  assert.equal(followed.get("conv:c1").after, "e:3");
});

test("opening it again reads nothing", async () => {
  const { client, reads } = setUp(3);
  await client.open("c1");
  const before = reads.length;
  await client.open("c1");
  assert.equal(reads.length, before);
});

test("a gap in the numbers is read, in as many pages as it takes", async () => {
  const { client, messages, hear, seqs } = setUp(3);
  await client.open("c1");
  for (let seq = 4; seq <= 260; seq++) messages.push(message(seq));
  hear("MessageReceived", message(260));
  await settled();
  assert.deepEqual(seqs(), messages.map(({ seq }) => seq));
});

test("earlier messages are read page by page until the first", async () => {
  const { client, store, seqs } = setUp(120);
  await client.open("c1");
  assert.equal(seqs()[0], 71);
  await client.readEarlier("c1");
  await client.readEarlier("c1");
  assert.equal(seqs()[0], 1);
  assert.equal(store.thread("c1").hasEarlier, false);
});

test("what was lost is read again", async () => {
  const { client, messages, followed, seqs } = setUp(3);
  await client.open("c1");
  messages[1] = message(2, { rev: 2, text: "edited meanwhile" });
  messages.push(message(4));
  await followed.get("conv:c1").handlers.onLost();
  assert.deepEqual(seqs(), [1, 2, 3, 4]);
});

test("what is seen is marked once", async () => {
  const { client, calls, store } = setUp(3);
  await client.open("c1");
  await Promise.all([client.seen("c1"), client.seen("c1")]);
  await client.seen("c1");
  assert.deepEqual(calls, [{ method: "MarkRead", conversationId: "c1", seq: 3 }]);
  assert.equal(store.summary("c1").lastReadSeq, 3);
});

test("nothing is told to a stranger before the request is accepted", async () => {
  const { client, calls, store } = setUp(3);
  await client.open("c1");
  store.putSummary(summary({ request: true, lastSeq: 3, rev: 9 }));
  await client.seen("c1");
  client.typed("c1");
  assert.deepEqual(calls, []);
});

test("one's own message is told to the outbox", async () => {
  const { client, hear } = setUp(3);
  const own = [];
  client.onOwnMessage = (id) => own.push(id);
  await client.open("c1");
  hear("MessageReceived", message(4));
  hear("MessageReceived", message(5, { senderId: "me", clientMessageId: "mine" }));
  assert.deepEqual(own, ["mine"]);
});

test("a conversation that is not there is said to be so, and is not followed", async () => {
  const { client, store, followed } = setUp(0);
  await assert.rejects(client.open("other"), { code: "not_found" });
  assert.equal(store.thread("other"), undefined);
  assert.equal(followed.size, 0);
});
