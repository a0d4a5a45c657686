// @ts-check
import { describe, isRetryable } from "../errors.js";
import { uuid } from "../ids.js";
import { Timer, fullJitter, systemClock } from "../realtime/timer.js";

/** @typedef {import("./types.js").OutboxEntry} OutboxEntry */

/**
 * What was written and not yet answered. An entry is sent, under the same clientMessageId, until the server answers it,
 * so none is lost and none stands twice; one at a time in a conversation, so that they stay in order.
 */
export class Outbox {
  /** @type {OutboxEntry[]} */
  #entries;
  /** @type {Set<string>} conversations with a send under way */
  #busy = new Set();

  /**
   * @param {{
   *   owner: string,
   *   send: (entry: OutboxEntry) => Promise<void>,
   *   onChange?: () => void,
   *   storage?: Pick<Storage, "getItem" | "setItem" | "removeItem">,
   *   clock?: import("../realtime/timer.js").Clock,
   *   random?: () => number,
   * }} options the storage lets unsent messages survive a reload
   */
  constructor({ owner, send, onChange = () => {}, storage, clock = systemClock, random = Math.random }) {
    this.key = `outbox:${owner}`;
    this.send = send;
    this.onChange = onChange;
    this.storage = storage;
    this.clock = clock;
    this.retryTimer = new Timer(() => this.flush(), fullJitter(2_000, 30_000, random), clock);
    this.#entries = JSON.parse(storage?.getItem(this.key) ?? "[]");
  }

  /** @param {string} conversationId */
  entries(conversationId) {
    return this.#entries.filter((entry) => entry.conversationId === conversationId);
  }

  /** @param {string} conversationId @param {string} text */
  add(conversationId, text) {
    const createdAt = new Date(this.clock.now()).toISOString();
    this.#update([...this.#entries, { clientMessageId: uuid(), conversationId, text, createdAt, status: "queued" }]);
    this.#drain(conversationId);
  }

  /** @param {string} clientMessageId */
  retry(clientMessageId) {
    this.#patch(clientMessageId, { status: "queued", error: undefined });
    this.flush();
  }

  /** Answered, or given up by its writer. @param {string} clientMessageId */
  remove(clientMessageId) {
    this.#update(this.#entries.filter((entry) => entry.clientMessageId !== clientMessageId));
  }

  /** Sends all that waits: called whenever a connection opens. */
  flush() {
    for (const id of new Set(this.#entries.map((entry) => entry.conversationId))) this.#drain(id);
  }

  clear() {
    this.retryTimer.reset();
    this.#update([]);
  }

  /** @param {string} conversationId */
  async #drain(conversationId) {
    if (this.#busy.has(conversationId)) return;
    this.#busy.add(conversationId);
    const next = () => this.entries(conversationId).find(({ status }) => status === "queued");
    for (let entry = next(); entry; entry = next()) {
      const { clientMessageId } = entry;
      try {
        await this.send(entry);
        this.retryTimer.reset();
        this.remove(clientMessageId);
      } catch (error) {
        if (isRetryable(error)) {
          if (!this.retryTimer.pending) this.retryTimer.schedule();
          break;
        }
        this.#patch(clientMessageId, { status: "failed", error: describe(error) });
      }
    }
    this.#busy.delete(conversationId);
  }

  /** @param {string} clientMessageId @param {Partial<OutboxEntry>} changes */
  #patch(clientMessageId, changes) {
    const patched = (/** @type {OutboxEntry} */ e) => (e.clientMessageId === clientMessageId ? { ...e, ...changes } : e);
    this.#update(this.#entries.map(patched));
  }

  /** @param {OutboxEntry[]} entries */
  #update(entries) {
    this.#entries = entries;
    if (entries.length) this.storage?.setItem(this.key, JSON.stringify(entries));
    else this.storage?.removeItem(this.key);
    this.onChange();
  }
}
