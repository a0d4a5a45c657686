// @ts-check
import { path } from "../api.js";
import { older } from "../realtime/position.js";

/**
 * @typedef {import("../api.js").Api} Api
 * @typedef {import("./types.js").Message} Message
 * @typedef {import("./types.js").Summary} Summary
 */

const PAGE = 50;
const FILL_PAGE = 100;
const LIST_PAGES = 10;

/** Both boxes, with the position to follow from. @param {Api} api @param {string} me */
export async function readLists(api, me) {
  const [inbox, requests] = await Promise.all([
    readBox(api, me, "/api/chat/conversations?limit=100"),
    readBox(api, me, "/api/chat/conversations?limit=100&box=requests"),
  ]);
  const summaries = [...inbox.summaries, ...requests.summaries];
  return { summaries, position: older(inbox.position, requests.position) };
}

/** @param {Api} api @param {string} me @param {string} url */
async function readBox(api, me, url) {
  let answer = await api.get(url);
  const position = answer.positions?.[`user:${me}`];
  /** @type {Summary[]} */
  const summaries = [...answer.data];
  for (let page = 1; page < LIST_PAGES && answer.pagination?.nextCursor; page++) {
    answer = await api.get(`${url}&cursor=${encodeURIComponent(answer.pagination.nextCursor)}`);
    summaries.push(...answer.data);
  }
  return { position, summaries };
}

/** A conversation and its newest messages, with the position to follow from. @param {Api} api @param {string} id */
export async function readConversation(api, id) {
  const [summary, page] = await Promise.all([
    api.get(path`/api/chat/conversations/${id}`),
    api.get(path`/api/chat/conversations/${id}/messages?limit=${PAGE}`),
  ]);
  const topic = `conv:${id}`;
  return {
    summary: /** @type {Summary} */ (summary.data),
    messages: /** @type {Message[]} */ (page.data),
    lastSeq: /** @type {number} */ (page.lastSeq),
    position: older(summary.positions?.[topic], page.positions?.[topic]),
  };
}

/** The page below a message. @param {Api} api @param {string} id @param {number} before @returns {Promise<Message[]>} */
export async function readBefore(api, id, before) {
  return (await api.get(path`/api/chat/conversations/${id}/messages?before=${before}&limit=${PAGE}`)).data;
}

/**
 * What lies between two messages, or its beginning, and up to which number that is certain.
 *
 * @param {Api} api
 * @param {string} id
 * @param {{after: number, before: number}} gap
 */
export async function readGap(api, id, { after, before }) {
  const page = await api.get(path`/api/chat/conversations/${id}/messages?after=${after}&limit=${FILL_PAGE}`);
  const messages = /** @type {Message[]} */ (page.data);
  return { messages, through: page.pagination?.nextCursor ? (messages.at(-1)?.seq ?? before - 1) : before - 1 };
}
