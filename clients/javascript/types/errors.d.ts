/**
 * From an answer that is no success; also from a proxy's, which does not know the contract.
 * @param {Response} response
 * @returns {Promise<SpeechError>}
 */
export function errorOf(response: Response): Promise<SpeechError>;
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
    constructor(body: ErrorBody, status?: number | null, retryAfter?: number | null);
    status: number | null;
    type: string;
    code: string | null;
    param: string | null;
    requestId: string | null;
    retryAfter: number | null;
}
/** There was no answer. */
export class ConnectionFailed extends Error {
    /**
     * @param {string} message
     * @param {unknown} [cause]
     */
    constructor(message: string, cause?: unknown);
}
/** A live session was closed before its end. */
export class SessionClosed extends Error {
    /**
     * @param {string} message
     * @param {number} code  of the WebSocket
     */
    constructor(message: string, code: number);
    code: number;
}
/**
 * The contract's error object.
 */
export type ErrorBody = {
    type?: string | undefined;
    code?: string | null | undefined;
    message?: string | undefined;
    param?: string | null | undefined;
    request_id?: string | undefined;
};
