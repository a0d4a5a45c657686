// @ts-check
import { emit, find, make, setText, showTime } from "../views/dom.js";

/** @typedef {import("./model.js").MessageModel} MessageModel */

export function createMessageItem() {
  const el = make("li", "message-item");
  el.innerHTML = /* html */ `
    <span class="author"></span>
    <p class="bubble"><span class="text"></span><time></time></p>
    <span class="reactions"></span>
    <span class="note"></span>
    <span class="actions" hidden>
      <button type="button" class="link" data-action="retryMessage">Try again</button>
      <button type="button" class="link" data-action="discardMessage">Discard</button>
    </span>
  `;
  find(el, ".actions").addEventListener("click", (event) => {
    const { action } = /** @type {HTMLElement} */ (event.target).dataset;
    if (action) emit(el, action, el.dataset.clientMessageId);
  });
  return el;
}

/** @param {HTMLElement} el @param {MessageModel & {showAuthor: boolean}} model */
export function updateMessageItem(el, model) {
  el.dataset.kind = model.kind;
  el.dataset.clientMessageId = model.clientMessageId;
  el.classList.toggle("-starts-run", model.startsRun);
  el.classList.toggle("-faded", model.faded);
  el.classList.toggle("-failed", model.failed);
  const author = find(el, ".author");
  author.classList.toggle("visually-hidden", !model.showAuthor);
  setText(author, model.kind === "theirs" ? model.author : "");
  setText(find(el, ".text"), model.text);
  showTime(find(el, "time"), model.time);
  setText(find(el, ".reactions"), model.reactions);
  setText(find(el, ".note"), model.note);
  find(el, ".actions").hidden = !model.failed;
}
