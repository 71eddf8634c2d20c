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
export function play(pcm: AsyncIterable<Uint8Array<ArrayBuffer>> & {
    sampleRate?: number | null;
}, { sampleRate, context }?: {
    sampleRate?: number;
    context?: AudioContext;
}): Playback;
/** Speech that is being heard. */
export class Playback {
    /**
     * @param {AsyncIterable<Uint8Array<ArrayBuffer>>} pcm
     * @param {number} sampleRate  hertz
     * @param {AudioContext} [context]
     */
    constructor(pcm: AsyncIterable<Uint8Array<ArrayBuffer>>, sampleRate: number, context?: AudioContext);
    /** Seconds of sound that have come so far. */
    seconds: number;
    /** Settled when all has been heard, or `stop` was called. */
    finished: Promise<void>;
    /** Silence, at once. */
    stop(): void;
    #private;
}
