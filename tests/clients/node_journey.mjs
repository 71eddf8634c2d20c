// Everything that the JavaScript client does without a browser; what came of it, as JSON on stdout.
// Arguments: a recording, and a wav of 16-bit mono at 16 kHz.

import { readFile } from "node:fs/promises";

import * as client from "../../clients/javascript/src/index.js";

const { ConnectionFailed, Speech, SpeechError, connect } = client;
const [recording, wav] = process.argv.slice(2);
const speech = new Speech();
const told = { names: Object.entries(client).flatMap(([name, thing]) => [name, ...Object.getOwnPropertyNames(thing.prototype ?? {})]) };

const stream = await speech.synthesize("Good morning, everybody.", { format: "pcm", sample_rate: 16000 });
const chunks = [];
for await (const chunk of stream) chunks.push(chunk);
told.spoken = { jobId: stream.jobId, rate: stream.sampleRate, bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0) };
told.flac = new TextDecoder().decode(await (await speech.synthesize("Short.", { format: "flac" })).arrayBuffer()).slice(0, 4);

const file = new Blob([await readFile(recording)]);
told.transcription = await speech.transcribe(file, { filename: "a.wav", word_timestamps: true, hotwords: ["one", "two"] });
told.srt = await speech.export(told.transcription.job_id, "srt");
const queued = await speech.transcribe(new Uint8Array(await readFile(recording)), { queued: true });
const states = [];
told.waited = await speech.wait("stt", queued.job_id, { onProgress: (job) => states.push(job.status) });
told.states = [queued.status, states.at(-1)];
await speech.cancel("stt", queued.job_id);
told.gone = await outcome(() => speech.job("stt", queued.job_id));
told.voices = (await speech.voices({ language: "en" })).map((voice) => voice.id);

const token = await speech.clientToken({ expiresIn: 120 });
const session = await connect(token.websocket_url, { sample_rate: 16000, language: "en-US" });
told.session = [token.session_id, session.sessionId];
const pcm = (await readFile(wav)).subarray(44);
const feeding = session.feed([pcm.subarray(0, 3200), pcm.subarray(3200)]);
told.events = [];
for await (const event of session) told.events.push(event);
await feeding;

told.usedToken = await outcome(() => connect(token.websocket_url));
told.wrongRate = await outcome(async () => connect((await speech.clientToken()).websocket_url, { sample_rate: 4 }));
told.wrongVoice = await outcome(() => speech.synthesize("x", { voice: "robot" }));
told.stranger = await outcome(() => new Speech({ apiKey: "sp_nonsense" }).voices());
told.nobody = await outcome(() => new Speech({ url: "http://127.0.0.1:9", retries: 0 }).voices());
told.aborted = await outcome(() => speech.synthesize("x", { signal: AbortSignal.abort() }));

const keys = [];
const lossy = async (url, request) => {
  keys.push(request.headers["Idempotency-Key"]);
  const answer = await fetch(url, request);
  if (keys.length > 1) return answer;
  await answer.arrayBuffer();
  throw new TypeError("the connection broke");
};
const again = await new Speech({ fetch: lossy }).synthesize("Only once.", { format: "flac" });
told.repeated = { keys, replayed: again.response.headers.get("Idempotent-Replayed") };
await again.arrayBuffer();

process.stdout.write(JSON.stringify(told));

async function outcome(work) {
  try {
    await work();
    return "nothing";
  } catch (error) {
    if (error instanceof SpeechError) return [error.status, error.type, error.code, error.param, Boolean(error.requestId)];
    return error instanceof ConnectionFailed ? "ConnectionFailed" : error.name;
  }
}
