// @ts-check
import { describe } from "../errors.js";
import { find } from "../views/dom.js";
import { ChatClient } from "./client.js";
import { ConversationList } from "./conversation-list.js";
import { ConversationPane } from "./conversation-pane.js";
import { conversationModels, messageModels, titleOf, typingText } from "./model.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";
import { StartDialog } from "./start-dialog.js";
import { ChatStore } from "./store.js";

/**
 * The chat of one signed-in user: joins store, client and views.
 *
 * @param {HTMLElement} el
 * @param {{
 *   user: import("../session.js").User,
 *   api: import("../api.js").Api,
 *   connection: import("../realtime/connection.js").Connection,
 *   onBadge: (unread: number) => void,
 *   onProblem: (problem: string) => void,
 * }} parts
 */
export function ChatApp(el, { user, api, connection, onBadge, onProblem }) {
  const me = user.userId;
  const store = new ChatStore({ me, onChange: schedule });
  const people = new People({ api, onChange: schedule });
  const client = new ChatClient({ me, api, connection, store, people });
  const outbox = new Outbox({ owner: me, send: (entry) => client.send(entry), onChange: schedule, storage: sessionStorage });
  client.onOwnMessage = (clientMessageId) => outbox.remove(clientMessageId);
  client.onGone = (id) => {
    if (id !== currentId) return;
    onProblem("You are no longer in this conversation.");
    location.hash = "#/chat";
  };
  people.put(user);

  const list = ConversationList(find(el, ".conversation-list"));
  const paneEl = find(el, ".conversation-pane");
  const pane = ConversationPane(paneEl);
  const dialog = StartDialog(find(document, ".start-dialog"), client, (id) => (location.hash = `#/chat/${id}`));
  const controller = new AbortController();
  const { signal } = controller;
  /** @type {string | null} */
  let currentId = null;
  let scheduled = false;

  listen(find(el, ".start"), "click", () => dialog.open());
  listen(paneEl, "sendMessage", ({ detail }) => currentId && outbox.add(currentId, detail));
  listen(paneEl, "typed", () => currentId && client.typed(currentId));
  listen(paneEl, "stoppedTyping", () => currentId && client.stoppedTyping(currentId));
  listen(paneEl, "readEarlier", () => currentId && attempt(client.readEarlier(currentId)));
  listen(paneEl, "acceptRequest", () => currentId && attempt(client.accept(currentId)));
  listen(paneEl, "retryMessage", ({ detail }) => outbox.retry(detail));
  listen(paneEl, "discardMessage", ({ detail }) => outbox.remove(detail));
  for (const name of ["focus", "visibilitychange"]) window.addEventListener(name, schedule, { signal, capture: true });

  /** @param {EventTarget} target @param {string} name @param {(event: any) => void} handle */
  function listen(target, name, handle) {
    target.addEventListener(name, handle, { signal });
  }

  /** @param {Promise<unknown>} work */
  function attempt(work) {
    work.catch((error) => onProblem(describe(error)));
  }

  /** Many changes of one turn make one update. */
  function schedule() {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      if (!signal.aborted) update();
    });
  }

  function update() {
    el.classList.toggle("-conversation", currentId !== null);
    list.update(conversationModels(store, people, currentId));
    pane.update(paneModel());
    onBadge(store.badge.unread);
    if (currentId && document.visibilityState === "visible" && document.hasFocus()) client.seen(currentId);
  }

  function paneModel() {
    if (!currentId) return null;
    const id = currentId;
    const summary = store.summary(id);
    const thread = store.thread(id);
    const group = summary?.type === "group";
    return {
      id,
      group,
      title: summary ? titleOf(summary, people) : "…",
      subtitle: group ? `${summary?.memberCount} members` : summary?.peer ? `@${summary.peer.username}` : "",
      request: summary?.request ?? false,
      typing: typingText(store.typing(id).map((userId) => people.name(userId))),
      loaded: thread?.loaded ?? false,
      hasEarlier: thread?.hasEarlier ?? false,
      messages: messageModels(store, outbox, people, id),
    };
  }

  attempt(client.start());
  update();

  return {
    /** @param {string | null} id */
    show(id) {
      if (currentId && currentId !== id) client.stoppedTyping(currentId);
      currentId = id;
      schedule();
      if (id) client.open(id).then(schedule, (error) => {
        onProblem(describe(error));
        if (currentId === id) location.hash = "#/chat";
      });
    },
    connected() {
      outbox.flush();
      schedule();
    },
    /** @param {{signedOut: boolean}} how */
    close({ signedOut }) {
      controller.abort();
      client.stop();
      dialog.close();
      if (signedOut) outbox.clear();
    },
  };
}
