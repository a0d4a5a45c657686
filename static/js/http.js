// @ts-check
import { ServiceError } from "./errors.js";

/**
 * @typedef {{
 *   method?: string,
 *   body?: unknown,
 *   token?: string,
 *   idempotencyKey?: string,
 *   fetch?: typeof globalThis.fetch,
 *   timeoutMs?: number,
 *   keepalive?: boolean,
 * }} RequestOptions
 */

/**
 * One JSON request: the whole answer (`{data, pagination?, positions?}`), null for an empty one, or a ServiceError.
 *
 * @param {string} path
 * @param {RequestOptions} [options]
 * @returns {Promise<any>}
 */
export async function request(path, options = {}) {
  const { method = "GET", body, token, idempotencyKey, timeoutMs = 15_000, keepalive } = options;
  const send = options.fetch ?? globalThis.fetch;
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  let response, text;
  try {
    response = await send(path, {
      method,
      headers,
      keepalive,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await response.text();
  } catch {
    throw new ServiceError("network", "The server can't be reached.");
  }
  const answer = parse(text);
  if (!response.ok) throw ServiceError.from(answer?.error, response.status);
  return answer;
}

/** A proxy's error page is no JSON. @param {string} text */
function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
