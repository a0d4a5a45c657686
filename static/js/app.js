// @ts-check
import { Api } from "./api.js";
import { ChatApp } from "./chat/chat-app.js";
import { Connection } from "./realtime/connection.js";
import { browserPage } from "./realtime/page.js";
import { Session } from "./session.js";
import { ConnectionStatus } from "./views/connection-status.js";
import { find, setText } from "./views/dom.js";
import { SignIn } from "./views/sign-in.js";

const PROBLEM_SHOWN_MS = 6_000;

const session = new Session();
const page = browserPage();
const title = document.title;
const shell = find(document, ".app-shell");
const status = ConnectionStatus(find(shell, ".connection-status"));

/** @type {{userId: string, connection: Connection, chat: ReturnType<typeof ChatApp>} | null} */
let running = null;
let problem = "";

SignIn(find(document, ".sign-in"), session);
find(shell, ".log-out").addEventListener("click", () => session.logout());
window.addEventListener("hashchange", route);
session.watch(window);
session.onChange(update);
update();

/** Shows the side of the page that fits the session, whichever tab changed it. */
function update() {
  const { user } = session;
  if (running && running.userId !== user?.userId) leave();
  if (user && !running) enter(user);
  find(document, ".sign-in").hidden = user !== null;
  shell.hidden = user === null;
}

/** @param {import("./session.js").User} user */
function enter(user) {
  const connection = new Connection({
    url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`,
    token: (wanted) => session.token(wanted),
    page,
    onProblem: report,
    onState: (state, reason) => {
      if (state === "open") running?.chat.connected();
      if (state === "stopped" && reason === "suspended") report("This account is suspended.");
      if (state === "stopped" && reason === "login") session.logout();
      showStatus();
    },
  });
  const chat = ChatApp(find(shell, ".chat-app"), {
    user,
    api: new Api({ session }),
    connection,
    onBadge: (unread) => (document.title = unread ? `(${unread}) ${title}` : title),
    onProblem: report,
  });
  running = { userId: user.userId, connection, chat };
  setText(find(shell, ".who"), user.displayName || user.username);
  showStatus();
  route();
}

function leave() {
  const left = running;
  running = null;
  left?.chat.close({ signedOut: session.user === null });
  left?.connection.stop();
  document.title = title;
  location.hash = "";
}

/** `#/chat/{id}` is an open conversation: the back button works, and a reload comes back to it. */
function route() {
  const match = /^#\/chat\/([\w-]+)$/.exec(location.hash);
  running?.chat.show(match?.[1] ?? null);
}

/** @param {string} text */
function report(text) {
  problem = text;
  showStatus();
  setTimeout(() => {
    if (problem === text) problem = "";
    showStatus();
  }, PROBLEM_SHOWN_MS);
}

function showStatus() {
  status.update({ state: running?.connection.state ?? "idle", problem });
}
