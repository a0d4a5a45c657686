// @ts-check
import { describe } from "../errors.js";
import { find, setText } from "../views/dom.js";

/**
 * Starts a conversation: one user name makes a direct one, several make a group.
 *
 * @param {HTMLDialogElement} el the dialog of index.html
 * @param {{startDirect: (username: string) => Promise<string>, startGroup: (title: string, usernames: string[]) => Promise<string>}} chat
 * @param {(conversationId: string) => void} onStarted
 */
export function StartDialog(el, chat, onStarted) {
  const form = /** @type {HTMLFormElement} */ (find(el, "form"));
  const names = /** @type {HTMLInputElement} */ (find(el, "[name=usernames]"));
  const title = /** @type {HTMLInputElement} */ (find(el, "[name=title]"));
  const error = find(el, ".error");
  const submit = /** @type {HTMLButtonElement} */ (find(el, "button[type=submit]"));
  const controller = new AbortController();
  const { signal } = controller;

  names.addEventListener("input", update, { signal });
  find(el, ".cancel").addEventListener("click", () => el.close(), { signal });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    setText(error, "");
    try {
      const usernames = parse(names.value);
      const [first] = usernames;
      const group = usernames.length > 1;
      onStarted(await (group ? chat.startGroup(title.value.trim(), usernames) : chat.startDirect(first)));
      el.close();
    } catch (reason) {
      setText(error, describe(reason));
    } finally {
      submit.disabled = false;
    }
  }, { signal });

  function update() {
    const group = parse(names.value).length > 1;
    find(el, ".group-title").hidden = !group;
    title.required = group;
    setText(submit, group ? "Create group" : "Open conversation");
  }

  return {
    open() {
      form.reset();
      setText(error, "");
      update();
      el.showModal();
      names.focus();
    },
    close() {
      controller.abort();
      el.close();
    },
  };
}

/** User names as people write them: with blanks, commas, capitals, an at sign. @param {string} text */
export function parse(text) {
  const names = text.split(/[\s,;]+/).map((name) => name.replace(/^@/, "").toLowerCase());
  return [...new Set(names.filter(Boolean))];
}
