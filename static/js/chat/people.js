// @ts-check
import { path } from "../api.js";

/** @typedef {import("./types.js").Person} Person */

const IDS_PER_REQUEST = 100;

/** Names behind user ids: those that are shown and not yet known are read together. */
export class People {
  /** @type {Map<string, Person>} */
  #known = new Map();
  /** @type {Set<string>} */
  #wanted = new Set();
  #reading = false;

  /** @param {{api: import("../api.js").Api, onChange?: () => void}} options */
  constructor({ api, onChange = () => {} }) {
    this.api = api;
    this.onChange = onChange;
  }

  /** @param {Person | null | undefined} person */
  put(person) {
    if (person) this.#known.set(person.userId, person);
  }

  /** The name to show now; the right one follows by `onChange`. @param {string} userId */
  name(userId) {
    const person = this.#known.get(userId);
    if (!person) this.#want(userId);
    return person ? person.displayName || person.username : "…";
  }

  /** @param {string} username @returns {Promise<Person>} */
  async byUsername(username) {
    const { data } = await this.api.get(path`/api/profiles/by-username/${username}`);
    this.put(data);
    return data;
  }

  /** @param {string} userId */
  #want(userId) {
    this.#wanted.add(userId);
    if (this.#reading) return;
    this.#reading = true;
    queueMicrotask(() => this.#read());
  }

  async #read() {
    const ids = [...this.#wanted].slice(0, IDS_PER_REQUEST);
    for (const id of ids) this.#wanted.delete(id);
    try {
      const { data } = await this.api.get(path`/api/profiles?ids=${ids.join(",")}`);
      for (const person of data) this.put(person);
      // Whom the answer left out is not shown to this user; asking again would not end.
      for (const id of ids) if (!this.#known.has(id)) this.put(stranger(id));
      this.#reading = false;
      this.onChange();
    } catch {
      this.#reading = false; // The next update wants them again.
    }
  }
}

/** @param {string} userId @returns {Person} */
function stranger(userId) {
  return { userId, username: "", displayName: "Someone", avatarUrl: null };
}
