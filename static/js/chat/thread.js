// @ts-check

/** @typedef {import("./types.js").Message} Message */

/** What is kept of a conversation that stays open for long; older messages can be read again. */
const KEPT_MESSAGES = 1_000;

/** The loaded messages of one conversation, by seq: a window that ends at the newest. */
export class Thread {
  loaded = false;
  /** @type {Map<number, Message>} */
  #bySeq = new Map();
  /** Numbers that a read did not bring although it covered them. @type {Set<number>} */
  #absent = new Set();
  /** @type {Message[] | null} */
  #sorted = null;

  /** @returns {Message[]} ascending */
  get messages() {
    return (this.#sorted ??= [...this.#bySeq.values()].sort((a, b) => a.seq - b.seq));
  }

  get firstSeq() {
    return this.messages[0]?.seq ?? 0;
  }

  get lastSeq() {
    return this.messages.at(-1)?.seq ?? 0;
  }

  get hasEarlier() {
    return this.firstSeq > 1 && !this.#absent.has(this.firstSeq - 1);
  }

  /**
   * A new message, or a newer revision of one that is here.
   * One below the window is left out: paging back reads it as it then is.
   *
   * @param {Message} message
   * @returns {boolean} whether anything changed
   */
  receive(message) {
    if (!this.loaded || message.seq < this.firstSeq) return false;
    const changed = this.#put(message);
    if (this.#bySeq.size > KEPT_MESSAGES) this.#forgetOldest();
    return changed;
  }

  /** An edit or a deletion changes what is here, but brings nothing new. @param {Message} message */
  revise(message) {
    return this.#bySeq.has(message.seq) && this.#put(message);
  }

  /** @param {string} messageId @param {Record<string, number>} reactions */
  react(messageId, reactions) {
    const message = this.messages.find((m) => m.messageId === messageId);
    if (!message) return false;
    this.#bySeq.set(message.seq, { ...message, reactions });
    this.#sorted = null;
    return true;
  }

  /**
   * A page that was read: everything in it, and the certainty that nothing else lies from `from` to `through`.
   *
   * @param {Message[]} page
   * @param {number} from
   * @param {number} through
   */
  merge(page, from, through) {
    this.loaded = true;
    for (const message of page) this.#put(message);
    for (let seq = from; seq <= through; seq++) if (!this.#bySeq.has(seq)) this.#absent.add(seq);
  }

  /**
   * The newest page after continuity was lost. What events brought meanwhile is newer than the page, all else is stale.
   *
   * @param {Message[]} page
   * @param {number} lastSeq
   */
  replace(page, lastSeq) {
    const known = this.messages;
    const pageSeqs = new Set(page.map(({ seq }) => seq));
    this.#bySeq.clear();
    this.#absent.clear();
    this.#sorted = null;
    for (const message of known) if (message.seq > lastSeq || pageSeqs.has(message.seq)) this.#put(message);
    this.merge(page, page[0]?.seq ?? 1, lastSeq);
  }

  /** The first hole in the window, as the seqs on its two sides. @returns {{after: number, before: number} | null} */
  gap() {
    let expected = this.firstSeq;
    for (const { seq } of this.messages) {
      while (expected < seq && this.#absent.has(expected)) expected++;
      if (expected < seq) return { after: expected - 1, before: seq };
      expected = seq + 1;
    }
    return null;
  }

  /** @param {Message} message */
  #put(message) {
    const known = this.#bySeq.get(message.seq);
    if (known && message.rev < known.rev) return false;
    this.#bySeq.set(message.seq, { ...known, ...message });
    this.#sorted = null;
    return true;
  }

  #forgetOldest() {
    for (const { seq } of this.messages.slice(0, -KEPT_MESSAGES)) this.#bySeq.delete(seq);
    this.#absent.clear();
    this.#sorted = null;
  }
}
