// @ts-check
import { find, make, paintAvatar, setText, showTime } from "../views/dom.js";
import { reconcile } from "../views/reconcile.js";

/** @typedef {import("./model.js").ConversationModel} ConversationModel */

/** @param {HTMLElement} el */
export function ConversationList(el) {
  el.innerHTML = /* html */ `
    <p class="empty">No conversations yet. Start one with a user name.</p>
    <section class="requests" aria-labelledby="requests-title">
      <h2 id="requests-title">Requests</h2>
      <ul></ul>
    </section>
    <ul class="inbox" aria-label="Conversations"></ul>
  `;
  const how = { key: (/** @type {ConversationModel} */ c) => c.id, create, update: updateItem };

  return {
    /** @param {ConversationModel[]} conversations */
    update(conversations) {
      const requests = conversations.filter(({ request }) => request);
      find(el, ".empty").hidden = conversations.length > 0;
      find(el, ".requests").hidden = requests.length === 0;
      reconcile(find(el, ".requests > ul"), requests, how);
      reconcile(find(el, ".inbox"), conversations.filter(({ request }) => !request), how);
    },
  };
}

function create() {
  const el = make("li", "conversation-item");
  el.innerHTML = /* html */ `
    <a>
      <span class="avatar" aria-hidden="true"></span>
      <span class="title"></span>
      <time></time>
      <span class="preview"></span>
      <span class="unread"><span class="count"></span><span class="visually-hidden"> unread</span></span>
    </a>
  `;
  return el;
}

/** @param {HTMLElement} el @param {ConversationModel} model */
function updateItem(el, { id, title, preview, time, unread, muted, current }) {
  const link = /** @type {HTMLAnchorElement} */ (find(el, "a"));
  link.setAttribute("href", `#/chat/${id}`);
  if (current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
  paintAvatar(find(el, ".avatar"), title);
  setText(find(el, ".title"), title);
  setText(find(el, ".preview"), preview);
  showTime(find(el, "time"), time);
  find(el, ".unread").hidden = unread === 0;
  setText(find(el, ".count"), unread > 99 ? "99+" : String(unread));
  el.classList.toggle("-muted", muted);
}
