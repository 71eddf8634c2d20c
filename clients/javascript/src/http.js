import { ConnectionFailed, SpeechError, errorOf } from "./errors.js";

const FIRST_DELAY = 500, LONGEST_DELAY = 8000, LONGEST_RETRY_AFTER = 60; // ms, ms, s

/**
 * @typedef {object} Call
 * @property {string} path  below /api/v1
 * @property {string} [method]
 * @property {Record<string, unknown>} [query]
 * @property {unknown} [json]
 * @property {FormData} [form]
 * @property {boolean} [makesJob]  sent with an Idempotency-Key, and so may be repeated
 * @property {AbortSignal} [signal]
 */

/** Sends requests, again where that is safe. */
export class Http {
  /** @param {{url: string, apiKey: string, retries: number, fetch: typeof fetch}} options */
  constructor({ url, apiKey, retries, fetch }) {
    this.url = url.replace(/\/+$/, "");
    this.retries = retries;
    this.fetch = fetch;
    this.headers = apiKey ? { Authorization: `Bearer ${apiKey}` } : {};
  }

  /**
   * @param {Call} call
   * @returns {Promise<Response>}  a success
   */
  async send(call) {
    const request = this.#request(call);
    for (let attempt = 0; ; attempt++) {
      const outcome = await this.#attempt(call, request);
      if (outcome instanceof Response) return outcome;
      const delay = attempt < this.retries ? delayAfter(call, outcome, attempt) : null;
      if (delay === null) throw outcome;
      await sleep(delay, call.signal);
    }
  }

  /**
   * @param {Call} call
   * @returns {Promise<any>}
   */
  async json(call) {
    const response = await this.send(call);
    return response.status === 204 ? null : response.json();
  }

  /** @param {Call} call */
  #request({ method = "GET", json, form, makesJob, signal }) {
    const headers = /** @type {Record<string, string>} */ ({ ...this.headers });
    if (json !== undefined) headers["Content-Type"] = "application/json";
    if (makesJob) headers["Idempotency-Key"] = randomKey();
    return { method, headers, body: json === undefined ? form : JSON.stringify(json), signal };
  }

  /**
   * @param {Call} call
   * @param {RequestInit} request
   * @returns {Promise<Response | SpeechError | ConnectionFailed>}
   */
  async #attempt(call, request) {
    try {
      const response = await this.fetch.call(globalThis, this.#address(call), request);
      return response.ok ? response : await errorOf(response);
    } catch (error) {
      if (call.signal?.aborted) throw error;
      return new ConnectionFailed(`${this.url} cannot be reached.`, error);
    }
  }

  /** @param {Call} call */
  #address({ path, query = {} }) {
    const said = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const search = new URLSearchParams(said.map(([name, value]) => [name, asText(value)]));
    return `${this.url}/api/v1${path}${said.length ? `?${search}` : ""}`;
  }
}

/**
 * Milliseconds until the next try; null: there is none.
 * @param {Call} call
 * @param {Error} error
 * @param {number} attempt
 */
function delayAfter(call, error, attempt) {
  const backoff = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** attempt) * (0.5 + Math.random() / 2);
  if (!(error instanceof SpeechError)) return call.makesJob || (call.method ?? "GET") === "GET" ? backoff : null;
  const busy = error.status === 429 || error.status === 503 || error.code === "idempotency_in_progress";
  const after = error.retryAfter ?? 0;
  return busy && after <= LONGEST_RETRY_AFTER ? Math.max(after * 1000, backoff) : null;
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stopped = () => { clearTimeout(timer); reject(signal?.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", stopped); resolve(); }, milliseconds);
    signal?.addEventListener("abort", stopped, { once: true });
  });
}

/**
 * As forms and query strings have it.
 * @param {unknown} value
 */
export function asText(value) {
  return Array.isArray(value) ? value.join(",") : String(value);
}

/** (`crypto.randomUUID` exists on secure pages only.) */
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
