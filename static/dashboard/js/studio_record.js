// Speech to text from the microphone: words appear while somebody speaks; at the end they are a job.

import { openMicrophone } from "./microphone.js";
import { toast, toastError } from "./toasts.js";

const MOST_WAITING = 4 * 1024 * 1024; // bytes that the connection has not taken: about two minutes
const card = document.querySelector("[data-record]");
const words = card.querySelector("[data-phrases]").dataset;
const [start, stop] = [card.querySelector("[data-start]"), card.querySelector("[data-stop]")];
const [state, level, clock] = [card.querySelector("[data-state]"), card.querySelector("[data-level]"), card.querySelector("[data-clock]")];
const [text, finals, partial] = ["text", "finals", "partial"].map((name) => card.querySelector(`[data-${name}]`));
const open = card.querySelector("[data-open]");
const options = document.querySelector("[data-listen]");

let session = null;

start.addEventListener("click", record);
stop.addEventListener("click", () => finish());
window.addEventListener("beforeunload", (event) => { if (session) event.preventDefault(); });

async function record() {
  if (session) return;
  const mine = session = { id: "", microphone: null, socket: null, began: 0, timer: 0, ending: false, early: [] };
  show("starting");
  reset();
  try {
    mine.microphone = await openMicrophone(card.dataset.worklet, {
      onSound: (pcm, loudness) => heard(mine, pcm, loudness),
      onLost: () => { if (session === mine) { toast({ text: words.lost, tone: "bad" }); finish(); } },
    });
    await connect(mine);
  } catch (error) {
    await end(mine);
    if (error instanceof DOMException) toast({ text: words[reason(error)], tone: "bad" });
    else toastError(error);
    return;
  }
  mine.began = performance.now();
  mine.timer = setInterval(() => { clock.textContent = elapsed(mine); }, 250);
  show("recording");
  stop.focus();
}

/** Why there is no microphone: the name of a text. */
function reason(error) {
  const names = { NotAllowedError: "refused", SecurityError: "refused", NotFoundError: "absent", OverconstrainedError: "absent", NotReadableError: "taken" };
  return names[error.name] || "unsupported";
}

/** Opens the session; resolves when the server is ready to hear. */
function connect(mine) {
  return new Promise((ready, failed) => {
    const socket = mine.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/stt/stream`);
    socket.addEventListener("open", () => socket.send(JSON.stringify(beginning(mine))));
    socket.addEventListener("message", (message) => told(mine, JSON.parse(message.data), ready, failed));
    socket.addEventListener("close", () => {
      failed(new Error(words.disconnected));
      if (session === mine && mine.id) closed(mine, false);
    });
  });
}

function beginning(mine) {
  const fields = { type: "start", encoding: "pcm_s16le", sample_rate: mine.microphone.sampleRate, keep_audio: card.querySelector("[name=keep_audio]").checked };
  if (options.language_hint.value) fields.language = options.language_hint.value;
  if (options.model.value) fields.model = options.model.value;
  if (options.hotwords.value.trim()) fields.hotwords = options.hotwords.value;
  if (options.redact.checked) fields.redact = true;
  return fields;
}

function told(mine, event, ready, failed) {
  if (event.type === "ready") {
    mine.id = event.session_id;
    mine.early.splice(0).forEach((pcm) => mine.socket.send(pcm));
    ready();
  }
  else if (event.type === "partial") partial.textContent = event.text;
  else if (event.type === "final") final(event);
  else if (event.type === "closed") closed(mine, true);
  else if (event.type === "error" && mine.id) { mine.failed = true; toastError(event); }
  else if (event.type === "error") failed(event);
}

function final({ text: said }) {
  partial.textContent = "";
  if (said) finals.append(`${said} `);
}

function heard(mine, pcm, loudness) {
  level.value = loudness ? Math.max(0, 1 + 20 * Math.log10(loudness) / 60) : 0; // from -60 dB
  if (!mine.id) mine.early.push(pcm); // who speaks at once is heard from the beginning
  else if (mine.socket.readyState !== WebSocket.OPEN) return;
  else if (mine.socket.bufferedAmount > MOST_WAITING) { toast({ text: words.slow, tone: "bad" }); finish(); }
  else mine.socket.send(pcm);
}

/** The person has finished: the rest is heard. */
async function finish() {
  const mine = session;
  if (!mine?.id || mine.ending) return;
  mine.ending = true;
  show("finishing");
  clearInterval(mine.timer);
  await mine.microphone.close();
  if (mine.socket.readyState === WebSocket.OPEN) mine.socket.send(JSON.stringify({ type: "stop" }));
}

async function closed(mine, whole) {
  if (session !== mine) return;
  const { id, failed } = mine;
  await end(mine);
  if (whole) {
    open.href = `/dashboard/jobs/stt/${id}`;
    open.hidden = false;
    state.textContent = finals.textContent.trim() ? words.done : words.silent;
  } else if (!failed) toast({ text: words.disconnected, tone: "bad" });
  document.getElementById("latest").dispatchEvent(new Event("refresh"));
}

async function end(mine) {
  session = null;
  clearInterval(mine.timer);
  mine.socket?.close();
  partial.textContent = "";
  show("idle");
  if (!mine.ending) await mine.microphone?.close();
}

function reset() {
  finals.textContent = partial.textContent = "";
  text.hidden = false;
  open.hidden = true;
}

function show(name) {
  const focused = document.activeElement === stop;
  card.dataset.recording = name;
  start.hidden = name !== "idle";
  stop.hidden = name === "idle";
  stop.disabled = name !== "recording";
  level.hidden = clock.hidden = name === "idle";
  if (name === "starting") clock.textContent = "0:00";
  state.textContent = words[name] || "";
  if (name === "idle" && focused) start.focus();
}

function elapsed(mine) {
  const seconds = Math.floor((performance.now() - mine.began) / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
