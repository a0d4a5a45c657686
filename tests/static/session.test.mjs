import assert from "node:assert/strict";
import { test } from "node:test";
import { Api, path } from "../../static/js/api.js";
import { Session } from "../../static/js/session.js";
import { MemoryStorage } from "./helpers.mjs";

const USER = { userId: "me", username: "ada", displayName: "Ada", avatarUrl: null };

/** A server of one account: every access token but the newest is refused. */
class AuthServer {
  issued = 0;
  requests = [];
  losses = 0;
  over = false;
  answers = new Map();

  fetch = async (url, { method, headers, body }) => {
    const key = headers["Idempotency-Key"];
    this.requests.push({ url, method, token: headers.Authorization, key, body: body && JSON.parse(body) });
    if (url.startsWith("/api/auth/refresh")) return this.#refresh(key);
    if (url.startsWith("/api/auth/")) return this.#answer(200, this.#issue());
    if (headers.Authorization !== `Bearer access-${this.issued}`) return this.#answer(401);
    return this.#answer(200, { url });
  };

  count(url) {
    return this.requests.filter((request) => request.url === url).length;
  }

  #refresh(key) {
    if (this.over) return this.#answer(401);
    if (!this.answers.has(key)) this.answers.set(key, this.#issue());
    if (this.losses-- > 0) throw new TypeError("network");
    return this.#answer(200, this.answers.get(key));
  }

  #issue() {
    const n = ++this.issued;
    return { user: USER, accessToken: `access-${n}`, refreshToken: `refresh-${n}`, expiresIn: 900 };
  }

  #answer(status, data) {
    const body = status < 400 ? { data } : { error: { code: "unauthenticated", message: "Sign in." } };
    return new Response(JSON.stringify(body), { status });
  }
}

/** Locks as a browser's: one holder at a time, for all tabs. */
function makeLocks() {
  let last = Promise.resolve();
  return { request: (_, work) => (last = last.then(work, work)) };
}

async function setUp({ storage = new MemoryStorage(), locks = makeLocks(), server = new AuthServer() } = {}) {
  let time = 1_000_000;
  const { fetch } = server;
  const session = new Session({ storage, locks, fetch, now: () => time });
  if (!session.user) await session.login({ login: "ada", password: "secret" });
  return { session, api: new Api({ session, fetch }), server, storage, locks, pass: (ms) => (time += ms) };
}

test("requests carry the token", async () => {
  const { api, server } = await setUp();
  assert.deepEqual(await api.get("/api/x"), { data: { url: "/api/x" } });
  assert.equal(server.requests.at(-1).token, "Bearer access-1");
});

test("a token about to expire is replaced before it is used", async () => {
  const { api, server, pass } = await setUp();
  pass(895_000);
  await api.get("/api/x");
  assert.equal(server.requests.at(-1).token, "Bearer access-2");
  assert.equal(server.count("/api/x"), 1);
});

test("many refused requests share one refresh and are repeated once", async () => {
  const { api, server } = await setUp();
  server.issued = 5;
  const answers = await Promise.all([api.get("/api/a"), api.get("/api/b"), api.get("/api/c")]);
  assert.equal(answers.length, 3);
  assert.equal(server.count("/api/auth/refresh"), 1);
  assert.equal(server.count("/api/a"), 2);
});

test("a browser without locks refreshes once in its tab", async () => {
  const { api, server } = await setUp({ locks: { request: (_, work) => work() } });
  server.issued = 5;
  await Promise.all([api.get("/api/a"), api.get("/api/b")]);
  assert.equal(server.count("/api/auth/refresh"), 1);
});

test("a request that is refused with the fresh token, too, fails", async () => {
  const { api, server } = await setUp();
  const fetch = server.fetch;
  api.fetch = (url, options) => fetch(url, { ...options, headers: {} });
  await assert.rejects(api.get("/api/x"), { status: 401, code: "unauthenticated" });
  assert.equal(server.count("/api/x"), 2);
});

test("two tabs refresh once between them", async () => {
  const one = await setUp();
  const two = await setUp(one);
  one.server.issued = 5;
  await Promise.all([one.api.get("/api/a"), two.api.get("/api/b")]);
  assert.equal(one.server.count("/api/auth/refresh"), 1);
});

test("an answer lost on the way is asked for again under the same key", async () => {
  const { api, server } = await setUp();
  server.issued = 5;
  server.losses = 2;
  await api.get("/api/x");
  const refreshes = server.requests.filter(({ url }) => url === "/api/auth/refresh");
  assert.equal(refreshes.length, 3);
  assert.equal(new Set(refreshes.map(({ key }) => key)).size, 1);
  assert.equal(server.answers.size, 1);
});

test("the key outlives the page, so that a reload in the middle costs no session", async () => {
  const one = await setUp();
  one.server.issued = 5;
  one.server.losses = 3;
  await assert.rejects(one.api.get("/api/x"), { code: "network", retryable: true });
  const two = await setUp(one);
  await two.api.get("/api/x");
  assert.equal(one.server.answers.size, 1);
});

test("each refresh has a key of its own", async () => {
  const { session, server } = await setUp();
  await session.token({ not: "access-1" });
  await session.token({ not: "access-2" });
  assert.equal(server.answers.size, 2);
});

test("a session that the server ended is over here, in all tabs", async () => {
  const one = await setUp();
  const two = await setUp(one);
  let told = 0;
  one.session.onChange(() => told++);
  one.server.over = true;
  one.server.issued = 5;
  await assert.rejects(one.api.get("/api/x"), { code: "signed_out", status: 401 });
  assert.equal(told, 1);
  assert.equal(two.session.user, null);
  await assert.rejects(two.api.get("/api/x"), { code: "signed_out" });
});

test("a logout during a refresh is not undone by its answer", async () => {
  const { session, server } = await setUp();
  session.fetch = async (url, options) => {
    const answer = await server.fetch(url, options);
    if (url === "/api/auth/refresh") session.logout();
    return answer;
  };
  await assert.rejects(session.token({ not: "access-1" }), { code: "signed_out" });
  assert.equal(session.user, null);
  assert.equal(server.count("/api/auth/logout"), 1);
});

test("another tab's sign-out is told", async () => {
  const { session } = await setUp();
  const target = new EventTarget();
  let told = 0;
  session.onChange(() => told++);
  session.watch(target);
  target.dispatchEvent(Object.assign(new Event("storage"), { key: "other" }));
  assert.equal(told, 0);
  target.dispatchEvent(Object.assign(new Event("storage"), { key: "session" }));
  assert.equal(told, 1);
});

test("an error keeps code, message and details; a proxy's page becomes one that may be repeated", async () => {
  const { api, server } = await setUp();
  const error = { code: "invalid", message: "No.", details: [{ field: "text", message: "too long" }] };
  api.fetch = async () => new Response(JSON.stringify({ error }), { status: 422 });
  await assert.rejects(api.post("/api/x", {}), { status: 422, ...error, retryable: false });
  api.fetch = async () => new Response("<h1>Bad gateway</h1>", { status: 502 });
  await assert.rejects(api.post("/api/x", {}), { status: 502, code: "unavailable", retryable: true });
  assert.equal(server.count("/api/auth/refresh"), 0);
});

test("values in a path are escaped", () => {
  assert.equal(path`/api/${"a/b?c"}/x?q=${"1&2"}`, "/api/a%2Fb%3Fc/x?q=1%262");
});
