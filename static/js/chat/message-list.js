// @ts-check
import { emit, find } from "../views/dom.js";
import { reconcile } from "../views/reconcile.js";
import { createMessageItem, updateMessageItem } from "./message-item.js";

/** @typedef {import("./model.js").MessageModel} MessageModel */

const NEAR_END_PX = 80;

/** @param {HTMLElement} el */
export function MessageList(el) {
  el.innerHTML = /* html */ `
    <button type="button" class="earlier" hidden>Show earlier messages</button>
    <p class="empty" hidden>No messages yet. Say hello.</p>
    <ol></ol>
  `;
  const list = find(el, "ol");
  let conversationId = "";
  let firstKey = "";

  find(el, ".earlier").addEventListener("click", () => emit(el, "readEarlier"));

  return {
    /** @param {{id: string, loaded: boolean, messages: MessageModel[], hasEarlier: boolean, group: boolean}} model */
    update({ id, loaded, messages, hasEarlier, group }) {
      const fromEnd = el.scrollHeight - el.scrollTop;
      const atEnd = fromEnd - el.clientHeight < NEAR_END_PX;
      const other = id !== conversationId;
      reconcile(list, messages, {
        key: ({ key }) => key,
        create: createMessageItem,
        update: (item, m) => updateMessageItem(item, { ...m, showAuthor: group && m.kind === "theirs" && m.startsRun }),
      });
      find(el, ".earlier").hidden = !hasEarlier;
      find(el, ".empty").hidden = !loaded || messages.length > 0;
      // Follow what is new at the end; keep in place what one reads while older ones come in above.
      if (other || atEnd) el.scrollTop = el.scrollHeight;
      else if (messages[0]?.key !== firstKey) el.scrollTop = el.scrollHeight - fromEnd;
      conversationId = id;
      firstKey = messages[0]?.key ?? "";
    },
  };
}
