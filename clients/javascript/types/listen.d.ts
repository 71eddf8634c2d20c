/**
 * @typedef {import("./live.js").LiveEvent} LiveEvent
 * @typedef {import("./live.js").SessionOptions} SessionOptions
 * @typedef {import("./microphone.js").MicrophoneOptions} MicrophoneOptions
 */
/**
 * The microphone, written down.
 *
 *   const listening = await listen(token.websocket_url, { language: "en" });
 *   button.onclick = () => listening.stop();
 *   for await (const event of listening) …
 *
 * @param {string | URL} url  `websocket_url` of a client token
 * @param {SessionOptions} [options]  the encoding and the rate are the microphone's
 * @param {MicrophoneOptions} [microphoneOptions]
 * @returns {Promise<Listening>}
 */
export function listen(url: string | URL, options?: SessionOptions, microphoneOptions?: MicrophoneOptions): Promise<Listening>;
/** A microphone and its live session. */
export class Listening {
    /**
     * @param {Microphone} microphone
     * @param {import("./live.js").LiveSession} session
     */
    constructor(microphone: Microphone, session: import("./live.js").LiveSession);
    microphone: Microphone;
    session: import("./live.js").LiveSession;
    fed: Promise<void>;
    /** The microphone is off; the rest is heard, then iterating ends. */
    stop(): void;
    /** @returns {AsyncGenerator<LiveEvent, void, void>}  Throws SpeechError, SessionClosed. */
    [Symbol.asyncIterator](): AsyncGenerator<LiveEvent, void, void>;
}
export type LiveEvent = import("./live.js").LiveEvent;
export type SessionOptions = import("./live.js").SessionOptions;
export type MicrophoneOptions = import("./microphone.js").MicrophoneOptions;
import { Microphone } from "./microphone.js";
