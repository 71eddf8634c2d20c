const LEAD_SECONDS = 0.1;

/**
 * Plays PCM while it comes, in every browser: ask for `format: "pcm"`.
 *
 *   const playback = play(await speech.synthesize(text, { format: "pcm", sample_rate: 24000 }));
 *   button.onclick = () => playback.stop();
 *   await playback.finished;
 *
 * @param {AsyncIterable<Uint8Array<ArrayBuffer>> & {sampleRate?: number | null}} pcm  16-bit mono, as `synthesize` answers
 * @param {{sampleRate?: number, context?: AudioContext}} [options]  hertz; default: what the answer says, or 24000
 * @returns {Playback}
 */
export function play(pcm, { sampleRate, context } = {}) {
  return new Playback(pcm, sampleRate ?? pcm.sampleRate ?? 24_000, context);
}

/** Speech that is being heard. */
export class Playback {
  #context;
  #own;
  #rate;
  #at = 0;
  #stopped = false;
  /** @type {Set<AudioBufferSourceNode>} */
  #sounding = new Set();
  #silent = () => {};
  /** Seconds of sound that have come so far. */
  seconds = 0;

  /**
   * @param {AsyncIterable<Uint8Array<ArrayBuffer>>} pcm
   * @param {number} sampleRate  hertz
   * @param {AudioContext} [context]
   */
  constructor(pcm, sampleRate, context) {
    this.#own = !context;
    this.#context = context ?? new AudioContext();
    this.#rate = sampleRate;
    /** Settled when all has been heard, or `stop` was called. */
    this.finished = this.#run(pcm);
  }

  /** Silence, at once. */
  stop() {
    this.#stopped = true;
    for (const source of this.#sounding) source.stop();
  }

  /** @param {AsyncIterable<Uint8Array<ArrayBuffer>>} pcm */
  async #run(pcm) {
    try {
      await this.#context.resume();
      let odd = new Uint8Array(0); // half a sample
      for await (const chunk of pcm) {
        if (this.#stopped) break;
        const bytes = new Uint8Array(odd.length + chunk.length);
        bytes.set(odd);
        bytes.set(chunk, odd.length);
        const whole = bytes.length - (bytes.length % 2);
        odd = bytes.slice(whole);
        if (whole) this.#schedule(new DataView(bytes.buffer, 0, whole));
      }
      while (this.#sounding.size) await new Promise((silent) => { this.#silent = () => silent(null); });
    } finally {
      this.stop();
      if (this.#own) await this.#context.close();
    }
  }

  /** @param {DataView<ArrayBuffer>} samples  little-endian */
  #schedule(samples) {
    const buffer = this.#context.createBuffer(1, samples.byteLength / 2, this.#rate);
    const channel = buffer.getChannelData(0);
    for (let place = 0; place < channel.length; place++) channel[place] = samples.getInt16(place * 2, true) / 32768;
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    source.onended = () => {
      this.#sounding.delete(source);
      this.#silent();
    };
    const now = this.#context.currentTime;
    if (this.#at < now) this.#at = now + LEAD_SECONDS; // at the beginning, and where the network was slower than the voice
    source.start(this.#at);
    this.#sounding.add(source);
    this.#at += buffer.duration;
    this.seconds += buffer.duration;
  }
}
