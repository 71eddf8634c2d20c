// Text to speech: the audio plays while it comes; the waveform is drawn when all of it is there.

import { csrfToken, toastError } from "./toasts.js";

const form = document.querySelector("[data-speak]");
const audio = form.querySelector("[data-audio]");
const result = form.querySelector("[data-result]");
const state = form.querySelector("[data-state]");
const [go, stop] = [form.querySelector("[data-go]"), form.querySelector("[data-stop]")];
const [download, job] = [form.querySelector("[data-download]"), form.querySelector("[data-job]")];
const codes = [...form.querySelectorAll(".snippets pre")];

let running = null;
let surfer = null;
let made = "";

form.addEventListener("submit", (event) => {
  event.preventDefault();
  speak();
});
stop.addEventListener("click", () => running?.abort());
form.addEventListener("input", describe);
form.text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) speak();
});
describe();

async function speak() {
  if (!form.reportValidity() || running) return;
  running = new AbortController();
  busy(true);
  const started = performance.now();
  try {
    const answer = await fetch(form.action, {
      method: "POST", body: new FormData(form), headers: { "X-CSRFToken": csrfToken() }, signal: running.signal,
    });
    if (!answer.ok) throw await answer.json();
    await play(answer, started);
  } catch (error) {
    if (error.name !== "AbortError") toastError(error);
    state.textContent = "";
  } finally {
    running = null;
    busy(false);
  }
}

async function play(answer, started) {
  const type = answer.headers.get("Content-Type");
  const parts = [];
  surfer?.destroy();
  surfer = null;
  download.hidden = true;
  result.hidden = false;
  const sink = "MediaSource" in window && MediaSource.isTypeSupported(type) ? streamed(type) : null;
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!parts.length) state.textContent = `${Math.round(performance.now() - started)} ms`;
    parts.push(value);
    sink?.add(value);
  }
  sink?.end();
  await finished(new Blob(parts, { type }), answer.headers.get("X-Job-Id"), Boolean(sink));
}

/** Plays what comes at once. */
function streamed(type) {
  const source = new MediaSource();
  const waiting = [];
  let buffer = null, ended = false;
  const next = () => {
    if (!buffer || buffer.updating) return;
    if (waiting.length) buffer.appendBuffer(waiting.shift());
    else if (ended && source.readyState === "open") source.endOfStream();
  };
  source.addEventListener("sourceopen", () => {
    buffer = source.addSourceBuffer(type);
    buffer.addEventListener("updateend", next);
    next();
  });
  audio.src = URL.createObjectURL(source);
  audio.play().catch(() => {});
  return { add(chunk) { waiting.push(chunk); next(); }, end() { ended = true; next(); } };
}

async function finished(blob, id, playing) {
  if (made) URL.revokeObjectURL(made);
  made = URL.createObjectURL(blob);
  download.href = made;
  download.download = `speech.${form.format.value}`;
  download.hidden = false;
  job.href = `/dashboard/jobs/tts/${id}`;
  job.hidden = !id;
  document.getElementById("history").dispatchEvent(new Event("refresh"));
  const { waveform } = await import("./waves.js"); // large, and of no use before there is something to draw
  surfer = waveform(form.querySelector("[data-wave]"), { media: playing ? undefined : audio, blob });
  if (playing) follow(surfer);
  else surfer.once("ready", () => audio.play().catch(() => {}));
}

/** The picture of the finished audio, beside an element that plays the stream of it. */
function follow(picture) {
  picture.setMuted(true);
  audio.addEventListener("timeupdate", () => picture.setTime(audio.currentTime));
  picture.on("interaction", (seconds) => { audio.currentTime = seconds; });
}

function busy(on) {
  go.disabled = on;
  stop.hidden = !on;
}

// ── The same from a program ──

function describe() {
  form.querySelector("[data-count]").textContent = form.text.value.length.toLocaleString();
  form.querySelector("[data-of=speed]").textContent = `${Number(form.speed.value).toFixed(2)}×`;
  form.querySelector("[data-of=pitch]").textContent = form.pitch.value;
  const voice = form.timbre.value ? `${form.voice.value}+${form.timbre.value}` : form.voice.value;
  const body = { text: form.text.value || "Hello.", voice, format: form.format.value, stream: true };
  if (Number(form.speed.value) !== 1) body.speed = Number(form.speed.value);
  if (Number(form.pitch.value)) body.pitch = Number(form.pitch.value);
  if (form.ssml.checked) body.ssml = true;
  const json = JSON.stringify(body, null, 2);
  const url = form.dataset.api, file = `speech.${body.format}`;
  const python = json.replace(/: true\b/g, ": True");
  const texts = [
    `curl -s ${url} \\\n  -H "x-api-key: $SPEECH_API_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '${json.replaceAll("'", "'\\''")}' \\\n  -o ${file}`,
    `import os\nimport requests\n\nanswer = requests.post(\n    "${url}",\n    headers={"x-api-key": os.environ["SPEECH_API_KEY"]},\n    json=${python.replaceAll("\n", "\n    ")},\n)\nanswer.raise_for_status()\nopen("${file}", "wb").write(answer.content)`,
    `const answer = await fetch("${url}", {\n  method: "POST",\n  headers: { "x-api-key": key, "Content-Type": "application/json" },\n  body: JSON.stringify(${json.replaceAll("\n", "\n  ")}),\n});\nconst audio = await answer.blob();`,
  ];
  codes.forEach((code, place) => { code.textContent = texts[place]; });
}
