import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";
import { Connection } from "../../static/js/realtime/connection.js";

/** Time that moves when a test says so. */
export class FakeClock {
  time = 1_000_000;
  #timers = new Map();
  #lastId = 0;

  now() {
    return this.time;
  }

  setTimeout(work, ms) {
    this.#timers.set(++this.#lastId, { at: this.time + ms, work });
    return this.#lastId;
  }

  clearTimeout(id) {
    this.#timers.delete(id);
  }

  advance(ms) {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [id, { at, work }] = due;
      this.#timers.delete(id);
      this.time = at;
      work();
    }
    this.time = end;
  }
}

/** Things that come one by one, awaited in order. */
class Queue {
  #ready = [];
  #waiting = [];

  put(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter(item);
    else this.#ready.push(item);
  }

  take() {
    return this.#ready.length ? Promise.resolve(this.#ready.shift()) : new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** The server's end of one connection. */
class Peer {
  #frames = new Queue();

  constructor(socket, request) {
    this.socket = socket;
    this.request = request;
    this.closed = once(socket, "close");
    socket.on("message", (data) => this.#frames.put(JSON.parse(data.toString())));
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** The next frame, which must be of this kind. */
  async next(op) {
    const frame = await this.#frames.take();
    if (frame.op !== op) throw new Error(`expected ${op}, got ${JSON.stringify(frame)}`);
    return frame;
  }

  /** Says hello to the auth frame, which is answered. */
  async greet(topics = [], heartbeatMs = 25_000) {
    const auth = await this.next("auth");
    this.send({ op: "hello", connectionId: "c", userId: "me", heartbeatMs, topics });
    return auth;
  }
}

export class Server {
  #peers = new Queue();

  static async start() {
    const server = new Server();
    server.socket = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    server.socket.on("connection", (socket, request) => server.#peers.put(new Peer(socket, request)));
    await once(server.socket, "listening");
    return server;
  }

  get url() {
    return `ws://127.0.0.1:${this.socket.address().port}/ws`;
  }

  accept() {
    return this.#peers.take();
  }

  stop() {
    for (const client of this.socket.clients) client.terminate();
    this.socket.close();
  }
}

/** A page that a test hides, shows and takes off the net. */
export class FakePage {
  isHidden = false;
  isOnline = true;
  #listeners = [];

  hidden = () => this.isHidden;
  online = () => this.isOnline;
  onChange = (listener) => void this.#listeners.push(listener);

  set(changes) {
    Object.assign(this, changes);
    for (const listener of this.#listeners) listener();
  }
}

/** A connection to a server of its own; `t` ends both. */
export async function setUp(t, options = {}) {
  const server = await Server.start();
  const clock = new FakeClock();
  const page = new FakePage();
  const states = new Queue();
  const problems = [];
  const tokens = [];
  let issued = 0;
  const connection = new Connection({
    url: server.url,
    token: async (wanted) => {
      tokens.push(wanted);
      return { token: `token-${++issued}`, expiresAt: clock.now() + 900_000 };
    },
    WebSocket,
    clock,
    page,
    random: () => 0.5,
    onState: (state, reason) => states.put(reason ? `${state}: ${reason}` : state),
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  t.after(() => {
    connection.stop();
    server.stop();
  });
  const reach = async (wanted) => {
    while ((await states.take()) !== wanted);
  };
  /** Started, and greeted by the server. */
  const open = async (topics, heartbeatMs) => {
    connection.start();
    const peer = await server.accept();
    await peer.greet(topics, heartbeatMs);
    await reach("open");
    return peer;
  };
  return { server, clock, page, connection, problems, tokens, reach, open };
}

/** Handlers that write down what they are told, and events to await it. */
export function recorder() {
  const told = new Queue();
  return {
    events: [],
    next: () => told.take(),
    lost: 0,
    onEvent(event) {
      this.events.push(event);
      told.put(event);
    },
    async onLost() {
      this.lost += 1;
      told.put("lost");
    },
    onEnded(error) {
      told.put(`ended: ${error.code}`);
    },
  };
}

export function event(topic, id, more = {}) {
  return { op: "event", topic, id, type: "MessageReceived", actorId: "a", data: {}, ...more };
}

/** Lets everything that is ready now run: promises, and what they start. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

export class MemoryStorage {
  #items = new Map();
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => void this.#items.set(key, value);
  removeItem = (key) => void this.#items.delete(key);
}

export function message(seq, more = {}) {
  const id = `m${seq}`;
  return {
    messageId: id, conversationId: "c1", seq, kind: "user", system: null, senderId: "you", clientMessageId: `client-${id}`,
    text: `text ${seq}`, reactions: {}, rev: 1, createdAt: `2026-01-01T00:00:${String(seq % 60).padStart(2, "0")}.000Z`,
    editedAt: null, deletedAt: null, ...more,
  };
}

export function summary(more = {}) {
  return {
    conversationId: "c1", type: "direct", title: null, peer: null, memberCount: 2, lastSeq: 0, lastMessage: null, lastReadSeq: 0,
    unreadCount: 0, mentionCount: 0, muted: false, request: false, readMarks: [], rev: 1, updatedAt: "2026-01-01T00:00:00.000Z", ...more,
  };
}
