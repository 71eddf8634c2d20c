/**
 * The microphone as 16-bit mono PCM, at the rate of the sound card. Iterate over it once; it ends after `stop`.
 *
 *   const microphone = await Microphone.open();
 *   for await (const pcm of microphone) …     // ArrayBuffer, a tenth of a second at microphone.sampleRate
 */
export class Microphone {
    /**
     * Asks the user where the page may not listen yet. Throws what getUserMedia throws.
     * @param {MicrophoneOptions} [options]
     * @returns {Promise<Microphone>}
     */
    static open({ constraints, stream, workletUrl }?: MicrophoneOptions): Promise<Microphone>;
    /**
     * @param {AudioContext} context
     * @param {MediaStream} stream
     */
    constructor(context: AudioContext, stream: MediaStream);
    sampleRate: number;
    /** What was heard until now still comes; then iterating ends. */
    stop(): void;
    /** @returns {AsyncGenerator<ArrayBuffer, void, void>} */
    [Symbol.asyncIterator](): AsyncGenerator<ArrayBuffer, void, void>;
    #private;
}
export type MicrophoneOptions = {
    /**
     * such as deviceId; `{echoCancellation: true}` where the page speaks meanwhile
     */
    constraints?: MediaTrackConstraints | undefined;
    /**
     * another sound than the microphone's
     */
    stream?: MediaStream | undefined;
    /**
     * of capture.worklet.js, where a bundler moved it
     */
    workletUrl?: string | URL | undefined;
};
