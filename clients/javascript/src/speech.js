import { Http, asText, sleep } from "./http.js";

/**
 * @typedef {"wav" | "mp3" | "opus" | "aac" | "flac" | "pcm" | "mulaw" | "alaw" | "wav_mulaw" | "wav_alaw"} Format
 *
 * @typedef {object} SynthesisOptions  Names are the server's: see POST /tts/synthesize.
 * @property {string} [voice]
 * @property {string} [language]  BCP-47
 * @property {string} [model]
 * @property {Format} [format]  default wav
 * @property {number} [sample_rate]  hertz
 * @property {number} [speed]  0.25–4
 * @property {number} [pitch]  semitones
 * @property {number} [volume]  0–2
 * @property {boolean} [ssml]
 * @property {AbortSignal} [signal]  leaving early cancels the job
 *
 * @typedef {object} TranscriptionOptions  Names are the server's: see POST /stt/transcribe.
 * @property {string} [filename]
 * @property {string} [language]  BCP-47 or ISO 639-1
 * @property {string} [model]
 * @property {string} [prompt]
 * @property {string[]} [hotwords]
 * @property {boolean} [word_timestamps]
 * @property {boolean} [diarize]
 * @property {number} [speakers]
 * @property {"mix" | "separate"} [channels]
 * @property {"transcribe" | "translate"} [task]
 * @property {boolean} [itn]
 * @property {boolean} [punctuate]
 * @property {boolean} [profanity_filter]
 * @property {boolean} [redact]
 * @property {boolean} [queued]  the job is only begun: see `wait`
 * @property {AbortSignal} [signal]
 *
 * @typedef {object} Word
 * @property {string} word
 * @property {number} start  seconds
 * @property {number} end
 * @property {number} confidence
 *
 * @typedef {object} Segment
 * @property {number} start  seconds
 * @property {number} end
 * @property {string} text
 * @property {number} confidence
 * @property {string} [speaker]
 * @property {Word[]} [words]
 *
 * @typedef {object} Job  As the server tells it, with more fields than these.
 * @property {string} job_id
 * @property {"queued" | "processing" | "succeeded" | "failed" | "cancelled"} status
 * @property {number} progress  0–1
 * @property {string} stage
 * @property {string | null} text
 * @property {string | null} language
 * @property {number | null} duration_seconds
 * @property {string | null} audio_url  signed, expires
 * @property {{code: string, message: string} | null} error
 *
 * @typedef {Job & {timestamps: Segment[] | null, confidence: number | null, model_used: string | null}} Transcription
 *
 * @typedef {object} Voice
 * @property {string} id
 * @property {string} name
 * @property {string} language
 * @property {string | null} gender
 * @property {string} engine
 * @property {string} model
 *
 * @typedef {object} ClientToken
 * @property {string} session_id
 * @property {string} websocket_url
 * @property {string} client_token
 * @property {string} expires_at
 *
 * @typedef {object} SpeechOptions
 * @property {string} [url]  of the server; in Node default SPEECH_URL, in a page its own origin
 * @property {string} [apiKey]  or a member's access token; in Node default SPEECH_API_KEY
 * @property {number} [retries]  after 429, 503 and broken connections, where that is safe; default 2
 * @property {typeof fetch} [fetch]
 */

const ENDED = ["succeeded", "failed", "cancelled"];
const environment = /** @type {any} */ (globalThis).process?.env ?? {};

/** The platform. */
export class Speech {
  #http;

  /** @param {SpeechOptions} [options] */
  constructor({ url, apiKey, retries = 2, fetch = globalThis.fetch } = {}) {
    const here = globalThis.location?.origin ?? "http://localhost:8000";
    this.#http = new Http({
      url: url ?? environment.SPEECH_URL ?? here, apiKey: apiKey ?? environment.SPEECH_API_KEY ?? "", retries, fetch,
    });
  }

  /** Of the server. */
  get url() {
    return this.#http.url;
  }

  /**
   * Audio while it is made.
   * @param {string} text
   * @param {SynthesisOptions} [options]
   * @returns {Promise<SpeechStream>}
   */
  async synthesize(text, { signal, ...options } = {}) {
    const json = { ...options, text, stream: true };
    return new SpeechStream(await this.#http.send({ path: "/tts/synthesize", method: "POST", json, makesJob: true, signal }));
  }

  /**
   * What is said in a recording, of any container and codec.
   * @param {Blob | ArrayBuffer | Uint8Array<ArrayBuffer>} audio
   * @param {TranscriptionOptions} [options]
   * @returns {Promise<Transcription>}
   */
  async transcribe(audio, { filename, language, queued, signal, ...options } = {}) {
    const form = new FormData();
    const blob = audio instanceof Blob ? audio : new Blob([audio]);
    form.append("audio_file", blob, filename ?? (/** @type {File} */ (blob).name || "audio"));
    for (const [name, value] of Object.entries({ ...options, language_hint: language, async: queued })) {
      if (value !== undefined) form.append(name, asText(value));
    }
    return this.#http.json({ path: "/stt/transcribe", method: "POST", form, makesJob: true, signal });
  }

  /**
   * A job as it is now.
   * @param {"stt" | "tts"} task
   * @param {string} jobId
   * @returns {Promise<Job>}
   */
  job(task, jobId) {
    return this.#http.json({ path: `/${task}/jobs/${encodeURIComponent(jobId)}` });
  }

  /**
   * The job once it has ended, however it did.
   * @param {"stt" | "tts"} task
   * @param {string} jobId
   * @param {{onProgress?: (job: Job) => void, signal?: AbortSignal}} [options]
   * @returns {Promise<Job>}
   */
  async wait(task, jobId, { onProgress, signal } = {}) {
    for (let delay = 250; ; delay = Math.min(delay * 1.5, 5000)) {
      const job = await this.job(task, jobId);
      onProgress?.(job);
      if (ENDED.includes(job.status)) return job;
      await sleep(delay, signal);
    }
  }

  /**
   * Cancels a job that runs; deletes one that has ended.
   * @param {"stt" | "tts"} task
   * @param {string} jobId
   * @returns {Promise<void>}
   */
  cancel(task, jobId) {
    return this.#http.json({ path: `/${task}/jobs/${encodeURIComponent(jobId)}`, method: "DELETE" });
  }

  /**
   * A transcription as text or subtitles.
   * @param {string} jobId
   * @param {"txt" | "srt" | "vtt"} format
   * @returns {Promise<string>}
   */
  async export(jobId, format) {
    return (await this.#http.send({ path: `/stt/jobs/${encodeURIComponent(jobId)}`, query: { format } })).text();
  }

  /**
   * Who can speak.
   * @param {{language?: string}} [filter]
   * @returns {Promise<Voice[]>}
   */
  async voices({ language } = {}) {
    return (await this.#http.json({ path: "/tts/voices", query: { language } })).voices;
  }

  /**
   * What a page needs for one live session. Call it on your server, and give the answer to the page.
   * @param {{expiresIn?: number, allowedOrigins?: string[]}} [options]  seconds; pages that may use it (none: any)
   * @returns {Promise<ClientToken>}
   */
  clientToken({ expiresIn = 60, allowedOrigins = [] } = {}) {
    const json = { expires_in: expiresIn, allowed_origins: allowedOrigins };
    return this.#http.json({ path: "/stt/transcribe-realtime", method: "POST", json });
  }
}

/** Audio while it is made: `for await (const chunk of stream)`, or all of it with `arrayBuffer` or `blob`. */
export class SpeechStream {
  /** @param {Response} response */
  constructor(response) {
    this.response = response;
    this.jobId = response.headers.get("X-Job-ID");
    this.contentType = response.headers.get("Content-Type") ?? "application/octet-stream";
    /** Hertz; null where a page of another origin may not see the header. */
    this.sampleRate = Number(response.headers.get("X-Sample-Rate")) || null;
  }

  /** @returns {Promise<ArrayBuffer>} */
  arrayBuffer() {
    return this.response.arrayBuffer();
  }

  /** @returns {Promise<Blob>} */
  blob() {
    return this.response.blob();
  }

  /** @returns {AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>}  (Safari's streams cannot be iterated themselves.) */
  async *[Symbol.asyncIterator]() {
    const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (this.response.body).getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  }
}
