// @ts-check

/**
 * @typedef {(wanted: {not?: string}) => Promise<{token: string, expiresAt: number}>} TokenSource
 *   answers any token but the one named, which is used up
 */

const RENEW_BEFORE_MS = 60_000;

/** The token of the connection: the current one, the one that was refused, and when the next is due. */
export class Credentials {
  token = "";
  #expiresAt = 0;
  #refused = "";

  /** @param {TokenSource} source */
  constructor(source) {
    this.source = source;
  }

  /** For a new connection. @returns {Promise<void>} */
  take() {
    return this.#get(this.#refused);
  }

  /** For one that goes on. @returns {Promise<void>} */
  renew() {
    return this.#get(this.token);
  }

  accepted() {
    this.#refused = "";
  }

  /** Whether another token is worth a try: not when a fresh one was refused, too. */
  refused() {
    const first = this.#refused === "";
    this.#refused = this.token;
    return first;
  }

  /** Some time before it expires, however short it lives. @param {number} now */
  renewInMs(now) {
    const lifeMs = this.#expiresAt - now;
    return Math.max(1_000, lifeMs / 2, lifeMs - RENEW_BEFORE_MS);
  }

  /** @param {string} not */
  async #get(not) {
    const { token, expiresAt } = await this.source({ not });
    this.token = token;
    this.#expiresAt = expiresAt;
  }
}
