import { connect } from "./live.js";
import { Microphone } from "./microphone.js";

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
export async function listen(url, options = {}, microphoneOptions = {}) {
  const microphone = await Microphone.open(microphoneOptions);
  try {
    const sound = /** @type {const} */ ({ encoding: "pcm_s16le", sample_rate: microphone.sampleRate });
    return new Listening(microphone, await connect(url, { ...options, ...sound }));
  } catch (error) {
    microphone.stop();
    for await (const _ of microphone); // frees the sound card
    throw error;
  }
}

/** A microphone and its live session. */
export class Listening {
  /**
   * @param {Microphone} microphone
   * @param {import("./live.js").LiveSession} session
   */
  constructor(microphone, session) {
    this.microphone = microphone;
    this.session = session;
    this.fed = session.feed(microphone);
  }

  /** The microphone is off; the rest is heard, then iterating ends. */
  stop() {
    this.microphone.stop();
  }

  /** @returns {AsyncGenerator<LiveEvent, void, void>}  Throws SpeechError, SessionClosed. */
  async *[Symbol.asyncIterator]() {
    try {
      yield* this.session;
    } finally {
      this.microphone.stop();
      await this.fed;
    }
  }
}
