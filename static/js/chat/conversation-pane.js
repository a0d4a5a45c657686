// @ts-check
import { emit, find, paintAvatar, setText } from "../views/dom.js";
import { MessageComposer } from "./message-composer.js";
import { MessageList } from "./message-list.js";

/**
 * @typedef {{
 *   id: string, title: string, subtitle: string, group: boolean, request: boolean, typing: string,
 *   loaded: boolean, hasEarlier: boolean, messages: import("./model.js").MessageModel[],
 * }} PaneModel
 */

/** @param {HTMLElement} el */
export function ConversationPane(el) {
  el.innerHTML = /* html */ `
    <p class="nothing">Choose a conversation, or start a new one.</p>
    <header>
      <a class="back" href="#/chat" aria-label="Back to conversations">‹</a>
      <span class="avatar" aria-hidden="true"></span>
      <div>
        <h2 class="title"></h2>
        <p class="subtitle"></p>
      </div>
    </header>
    <div class="message-list" role="log" aria-label="Messages" tabindex="0"></div>
    <p class="typing" role="status"></p>
    <div class="request">
      <p>This person is not among your contacts. Accept to answer and to show when you have read.</p>
      <button type="button" class="button">Accept</button>
    </div>
    <div class="message-composer"></div>
  `;
  const messages = MessageList(find(el, ".message-list"));
  const composer = MessageComposer(find(el, ".message-composer"));

  find(el, ".request button").addEventListener("click", () => emit(el, "acceptRequest"));

  return {
    /** @param {PaneModel | null} model null: no conversation is chosen */
    update(model) {
      el.classList.toggle("-empty", !model);
      if (!model) return;
      setText(find(el, ".title"), model.title);
      setText(find(el, ".subtitle"), model.subtitle);
      paintAvatar(find(el, ".avatar"), model.title);
      setText(find(el, ".typing"), model.typing);
      find(el, ".request").hidden = !model.request;
      find(el, ".message-composer").hidden = model.request;
      composer.update(model.id);
      messages.update(model);
    },
  };
}
