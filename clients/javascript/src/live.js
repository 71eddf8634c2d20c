import { ConnectionFailed, SessionClosed, SpeechError } from "./errors.js";

const OPEN_MILLISECONDS = 20_000;
const LARGEST_MESSAGE = 64 * 1024;
const MOST_BUFFERED = 256 * 1024;

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
export async function connect(url, options = {}, WebSocketClass = globalThis.WebSocket) {
  if (!WebSocketClass) throw new TypeError("There is no WebSocket here: use Node 22, or node --experimental-websocket.");
  const session = new LiveSession(new WebSocketClass(url));
  await session.begin(options);
  return session;
}

/** Words while they are being spoken. Iterate over it once; made by `connect`. */
export class LiveSession {
  #socket;
  /** @type {LiveEvent[]} */
  #events = [];
  /** @type {Error | null} */
  #failure = null;
  #over = false;
  #stopped = false;
  #wake = () => {};
  /** @type {Ready | null} */
  ready = null;

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#received(JSON.parse(data)));
    socket.addEventListener("close", ({ code, reason }) => this.#closed(code, reason));
  }

  /** The id of the job that the session is. */
  get sessionId() {
    return this.ready?.session_id ?? null;
  }

  /** @param {SessionOptions} options */
  async begin(options) {
    const late = setTimeout(() => this.#end(new ConnectionFailed("The server did not answer in time.")), OPEN_MILLISECONDS);
    this.#socket.addEventListener("open", () => this.#command({ type: "start", ...options }));
    try {
      const first = await this.#next();
      if (first?.type !== "ready") throw new SessionClosed("The server did not begin the session.", 1000);
      this.ready = first;
    } catch (error) {
      this.close();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  /**
   * Some sound, of any length.
   * @param {ArrayBuffer | ArrayBufferView<ArrayBuffer>} audio
   */
  send(audio) {
    const bytes = ArrayBuffer.isView(audio)
      ? new Uint8Array(audio.buffer, audio.byteOffset, audio.byteLength) : new Uint8Array(audio);
    if (this.#socket.readyState !== 1 || this.#stopped) return; // whoever reads the events is told why
    for (let start = 0; start < bytes.length; start += LARGEST_MESSAGE) {
      this.#socket.send(bytes.subarray(start, start + LARGEST_MESSAGE));
    }
  }

  /**
   * Sends all of it as fast as the server takes it, then stops.
   * @param {AsyncIterable<ArrayBuffer | ArrayBufferView<ArrayBuffer>> | Iterable<ArrayBuffer | ArrayBufferView<ArrayBuffer>>} audio
   */
  async feed(audio) {
    for await (const chunk of audio) {
      this.send(chunk);
      while (this.#socket.bufferedAmount > MOST_BUFFERED && !this.#over) await new Promise((wake) => setTimeout(wake, 20));
    }
    this.stop();
  }

  /** Bytes that have not left this machine yet. */
  get bufferedAmount() {
    return this.#socket.bufferedAmount;
  }

  /** Ends the segment now. */
  finalize() {
    this.#command({ type: "finalize" });
  }

  /** A sign of life while there is nothing to hear. */
  keepalive() {
    this.#command({ type: "keepalive" });
  }

  /** The rest is heard, then iterating ends. */
  stop() {
    if (!this.#stopped) this.#command({ type: "stop" });
    this.#stopped = true;
  }

  /** Leaves at once; what was not heard yet is lost. */
  close() {
    this.#socket.close();
  }

  /** @returns {AsyncGenerator<LiveEvent, void, void>}  Throws SpeechError, SessionClosed, ConnectionFailed. */
  async *[Symbol.asyncIterator]() {
    try {
      for (let event = await this.#next(); event; event = await this.#next()) yield event;
    } finally {
      this.close();
    }
  }

  async #next() {
    while (!this.#events.length && !this.#over) await new Promise((wake) => { this.#wake = () => wake(null); });
    const event = this.#events.shift();
    if (!event && this.#failure) throw this.#failure;
    return event ?? null;
  }

  /** @param {any} message */
  #received(message) {
    if (message.type === "error") {
      this.#failure ??= new SpeechError(message.error);
      return;
    }
    this.#events.push(message);
    this.#wake();
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    if (code === 1000) this.#end(null);
    else if (!this.ready && code === 1006) this.#end(new ConnectionFailed("The live session could not be opened."));
    else this.#end(new SessionClosed(reason || "The connection broke off.", code));
  }

  /** @param {Error | null} failure */
  #end(failure) {
    this.#failure ??= failure;
    this.#over = true;
    this.#wake();
  }

  /** @param {object} message */
  #command(message) {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }
}
