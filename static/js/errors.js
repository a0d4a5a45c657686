// @ts-check

/** @typedef {{field?: string, message: string}} ErrorDetail */

/** Codes after which the same request may succeed later, unchanged. */
const PASSING = new Set(["network", "timeout", "closed", "unavailable", "rate_limited", "internal"]);

/** What a server, or the way to it, gave instead of a result. */
export class ServiceError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{status?: number, details?: ErrorDetail[]}} [more]
   */
  constructor(code, message, { status = 0, details = [] } = {}) {
    super(message);
    this.name = "ServiceError";
    this.code = code;
    this.status = status;
    this.details = details;
  }

  get retryable() {
    return PASSING.has(this.code) || this.status === 429 || this.status >= 500;
  }

  /**
   * @param {{code?: string, message?: string, details?: ErrorDetail[]} | undefined} body
   * @param {number} [status]
   */
  static from(body, status = 0) {
    const code = body?.code ?? (status >= 500 ? "unavailable" : "unknown");
    return new ServiceError(code, body?.message ?? "The server gave no reason.", { status, details: body?.details });
  }
}

/** @param {unknown} error */
export function isRetryable(error) {
  return error instanceof ServiceError && error.retryable;
}

/** The server knows the session and will not have it: trying again changes nothing. @param {unknown} error */
export function isRefusal(error) {
  return error instanceof ServiceError && error.status >= 400 && error.status < 500 && ![408, 409, 429].includes(error.status);
}

/** A sentence for people, field messages included. @param {unknown} error */
export function describe(error) {
  if (!(error instanceof ServiceError)) return "Something went wrong.";
  const fields = error.details.map((d) => (d.field ? `${d.field}: ${d.message}` : d.message));
  return fields.length ? fields.join(" · ") : error.message;
}
