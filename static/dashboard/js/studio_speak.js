// Text to speech: the audio plays while it comes; the waveform is drawn when all of it is there.

import { csrfToken, toastError } from "./toasts.js";

const form = document.querySelector("[data-speak]");
const audio = form.querySelector("[data-audio]");
const result = form.querySelector("[data-result]");
const state = form.querySelector("[data-state]");
const [go, stop] = [form.querySelector("[data-go]"), form.querySelector("[data-stop]")];
const [download, job] = [form.querySelector("[data-download]"), form.querySelector("[data-job]")];
const codes = [...form.querySelectorAll(".snippets pre")];

const voices = [...form.voice.options];
const samples = JSON.parse(document.getElementById("samples").textContent);

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
form.querySelector("[data-find]").addEventListener("input", find);
form.querySelector("[data-find]").addEventListener("keydown", (event) => {
  if (event.key === "Enter") event.preventDefault(); // it chooses, and does not speak
});
form.querySelector("[data-hear]").addEventListener("click", hear);
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
  remember();
  const { waveform } = await import("./waves.js"); // large, and of no use before there is something to draw
  surfer = waveform(form.querySelector("[data-wave]"), { media: playing ? undefined : audio, blob });
  if (playing) follow(surfer);
  else surfer.once("ready", () => audio.play().catch(() => {}));
}

/** What was spoken lately, with this. */
async function remember() {
  const answer = await fetch(location.pathname, { headers: { "HX-Request": "true" } }); // asks for the part alone
  if (answer.ok) document.getElementById("history").innerHTML = await answer.text();
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

// ── Voices ──

/** Leaves the voices whose name or language has all that was typed; all of them where none does. */
function find(event) {
  const words = event.target.value.toLowerCase().split(/\s+/);
  const fit = voices.filter((option) => words.every((word) => option.text.toLowerCase().includes(word)));
  const chosen = form.voice.value;
  form.voice.replaceChildren(...(fit.length ? fit : voices));
  if (!fit.length || fit.some((option) => option.value === chosen)) form.voice.value = chosen;
  else form.voice.selectedIndex = 0;
  const note = form.querySelector("[data-found]");
  note.textContent = fit.length ? "" : note.dataset.none;
  describe();
}

/** The chosen voice says a sentence of its language, else its name. */
async function hear() {
  const [name, tag] = form.voice.selectedOptions[0].text.split(" · ");
  const button = form.querySelector("[data-hear]");
  const fields = new FormData(form);
  fields.set("text", samples[tag.split("-")[0].toLowerCase()] ?? name);
  fields.delete("ssml");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: fields, headers: { "X-CSRFToken": csrfToken() } });
    if (!answer.ok) throw await answer.json();
    const preview = document.querySelector("[data-preview]");
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(await answer.blob());
    await preview.play();
  } catch (error) {
    toastError(error);
  } finally {
    button.disabled = false;
  }
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
  const indented = json.replaceAll("\n", "\n  ");
  const url = form.dataset.api, file = `speech.${body.format}`;
  const python = json.replace(/: true\b/g, ": True");
  const texts = [
    `curl -s ${url} \\\n  -H "x-api-key: $SPEECH_API_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '${indented.replaceAll("'", "'\\''")}' \\\n  -o ${file}`,
    `import os\nimport requests\n\nanswer = requests.post(\n    "${url}",\n    headers={"x-api-key": os.environ["SPEECH_API_KEY"]},\n    json=${python.replaceAll("\n", "\n    ")},\n)\nanswer.raise_for_status()\nopen("${file}", "wb").write(answer.content)`,
    `const answer = await fetch("${url}", {\n  method: "POST",\n  headers: { "x-api-key": key, "Content-Type": "application/json" },\n  body: JSON.stringify(${indented}),\n});\nconst audio = await answer.blob();`,
  ];
  codes.forEach((code, place) => { code.textContent = texts[place]; });
}
