// @ts-check
import { ServiceError, isRefusal } from "./errors.js";
import { request } from "./http.js";
import { uuid } from "./ids.js";

/**
 * @typedef {{userId: string, username: string, displayName: string, avatarUrl: string | null}} User
 * @typedef {{
 *   user: User, accessToken: string, refreshToken: string, expiresAt: number, refreshKey?: string,
 * }} StoredSession
 */

const STORAGE_KEY = "session";
const REFRESH_ATTEMPTS = 3;

/** Runs alone in this tab only, where the browser has no lock manager (plain http). */
const noLocks = { request: (/** @type {string} */ _, /** @type {() => Promise<any>} */ work) => work() };

/** Who is signed in, in all tabs alike: the stored session is the truth, nothing is copied from it. */
export class Session {
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {Promise<StoredSession> | null} */
  #refreshing = null;

  /**
   * @param {{
   *   storage?: Pick<Storage, "getItem" | "setItem" | "removeItem">,
   *   locks?: {request: (name: string, work: () => Promise<any>) => Promise<any>},
   *   fetch?: typeof globalThis.fetch,
   *   now?: () => number,
   * }} [options]
   */
  constructor({ storage = localStorage, locks, fetch, now = Date.now } = {}) {
    this.storage = storage;
    this.locks = locks ?? globalThis.navigator?.locks ?? noLocks;
    this.fetch = fetch;
    this.now = now;
  }

  /** @returns {StoredSession | null} */
  get stored() {
    try {
      return JSON.parse(this.storage.getItem(STORAGE_KEY) ?? "null");
    } catch {
      return null;
    }
  }

  /** @returns {User | null} */
  get user() {
    return this.stored?.user ?? null;
  }

  /** Tells of sign-in and sign-out, here and in other tabs. @param {() => void} listener */
  onChange(listener) {
    this.#listeners.add(listener);
  }

  /** Another tab changed the storage. @param {EventTarget} target */
  watch(target) {
    target.addEventListener("storage", (event) => {
      const { key } = /** @type {StorageEvent} */ (event);
      if (key === STORAGE_KEY || key === null) this.#tell();
    });
  }

  /** @param {{username: string, email: string, password: string, displayName?: string}} fields */
  register(fields) {
    return this.#enter("/api/auth/register", fields);
  }

  /** @param {{login: string, password: string}} fields */
  login(fields) {
    return this.#enter("/api/auth/login", fields);
  }

  /** Ends the session here at once; the server is told, but is not waited for. */
  logout() {
    const stored = this.stored;
    this.#clear();
    if (!stored) return Promise.resolve();
    const { accessToken: token, refreshToken } = stored;
    const options = { method: "POST", token, body: { refreshToken }, fetch: this.fetch, keepalive: true };
    return request("/api/auth/logout", options).then(() => {}, () => {});
  }

  /**
   * A token that is good for `minLifeMs` more; `not` names one that the server refused.
   *
   * @param {{minLifeMs?: number, not?: string}} [wanted]
   * @returns {Promise<{token: string, expiresAt: number}>}
   */
  async token({ minLifeMs = 10_000, not } = {}) {
    const fits = (/** @type {StoredSession} */ s) => s.accessToken !== not && s.expiresAt - this.now() > minLifeMs;
    let stored = this.stored;
    if (!stored) throw signedOut();
    if (!fits(stored)) {
      this.#refreshing ??= this.locks
        .request("session-refresh", () => this.#refreshUnless(fits))
        .finally(() => (this.#refreshing = null));
      stored = await this.#refreshing;
    }
    return { token: stored.accessToken, expiresAt: stored.expiresAt };
  }

  /**
   * Under the lock: another tab may have refreshed while this one waited.
   * The key is stored before it is sent, so that an answer lost on the way, or with the page, can be asked for again:
   * without it the server takes the repeat for a stolen token.
   *
   * @param {(stored: StoredSession) => boolean} fits
   * @returns {Promise<StoredSession>}
   */
  async #refreshUnless(fits) {
    const stored = this.stored;
    if (!stored) throw signedOut();
    if (fits(stored)) return stored;
    const refreshKey = stored.refreshKey ?? uuid();
    this.#store({ ...stored, refreshKey });
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await request("/api/auth/refresh", {
          method: "POST",
          body: { refreshToken: stored.refreshToken },
          idempotencyKey: refreshKey,
          fetch: this.fetch,
        });
        if (this.stored?.refreshToken !== stored.refreshToken) throw signedOut();
        return this.#keep(answer.data);
      } catch (error) {
        if (isRefusal(error)) {
          if (this.stored?.refreshToken === stored.refreshToken) this.#clear();
          throw signedOut();
        }
        const lost = error instanceof ServiceError && error.code === "network";
        if (!lost || attempt === REFRESH_ATTEMPTS) throw error;
      }
    }
  }

  /** @param {string} path @param {unknown} body */
  async #enter(path, body) {
    const answer = await request(path, { method: "POST", body, fetch: this.fetch });
    this.#keep(answer.data);
    this.#tell();
  }

  /** @param {{user: User, accessToken: string, refreshToken: string, expiresIn: number}} data */
  #keep({ user, accessToken, refreshToken, expiresIn }) {
    const stored = { user, accessToken, refreshToken, expiresAt: this.now() + expiresIn * 1000 };
    this.#store(stored);
    return stored;
  }

  /** @param {StoredSession} stored */
  #store(stored) {
    this.storage.setItem(STORAGE_KEY, JSON.stringify(stored));
  }

  #clear() {
    this.storage.removeItem(STORAGE_KEY);
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}

function signedOut() {
  return new ServiceError("signed_out", "You are signed out.", { status: 401 });
}
