// @ts-check
import { describe } from "../errors.js";
import { find, setText } from "./dom.js";

/**
 * The form of index.html, for both signing in and registering.
 *
 * @param {HTMLElement} el
 * @param {import("../session.js").Session} session
 */
export function SignIn(el, session) {
  const form = /** @type {HTMLFormElement} */ (find(el, "form"));
  const error = find(el, ".error");
  const submit = /** @type {HTMLButtonElement} */ (find(el, "button[type=submit]"));
  const password = /** @type {HTMLInputElement} */ (find(el, "[name=password]"));

  find(el, ".switch").addEventListener("change", update);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    setText(error, "");
    try {
      await send(new FormData(form));
      form.reset();
    } catch (reason) {
      setText(error, describe(reason));
    } finally {
      submit.disabled = false;
      update();
    }
  });

  /** @param {FormData} data */
  function send(data) {
    const text = (/** @type {string} */ name) => String(data.get(name) ?? "").trim();
    const secret = String(data.get("password") ?? "");
    if (text("mode") === "login") return session.login({ login: text("login"), password: secret });
    const displayName = text("displayName") || undefined;
    return session.register({ username: text("username"), email: text("email"), password: secret, displayName });
  }

  function update() {
    const mode = String(new FormData(form).get("mode"));
    for (const group of /** @type {NodeListOf<HTMLFieldSetElement>} */ (el.querySelectorAll("fieldset[data-mode]"))) {
      group.hidden = group.disabled = group.dataset.mode !== mode;
    }
    password.autocomplete = mode === "login" ? "current-password" : "new-password";
    password.minLength = mode === "login" ? 1 : 10;
    setText(submit, mode === "login" ? "Log in" : "Create account");
    setText(error, "");
  }

  update();
}
