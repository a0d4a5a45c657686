// @ts-check
import { ServiceError } from "./errors.js";
import { request } from "./http.js";

/** @typedef {import("./http.js").RequestOptions} RequestOptions */

/** REST with the session's token; one that the server refuses is refreshed, once, and the request repeated. */
export class Api {
  /** @param {{session: import("./session.js").Session, fetch?: typeof globalThis.fetch}} options */
  constructor({ session, fetch }) {
    this.session = session;
    this.fetch = fetch;
  }

  /** @param {string} path */
  get(path) {
    return this.#send(path, {});
  }

  /** @param {string} path @param {unknown} [body] @param {{idempotencyKey?: string}} [options] */
  post(path, body, options) {
    return this.#send(path, { ...options, method: "POST", body });
  }

  /** @param {string} path @param {unknown} [body] */
  put(path, body) {
    return this.#send(path, { method: "PUT", body });
  }

  /** @param {string} path */
  delete(path) {
    return this.#send(path, { method: "DELETE" });
  }

  /** @param {string} path @param {RequestOptions} options */
  async #send(path, options) {
    const { token } = await this.session.token();
    const full = { ...options, fetch: this.fetch };
    try {
      return await request(path, { ...full, token });
    } catch (error) {
      if (!(error instanceof ServiceError) || error.status !== 401) throw error;
      const next = await this.session.token({ not: token });
      return request(path, { ...full, token: next.token });
    }
  }
}

/** A path with its values escaped: path`/api/profiles/${id}`. @param {TemplateStringsArray} parts @param {...unknown} values */
export function path(parts, ...values) {
  return String.raw({ raw: parts }, ...values.map((value) => encodeURIComponent(String(value))));
}
