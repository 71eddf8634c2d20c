/**
 * @typedef {import("./speech.js").Word} Word
 *
 * @typedef {object} SessionOptions  Names are the server's: see docs/live.md.
 * @property {"pcm_s16le" | "pcm_f32le" | "mulaw" | "alaw" | "opus"} [encoding]  default pcm_s16le
 * @property {number} [sample_rate]  hertz, 8000–48000; default 16000
 * @property {string} [language]
 * @property {string} [model]
 * @property {boolean} [interim_results]
 * @property {string[]} [hotwords]
 * @property {string} [prompt]
 * @property {"transcribe" | "translate"} [task]
 * @property {boolean} [itn]
 * @property {boolean} [punctuate]
 * @property {boolean} [profanity_filter]
 * @property {boolean} [redact]
 * @property {number} [silence_seconds]
 * @property {number} [max_utterance_seconds]
 * @property {number} [utterance_end_seconds]
 * @property {boolean} [keep_audio]
 *
 * @typedef {{type: "ready", session_id: string, model: string, language: string, encoding: string, sample_rate: number}} Ready
 * @typedef {{type: "speech_started", segment: number, start: number}} SpeechStarted
 * @typedef {{type: "partial", segment: number, text: string, stable: string, start: number, end: number}} Partial
 * @typedef {{type: "final", segment: number, text: string, start: number, end: number, confidence: number, words: Word[]}} Final
 * @typedef {{type: "utterance_end", last_word_end: number}} UtteranceEnd
 * @typedef {{type: "finalized", at: number}} Finalized
 * @typedef {{type: "usage", audio_seconds: number}} Billed
 * @typedef {{type: "closed", reason: string}} Closed
 * @typedef {Ready | SpeechStarted | Partial | Final | UtteranceEnd | Finalized | Billed | Closed} LiveEvent
 */
/**
 * Opens a live session.
 *
 *   const session = await connect(token.websocket_url, { sample_rate: 16000 });
 *   session.send(pcm); …; session.stop();
 *   for await (const event of session) if (event.type === "final") console.log(event.text);
 *
 * @param {string | URL} url  `websocket_url` of a client token
 * @param {SessionOptions} [options]
 * @param {typeof WebSocket} [WebSocketClass]  for Node before 22, which has none
 * @returns {Promise<LiveSession>}
 */
export function connect(url: string | URL, options?: SessionOptions, WebSocketClass?: typeof WebSocket): Promise<LiveSession>;
/** Words while they are being spoken. Iterate over it once; made by `connect`. */
export class LiveSession {
    /** @param {WebSocket} socket */
    constructor(socket: WebSocket);
    /** @type {Ready | null} */
    ready: Ready | null;
    /** The id of the job that the session is. */
    get sessionId(): string | null;
    /** @param {SessionOptions} options */
    begin(options: SessionOptions): Promise<void>;
    /**
     * Some sound, of any length.
     * @param {ArrayBuffer | ArrayBufferView<ArrayBuffer>} audio
     */
    send(audio: ArrayBuffer | ArrayBufferView<ArrayBuffer>): void;
    /**
     * Sends all of it as fast as the server takes it, then stops.
     * @param {AsyncIterable<ArrayBuffer | ArrayBufferView<ArrayBuffer>> | Iterable<ArrayBuffer | ArrayBufferView<ArrayBuffer>>} audio
     */
    feed(audio: AsyncIterable<ArrayBuffer | ArrayBufferView<ArrayBuffer>> | Iterable<ArrayBuffer | ArrayBufferView<ArrayBuffer>>): Promise<void>;
    /** Bytes that have not left this machine yet. */
    get bufferedAmount(): number;
    /** Ends the segment now. */
    finalize(): void;
    /** A sign of life while there is nothing to hear. */
    keepalive(): void;
    /** The rest is heard, then iterating ends. */
    stop(): void;
    /** Leaves at once; what was not heard yet is lost. */
    close(): void;
    /** @returns {AsyncGenerator<LiveEvent, void, void>}  Throws SpeechError, SessionClosed, ConnectionFailed. */
    [Symbol.asyncIterator](): AsyncGenerator<LiveEvent, void, void>;
    #private;
}
export type Word = import("./speech.js").Word;
/**
 * Names are the server's: see docs/live.md.
 */
export type SessionOptions = {
    /**
     * default pcm_s16le
     */
    encoding?: "opus" | "mulaw" | "alaw" | "pcm_s16le" | "pcm_f32le" | undefined;
    /**
     * hertz, 8000–48000; default 16000
     */
    sample_rate?: number | undefined;
    language?: string | undefined;
    model?: string | undefined;
    interim_results?: boolean | undefined;
    hotwords?: string[] | undefined;
    prompt?: string | undefined;
    task?: "translate" | "transcribe" | undefined;
    itn?: boolean | undefined;
    punctuate?: boolean | undefined;
    profanity_filter?: boolean | undefined;
    redact?: boolean | undefined;
    silence_seconds?: number | undefined;
    max_utterance_seconds?: number | undefined;
    utterance_end_seconds?: number | undefined;
    keep_audio?: boolean | undefined;
};
export type Ready = {
    type: "ready";
    session_id: string;
    model: string;
    language: string;
    encoding: string;
    sample_rate: number;
};
export type SpeechStarted = {
    type: "speech_started";
    segment: number;
    start: number;
};
export type Partial = {
    type: "partial";
    segment: number;
    text: string;
    stable: string;
    start: number;
    end: number;
};
export type Final = {
    type: "final";
    segment: number;
    text: string;
    start: number;
    end: number;
    confidence: number;
    words: Word[];
};
export type UtteranceEnd = {
    type: "utterance_end";
    last_word_end: number;
};
export type Finalized = {
    type: "finalized";
    at: number;
};
export type Billed = {
    type: "usage";
    audio_seconds: number;
};
export type Closed = {
    type: "closed";
    reason: string;
};
export type LiveEvent = Ready | SpeechStarted | Partial | Final | UtteranceEnd | Finalized | Billed | Closed;
