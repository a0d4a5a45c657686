// @ts-check

/**
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {T}
 */
export function find(root, selector) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`No ${selector} here.`);
  return /** @type {any} */ (found);
}

/** Actions go up as events, data comes down by `update`. @param {Element} el @param {string} name @param {unknown} [detail] */
export function emit(el, name, detail) {
  el.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
}

/** Untouched where it already says so: screen readers announce each write. @param {Element} el @param {string} text */
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

/** A new element with that class. @param {string} tag @param {string} className */
export function make(tag, className) {
  const el = document.createElement(tag);
  el.className = className;
  return el;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** The hour today, else the day. @param {Element} el @param {string} iso */
export function showTime(el, iso) {
  const date = new Date(iso);
  el.setAttribute("datetime", iso);
  setText(el, (date.toDateString() === new Date().toDateString() ? clock : day).format(date));
}

/** @param {HTMLElement} el @param {string} name */
export function paintAvatar(el, name) {
  setText(el, (name.match(/[\p{L}\p{N}]/u)?.[0] ?? "·").toUpperCase());
  const hash = [...name].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 6, 0);
  el.dataset.tone = String(hash);
}
