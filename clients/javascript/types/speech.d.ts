/** The platform. */
export class Speech {
    /** @param {SpeechOptions} [options] */
    constructor({ url, apiKey, retries, fetch }?: SpeechOptions);
    /** Of the server. */
    get url(): string;
    /**
     * Audio while it is made.
     * @param {string} text
     * @param {SynthesisOptions} [options]
     * @returns {Promise<SpeechStream>}
     */
    synthesize(text: string, { signal, ...options }?: SynthesisOptions): Promise<SpeechStream>;
    /**
     * What is said in a recording, of any container and codec.
     * @param {Blob | ArrayBuffer | Uint8Array<ArrayBuffer>} audio
     * @param {TranscriptionOptions} [options]
     * @returns {Promise<Transcription>}
     */
    transcribe(audio: Blob | ArrayBuffer | Uint8Array<ArrayBuffer>, { filename, language, queued, signal, ...options }?: TranscriptionOptions): Promise<Transcription>;
    /**
     * A job as it is now.
     * @param {"stt" | "tts"} task
     * @param {string} jobId
     * @returns {Promise<Job>}
     */
    job(task: "stt" | "tts", jobId: string): Promise<Job>;
    /**
     * The job once it has ended, however it did.
     * @param {"stt" | "tts"} task
     * @param {string} jobId
     * @param {{onProgress?: (job: Job) => void, signal?: AbortSignal}} [options]
     * @returns {Promise<Job>}
     */
    wait(task: "stt" | "tts", jobId: string, { onProgress, signal }?: {
        onProgress?: (job: Job) => void;
        signal?: AbortSignal;
    }): Promise<Job>;
    /**
     * Cancels a job that runs; deletes one that has ended.
     * @param {"stt" | "tts"} task
     * @param {string} jobId
     * @returns {Promise<void>}
     */
    cancel(task: "stt" | "tts", jobId: string): Promise<void>;
    /**
     * A transcription as text or subtitles.
     * @param {string} jobId
     * @param {"txt" | "srt" | "vtt"} format
     * @returns {Promise<string>}
     */
    export(jobId: string, format: "txt" | "srt" | "vtt"): Promise<string>;
    /**
     * Who can speak.
     * @param {{language?: string}} [filter]
     * @returns {Promise<Voice[]>}
     */
    voices({ language }?: {
        language?: string;
    }): Promise<Voice[]>;
    /**
     * What a page needs for one live session. Call it on your server, and give the answer to the page.
     * @param {{expiresIn?: number, allowedOrigins?: string[]}} [options]  seconds; pages that may use it (none: any)
     * @returns {Promise<ClientToken>}
     */
    clientToken({ expiresIn, allowedOrigins }?: {
        expiresIn?: number;
        allowedOrigins?: string[];
    }): Promise<ClientToken>;
    #private;
}
/** Audio while it is made: `for await (const chunk of stream)`, or all of it with `arrayBuffer` or `blob`. */
export class SpeechStream {
    /** @param {Response} response */
    constructor(response: Response);
    response: Response;
    jobId: string | null;
    contentType: string;
    /** Hertz; null where a page of another origin may not see the header. */
    sampleRate: number | null;
    /** @returns {Promise<ArrayBuffer>} */
    arrayBuffer(): Promise<ArrayBuffer>;
    /** @returns {Promise<Blob>} */
    blob(): Promise<Blob>;
    /** @returns {AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>}  (Safari's streams cannot be iterated themselves.) */
    [Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>;
}
export type Format = "wav" | "mp3" | "opus" | "aac" | "flac" | "pcm" | "mulaw" | "alaw" | "wav_mulaw" | "wav_alaw";
/**
 * Names are the server's: see POST /tts/synthesize.
 */
export type SynthesisOptions = {
    voice?: string | undefined;
    /**
     * BCP-47
     */
    language?: string | undefined;
    model?: string | undefined;
    /**
     * default wav
     */
    format?: Format | undefined;
    /**
     * hertz
     */
    sample_rate?: number | undefined;
    /**
     * 0.25–4
     */
    speed?: number | undefined;
    /**
     * semitones
     */
    pitch?: number | undefined;
    /**
     * 0–2
     */
    volume?: number | undefined;
    ssml?: boolean | undefined;
    /**
     * leaving early cancels the job
     */
    signal?: AbortSignal | undefined;
};
/**
 * Names are the server's: see POST /stt/transcribe.
 */
export type TranscriptionOptions = {
    filename?: string | undefined;
    /**
     * BCP-47 or ISO 639-1
     */
    language?: string | undefined;
    model?: string | undefined;
    prompt?: string | undefined;
    hotwords?: string[] | undefined;
    word_timestamps?: boolean | undefined;
    diarize?: boolean | undefined;
    speakers?: number | undefined;
    channels?: "mix" | "separate" | undefined;
    task?: "translate" | "transcribe" | undefined;
    itn?: boolean | undefined;
    punctuate?: boolean | undefined;
    profanity_filter?: boolean | undefined;
    redact?: boolean | undefined;
    /**
     * the job is only begun: see `wait`
     */
    queued?: boolean | undefined;
    signal?: AbortSignal | undefined;
};
export type Word = {
    word: string;
    /**
     * seconds
     */
    start: number;
    end: number;
    confidence: number;
};
export type Segment = {
    /**
     * seconds
     */
    start: number;
    end: number;
    text: string;
    confidence: number;
    speaker?: string | undefined;
    words?: Word[] | undefined;
};
/**
 * As the server tells it, with more fields than these.
 */
export type Job = {
    job_id: string;
    status: "queued" | "processing" | "succeeded" | "failed" | "cancelled";
    /**
     * 0–1
     */
    progress: number;
    stage: string;
    text: string | null;
    language: string | null;
    duration_seconds: number | null;
    /**
     * signed, expires
     */
    audio_url: string | null;
    error: {
        code: string;
        message: string;
    } | null;
};
export type Transcription = Job & {
    timestamps: Segment[] | null;
    confidence: number | null;
    model_used: string | null;
};
export type Voice = {
    id: string;
    name: string;
    language: string;
    gender: string | null;
    engine: string;
    model: string;
};
export type ClientToken = {
    session_id: string;
    websocket_url: string;
    client_token: string;
    expires_at: string;
};
export type SpeechOptions = {
    /**
     * of the server; in Node default SPEECH_URL, in a page its own origin
     */
    url?: string | undefined;
    /**
     * or a member's access token; in Node default SPEECH_API_KEY
     */
    apiKey?: string | undefined;
    /**
     * after 429, 503 and broken connections, where that is safe; default 2
     */
    retries?: number | undefined;
    fetch?: typeof fetch | undefined;
};
