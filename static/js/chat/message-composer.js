// @ts-check
import { emit, find } from "../views/dom.js";

const TALLEST_PX = 160;

/** @param {HTMLElement} el */
export function MessageComposer(el) {
  el.innerHTML = /* html */ `
    <form>
      <label class="visually-hidden" for="message-text">Message</label>
      <textarea id="message-text" rows="1" maxlength="4000" placeholder="Write a message" enterkeyhint="send"></textarea>
      <button type="submit" aria-label="Send">
        <svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><path d="M4 12 20 4l-5 16-3.5-6.5z" fill="currentColor"/></svg>
      </button>
    </form>
  `;
  const form = /** @type {HTMLFormElement} */ (find(el, "form"));
  const text = /** @type {HTMLTextAreaElement} */ (find(el, "textarea"));
  /** What is half written stays with its conversation. @type {Map<string, string>} */
  const drafts = new Map();
  let conversationId = "";

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const words = text.value.trim();
    if (!words) return;
    text.value = "";
    fit();
    emit(el, "stoppedTyping");
    emit(el, "sendMessage", words);
    text.focus();
  });
  text.addEventListener("input", () => {
    fit();
    emit(el, text.value.trim() ? "typed" : "stoppedTyping");
  });
  text.addEventListener("keydown", (event) => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });

  function fit() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight, TALLEST_PX)}px`;
  }

  return {
    /** @param {string} id */
    update(id) {
      if (id === conversationId) return;
      drafts.set(conversationId, text.value);
      conversationId = id;
      text.value = drafts.get(id) ?? "";
      fit();
    },
  };
}
