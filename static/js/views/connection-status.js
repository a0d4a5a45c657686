// @ts-check
import { setText } from "./dom.js";

/** @typedef {import("../realtime/connection.js").State} State */

/** @type {Record<State, string>} */
const TEXTS = {
  idle: "Loading…",
  connecting: "Connecting…",
  open: "Connected",
  waiting: "Connection lost. Trying again…",
  paused: "Offline",
  stopped: "Disconnected",
};

/** @param {HTMLElement} el */
export function ConnectionStatus(el) {
  return {
    /** @param {{state: State, problem: string}} model */
    update({ state, problem }) {
      el.dataset.state = state;
      setText(el, problem || TEXTS[state]);
    },
  };
}
