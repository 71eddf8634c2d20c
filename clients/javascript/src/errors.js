/**
 * @typedef {object} ErrorBody  The contract's error object.
 * @property {string} [type]
 * @property {string | null} [code]
 * @property {string} [message]
 * @property {string | null} [param]
 * @property {string} [request_id]
 */

/** What the server answers where it refuses or fails. `type`, `code`, `param` and `requestId` are the contract's. */
export class SpeechError extends Error {
  /**
   * @param {ErrorBody} body
   * @param {number | null} status  of the answer; null for an error of a live session
   * @param {number | null} retryAfter  seconds
   */
  constructor(body, status = null, retryAfter = null) {
    super(body.message ?? `The server answered ${status}.`);
    this.name = "SpeechError";
    this.status = status;
    this.type = body.type ?? "server_error";
    this.code = body.code ?? null;
    this.param = body.param ?? null;
    this.requestId = body.request_id ?? null;
    this.retryAfter = retryAfter;
  }
}

/** There was no answer. */
export class ConnectionFailed extends Error {
  /**
   * @param {string} message
   * @param {unknown} [cause]
   */
  constructor(message, cause) {
    super(message, { cause });
    this.name = "ConnectionFailed";
  }
}

/** A live session was closed before its end. */
export class SessionClosed extends Error {
  /**
   * @param {string} message
   * @param {number} code  of the WebSocket
   */
  constructor(message, code) {
    super(message);
    this.name = "SessionClosed";
    this.code = code;
  }
}

/**
 * From an answer that is no success; also from a proxy's, which does not know the contract.
 * @param {Response} response
 * @returns {Promise<SpeechError>}
 */
export async function errorOf(response) {
  const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const retryAfter = Number.isNaN(after) ? null : Math.max(0, after);
  const body = await response.json().catch(() => null);
  const known = body && typeof body.error === "object" ? body.error : { request_id: response.headers.get("X-Request-ID") };
  return new SpeechError(known, response.status, retryAfter);
}
