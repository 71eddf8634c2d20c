/**
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
/**
 * As forms and query strings have it.
 * @param {unknown} value
 */
export function asText(value: unknown): string;
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
    constructor({ url, apiKey, retries, fetch }: {
        url: string;
        apiKey: string;
        retries: number;
        fetch: typeof globalThis.fetch;
    });
    url: string;
    retries: number;
    fetch: typeof fetch;
    headers: {
        Authorization: string;
    } | {
        Authorization?: undefined;
    };
    /**
     * @param {Call} call
     * @returns {Promise<Response>}  a success
     */
    send(call: Call): Promise<Response>;
    /**
     * @param {Call} call
     * @returns {Promise<any>}
     */
    json(call: Call): Promise<any>;
    #private;
}
export type Call = {
    /**
     * below /api/v1
     */
    path: string;
    method?: string | undefined;
    query?: Record<string, unknown> | undefined;
    json?: unknown;
    form?: FormData | undefined;
    /**
     * sent with an Idempotency-Key, and so may be repeated
     */
    makesJob?: boolean | undefined;
    signal?: AbortSignal | undefined;
};
