/**
 * @typedef {object} MicrophoneOptions
 * @property {MediaTrackConstraints} [constraints]  such as deviceId; `{echoCancellation: true}` where the page speaks meanwhile
 * @property {MediaStream} [stream]  another sound than the microphone's
 * @property {string | URL} [workletUrl]  of capture.worklet.js, where a bundler moved it
 */

const MOST_RATE = 48_000; // hertz, that the server takes
// As it is: what browsers do to voices for people's ears costs words. The server has a front end of its own.
const UNTOUCHED = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/**
 * The microphone as 16-bit mono PCM, at the rate of the sound card. Iterate over it once; it ends after `stop`.
 *
 *   const microphone = await Microphone.open();
 *   for await (const pcm of microphone) …     // ArrayBuffer, a tenth of a second at microphone.sampleRate
 */
export class Microphone {
  #context;
  #stream;
  #node;
  /** @type {(ArrayBuffer | null)[]} */
  #chunks = [];
  #wake = () => {};

  /**
   * Asks the user where the page may not listen yet. Throws what getUserMedia throws.
   * @param {MicrophoneOptions} [options]
   * @returns {Promise<Microphone>}
   */
  static async open({ constraints = {}, stream, workletUrl = new URL("./capture.worklet.js", import.meta.url) } = {}) {
    const sound = stream ?? (await navigator.mediaDevices.getUserMedia({ audio: { ...UNTOUCHED, ...constraints } }));
    let context = new AudioContext();
    if (context.sampleRate > MOST_RATE) {
      await context.close();
      context = new AudioContext({ sampleRate: MOST_RATE });
    }
    try {
      await context.audioWorklet.addModule(workletUrl);
      await context.resume();
      return new Microphone(context, sound);
    } catch (error) {
      for (const track of sound.getTracks()) track.stop();
      await context.close();
      throw error;
    }
  }

  /**
   * @param {AudioContext} context
   * @param {MediaStream} stream
   */
  constructor(context, stream) {
    this.#context = context;
    this.#stream = stream;
    this.sampleRate = context.sampleRate;
    this.#node = new AudioWorkletNode(context, "speech-capture", {
      numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit",
    });
    this.#node.port.onmessage = ({ data }) => this.#push(data);
    context.createMediaStreamSource(stream).connect(this.#node);
    for (const track of stream.getAudioTracks()) track.addEventListener("ended", () => this.stop());
  }

  /** What was heard until now still comes; then iterating ends. */
  stop() {
    this.#node.port.postMessage("stop");
    for (const track of this.#stream.getTracks()) track.stop();
  }

  /** @returns {AsyncGenerator<ArrayBuffer, void, void>} */
  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        while (!this.#chunks.length) await new Promise((wake) => { this.#wake = () => wake(null); });
        const chunk = this.#chunks.shift();
        if (!chunk) return;
        yield chunk;
      }
    } finally {
      for (const track of this.#stream.getTracks()) track.stop();
      if (this.#context.state !== "closed") await this.#context.close();
    }
  }

  /** @param {ArrayBuffer | null} chunk */
  #push(chunk) {
    this.#chunks.push(chunk);
    this.#wake();
  }
}
