import assert from "node:assert/strict";
import { test } from "node:test";
import { ServiceError } from "../../static/js/errors.js";
import { event, recorder, setUp, settled } from "./helpers.mjs";

test("the token goes as the first frame and never in the address", async (t) => {
  const { connection, server, reach } = await setUp(t);
  connection.start();
  const peer = await server.accept();
  assert.deepEqual(await peer.greet(), { op: "auth", token: "token-1" });
  await reach("open");
  assert.equal(peer.request.url, "/ws");
  assert.equal(peer.request.headers["sec-websocket-protocol"], "wechat.v1");
});

test("the user's topic resumes with the auth frame, before anything is live", async (t) => {
  const { connection, server } = await setUp(t);
  const user = recorder();
  connection.subscribe("user:me", user, "e:5");
  connection.start();
  const peer = await server.accept();
  assert.equal((await peer.greet([{ topic: "user:me", position: "e:7", recovered: true }])).after, "e:5");
  peer.send(event("user:me", "e:6"));
  assert.equal((await user.next()).id, "e:6");
});

test("after a drop every topic is asked for from its newest event", async (t) => {
  const { connection, server, clock, open, reach } = await setUp(t);
  const [user, conversation] = [recorder(), recorder()];
  connection.subscribe("user:me", user, "e:1");
  connection.subscribe("conv:1", conversation, "f:10");
  const first = await open([{ topic: "user:me", position: "e:1", recovered: true }]);
  const { ref, topics } = await first.next("subscribe");
  assert.deepEqual(topics, [{ topic: "conv:1", after: "f:10" }]);
  first.send({ op: "subscribed", ref, topics: [{ topic: "conv:1", position: "f:12", recovered: true }] });
  first.send(event("conv:1", "f:11"));
  first.send(event("user:me", "e:2"));
  await user.next();
  first.socket.terminate();
  await reach("waiting");
  clock.advance(500);
  const second = await server.accept();
  assert.equal((await second.greet([{ topic: "user:me", position: "e:2", recovered: true }])).after, "e:2");
  assert.deepEqual((await second.next("subscribe")).topics, [{ topic: "conv:1", after: "f:11" }], "not f:12, which never came");
});

test("an event that came already and a state that is not newer are dropped", async (t) => {
  const { connection, open } = await setUp(t);
  const conversation = recorder();
  connection.subscribe("conv:1", conversation, "e:1");
  const peer = await open();
  const { ref } = await peer.next("subscribe");
  peer.send({ op: "subscribed", ref, topics: [{ topic: "conv:1", position: "e:1", recovered: true }] });
  const state = (id, key, version, type = "MessageRead") => event("conv:1", id, { type, key, version });
  peer.send(event("conv:1", "e:1"));
  peer.send(state("e:2", "", 7));
  peer.send(state("e:2", "", 8));
  peer.send(state("e:3", "", 7));
  peer.send(state("e:4", "ada", 1));
  peer.send(state("e:5", "", 6, "PresenceChanged"));
  peer.send({ op: "event", topic: "conv:1", type: "TypingStarted", actorId: "a", data: {} });
  while ((await conversation.next()).type !== "TypingStarted");
  assert.deepEqual(conversation.events.map(({ id }) => id), ["e:2", "e:4", "e:5", undefined]);
});

test("what was lost is read again within five seconds, until that succeeds", async (t) => {
  const { connection, clock, open } = await setUp(t);
  const conversation = recorder();
  let failures = 1;
  const onLost = conversation.onLost;
  conversation.onLost = async function () {
    if (failures-- > 0) throw new Error("no network");
    await onLost.call(this);
  };
  const subscription = connection.subscribe("conv:1", conversation, "e:1");
  const peer = await open();
  const { ref } = await peer.next("subscribe");
  peer.send({ op: "subscribed", ref, topics: [{ topic: "conv:1", position: "e:1", recovered: true }] });
  peer.send({ op: "lost", topic: "conv:1", position: "f:40" });
  peer.send(event("conv:1", "f:41"));
  await conversation.next();
  assert.equal(subscription.position, "f:41", "live events continue from the position of the loss");
  clock.advance(2_499);
  assert.equal(failures, 1, "half of five seconds is not over");
  clock.advance(1);
  await settled();
  assert.equal(conversation.lost, 0);
  clock.advance(500);
  assert.equal(await conversation.next(), "lost");
});

test("a topic that could not be recovered is read again and goes on from the answer", async (t) => {
  const { connection, clock, open } = await setUp(t);
  const conversation = recorder();
  connection.subscribe("conv:1", conversation, "old:900");
  const peer = await open();
  const { ref } = await peer.next("subscribe");
  peer.send({ op: "subscribed", ref, topics: [{ topic: "conv:1", position: "new:3", recovered: false }] });
  peer.send(event("conv:1", "new:3"));
  peer.send(event("conv:1", "new:4"));
  assert.equal((await conversation.next()).id, "new:4");
  clock.advance(5_000);
  assert.equal(await conversation.next(), "lost");
});

test("what comes before the answer to the newest question belongs to an older one", async (t) => {
  const { connection, open } = await setUp(t);
  const peer = await open();
  connection.subscribe("conv:1", recorder(), "e:8");
  const first = await peer.next("subscribe");
  const conversation = recorder();
  connection.subscribe("conv:1", conversation, "e:5");
  const second = await peer.next("subscribe");
  peer.send({ op: "subscribed", ref: first.ref, topics: [{ topic: "conv:1", position: "e:9", recovered: true }] });
  peer.send(event("conv:1", "e:9"));
  peer.send({ op: "subscribed", ref: second.ref, topics: [{ topic: "conv:1", position: "e:9", recovered: true }] });
  for (const offset of [6, 7, 8, 9]) peer.send(event("conv:1", `e:${offset}`));
  while ((await conversation.next()).id !== "e:9");
  assert.deepEqual(conversation.events.map(({ id }) => id), ["e:6", "e:7", "e:8", "e:9"]);
});

test("a topic that is unavailable is asked for again; one that is refused ends", async (t) => {
  const { connection, clock, open } = await setUp(t);
  const [user, conversation] = [recorder(), recorder()];
  connection.subscribe("user:me", user, "e:1");
  connection.subscribe("conv:1", conversation);
  const peer = await open([{ topic: "user:me", error: { code: "unavailable", message: "" } }]);
  const first = await peer.next("subscribe");
  assert.deepEqual(first.topics.map(({ topic }) => topic), ["user:me", "conv:1"]);
  const refused = { topic: "conv:1", error: { code: "not_member", message: "" } };
  peer.send({ op: "subscribed", ref: first.ref, topics: [{ topic: "user:me", error: { code: "unavailable" } }, refused] });
  assert.equal(await conversation.next(), "ended: not_member");
  clock.advance(4_000);
  assert.deepEqual((await peer.next("subscribe")).topics, [{ topic: "user:me", after: "e:1" }]);
});

test("a topic that the server ends is told and not asked for again", async (t) => {
  const { connection, server, clock, open, reach } = await setUp(t);
  const conversation = recorder();
  connection.subscribe("conv:1", conversation);
  const peer = await open();
  await peer.next("subscribe");
  peer.send({ op: "unsubscribed", topics: ["conv:1"], error: { code: "not_member", message: "" } });
  assert.equal(await conversation.next(), "ended: not_member");
  peer.socket.close(1012);
  await reach("waiting");
  clock.advance(500);
  const next = await server.accept();
  await next.greet();
  await reach("open");
  connection.call("Probe", {}).catch(() => {});
  await next.next("call");
});

test("a call is answered by its ref, with a result or an error", async (t) => {
  const { connection, open } = await setUp(t);
  const peer = await open();
  const [one, two] = [connection.call("SendMessage", { text: "1" }), connection.call("SendMessage", { text: "2" })];
  const refs = [(await peer.next("call")).ref, (await peer.next("call")).ref];
  peer.send({ op: "error", ref: refs[1], error: { code: "not_allowed", message: "No." } });
  peer.send({ op: "result", ref: refs[0], data: { seq: 1 } });
  assert.deepEqual(await one, { seq: 1 });
  await assert.rejects(two, { code: "not_allowed", message: "No.", retryable: false });
});

test("a call without an answer fails in a way that may be repeated", async (t) => {
  const { connection, clock, open, reach } = await setUp(t);
  const peer = await open();
  const late = connection.call("MarkRead", {});
  await peer.next("call");
  clock.advance(10_000);
  await assert.rejects(late, { code: "timeout", retryable: true });
  const cut = connection.call("MarkRead", {});
  peer.socket.terminate();
  await assert.rejects(cut, { code: "closed", retryable: true });
  await reach("waiting");
  await assert.rejects(connection.call("MarkRead", {}), { code: "closed" });
});

test("the token is renewed in place a minute before it expires", async (t) => {
  const { connection, clock, tokens, open } = await setUp(t);
  const peer = await open([], 3_600_000);
  clock.advance(839_999);
  assert.equal(tokens.length, 1);
  clock.advance(1);
  assert.equal((await peer.next("auth")).token, "token-2");
  assert.deepEqual(tokens[1], { not: "token-1" });
  assert.equal(connection.state, "open");
});

test("a draining server is left at the moment it names, without back-off", async (t) => {
  const { server, clock, open, connection } = await setUp(t);
  const peer = await open();
  peer.send({ op: "reconnect", inMs: 1_730 });
  const probe = connection.call("Probe", {});
  peer.send({ op: "result", ref: (await peer.next("call")).ref, data: {} });
  await probe;
  clock.advance(1_729);
  assert.equal(connection.state, "open");
  clock.advance(1);
  await (await server.accept()).greet();
  await peer.closed;
});

test("an expired token is replaced; a fresh one that is refused, too, leads to the login", async (t) => {
  const { connection, server, clock, tokens, reach } = await setUp(t);
  connection.start();
  (await server.accept()).socket.close(4401);
  await reach("waiting");
  clock.advance(500);
  const peer = await server.accept();
  assert.equal((await peer.next("auth")).token, "token-2");
  assert.deepEqual(tokens[1], { not: "token-1" });
  peer.socket.close(4401);
  await reach("stopped: login");
});

test("a token that expires after it was accepted is replaced as often as it takes", async (t) => {
  const { server, clock, open, reach } = await setUp(t);
  let peer = await open();
  for (let n = 0; n < 2; n++) {
    peer.socket.close(4401);
    await reach("waiting");
    clock.advance(1_000);
    peer = await server.accept();
    await peer.greet();
    await reach("open");
  }
});

test("a session that is over leads to the login", async (t) => {
  const token = async () => {
    throw new ServiceError("signed_out", "", { status: 401 });
  };
  const { connection, reach } = await setUp(t, { token });
  connection.start();
  await reach("stopped: login");
});

test("a suspended account is not tried again", async (t) => {
  const { clock, open, reach, connection } = await setUp(t);
  (await open()).socket.close(4403);
  await reach("stopped: suspended");
  clock.advance(600_000);
  assert.equal(connection.state, "stopped");
});

for (const [code, leastMs, reported] of [[1001, 0, 0], [1012, 0, 0], [4408, 0, 0], [4429, 30_000, 0], [4400, 30_000, 1], [4413, 30_000, 1]]) {
  test(`after ${code} the next attempt comes ${leastMs ? "much " : ""}later${reported ? ", and it is reported" : ""}`, async (t) => {
    const { server, clock, problems, open, reach, connection } = await setUp(t);
    (await open()).socket.close(code);
    await reach("waiting");
    assert.equal(problems.length, reported);
    clock.advance(leastMs + 499);
    assert.equal(connection.state, "waiting");
    clock.advance(1);
    await (await server.accept()).greet();
    await reach("open");
  });
}

test("attempts that get nowhere come further apart", async (t) => {
  const { connection, server, clock, reach } = await setUp(t);
  connection.start();
  for (const delayMs of [500, 1_000, 2_000]) {
    (await server.accept()).socket.terminate();
    await reach("waiting");
    clock.advance(delayMs - 1);
    assert.equal(connection.state, "waiting");
    clock.advance(1);
    await reach("connecting");
  }
});

test("a connection that was good starts the delays anew", async (t) => {
  const { server, clock, open, reach, connection } = await setUp(t);
  let peer = await open();
  for (const [livedMs, delayMs] of [[0, 500], [0, 1_000], [10_000, 500]]) {
    clock.advance(livedMs);
    peer.socket.terminate();
    await reach("waiting");
    clock.advance(delayMs - 1);
    assert.equal(connection.state, "waiting");
    clock.advance(1);
    peer = await server.accept();
    await peer.greet();
    await reach("open");
  }
});

test("what waited for a connection that is gone is not sent on the next", async (t) => {
  const { server, clock, open, reach, connection } = await setUp(t);
  const peer = await open();
  const calls = Array.from({ length: 40 }, () => connection.call("SendMessage", {}));
  const results = Promise.allSettled(calls);
  peer.socket.terminate();
  assert.ok((await results).every(({ reason }) => reason.code === "closed"));
  await reach("waiting");
  clock.advance(500);
  await (await server.accept()).greet();
  await reach("open");
});

test("a hidden page comes back when it is seen, one without a network when there is one", async (t) => {
  const { server, clock, page, open, reach } = await setUp(t);
  let peer = await open();
  page.set({ isHidden: true });
  peer.socket.close(1012);
  await reach("waiting");
  clock.advance(500);
  await reach("paused");
  page.set({ isHidden: false });
  peer = await server.accept();
  await peer.greet();
  await reach("open");
  page.set({ isOnline: false });
  peer.socket.terminate();
  await reach("paused");
  page.set({ isOnline: true });
  await (await server.accept()).greet();
});

test("silence is asked about, and ends the connection when nothing comes back", async (t) => {
  const { server, clock, open, reach, connection } = await setUp(t);
  const peer = await open();
  clock.advance(25_000);
  await peer.next("ping");
  const probe = connection.call("Probe", {});
  peer.send({ op: "result", ref: (await peer.next("call")).ref, data: {} });
  await probe;
  clock.advance(10_000);
  assert.equal(connection.state, "open", "any frame is a sign of life");
  clock.advance(25_000);
  await peer.next("ping");
  clock.advance(10_000);
  await reach("waiting");
  clock.advance(500);
  await server.accept();
});

test("a burst of calls stays below the server's limit of frames, in order and without loss", async (t) => {
  const { clock, open, connection } = await setUp(t);
  const peer = await open();
  const arrived = [];
  for (let n = 1; n <= 40; n++) connection.call("SendMessage", { n }).catch(() => {});
  peer.socket.on("message", (data) => arrived.push(JSON.parse(data.toString())));
  const reached = async (count) => {
    while (arrived.length < count) await settled();
    await settled();
    assert.equal(arrived.length, count);
  };
  await reached(14); // and the auth frame
  clock.advance(1_000);
  await reached(29);
  clock.advance(1_000);
  await reached(40);
  assert.deepEqual(arrived.map(({ args }) => args.n), Array.from({ length: 40 }, (_, i) => i + 1));
});

test("a passing failure to get a token is no reason to sign out", async (t) => {
  const failures = [new ServiceError("network", ""), new ServiceError("still_running", "", { status: 409 })];
  const token = async () => {
    if (failures.length) throw failures.shift();
    return { token: "token", expiresAt: Infinity };
  };
  const { connection, server, clock, reach } = await setUp(t, { token });
  connection.start();
  for (const delayMs of [500, 1_000]) {
    await reach("waiting");
    clock.advance(delayMs);
  }
  await (await server.accept()).greet();
  await reach("open");
});

test("coming back to an open connection asks at once whether it lives", async (t) => {
  const { page, open } = await setUp(t);
  const peer = await open();
  page.set({ isHidden: true });
  page.set({ isHidden: false });
  await peer.next("ping");
});
