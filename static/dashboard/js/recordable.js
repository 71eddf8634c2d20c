// File inputs that can also be spoken into: what was recorded becomes the chosen file.

import { openMicrophone } from "./microphone.js";
import { icon, toast } from "./toasts.js";

const REASONS = { NotAllowedError: "refused", SecurityError: "refused", NotFoundError: "absent" };

for (const form of document.querySelectorAll("[data-recorders]")) {
  for (const input of form.querySelectorAll("[data-recordable]")) offer(form, input);
}

function offer(form, input) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "button button-small" });
  const words = document.createElement("span");
  const level = Object.assign(document.createElement("meter"), { max: 1, hidden: true, className: "recorder-level" });
  const heard = Object.assign(document.createElement("audio"), { controls: true, hidden: true });
  const label = form.querySelector(`label[for="${input.id}"]`).firstChild.textContent.trim();
  for (const element of [button, level, heard]) element.setAttribute("aria-label", `${form.dataset.record}: ${label}`);
  button.append(icon("mic", 14), words);
  const box = document.createElement("div");
  box.className = "recorder";
  box.append(button, level, heard);
  input.after(box);
  words.textContent = form.dataset.record;

  let recording = null;
  button.addEventListener("click", async () => {
    button.disabled = true;
    if (recording) await stop();
    else await start().catch((error) => { recording = null; toast({ text: form.dataset[REASONS[error.name] || "unsupported"], tone: "bad" }); });
    show();
    button.disabled = false;
  });
  form.closest("dialog")?.addEventListener("close", () => { if (recording) stop().then(show); });

  async function start() {
    const parts = [];
    const microphone = await openMicrophone(form.dataset.worklet, {
      onSound(pcm, loudness) {
        parts.push(pcm);
        level.value = loudness ? Math.max(0, 1 + 20 * Math.log10(loudness) / 60) : 0;
      },
      onLost: () => { if (recording) stop().then(show); },
    });
    recording = { parts, microphone };
  }

  async function stop() {
    const { parts, microphone } = recording;
    recording = null;
    await microphone.close();
    const file = new File([wavHeader(parts, microphone.sampleRate), ...parts], `${input.name}.wav`, { type: "audio/wav" });
    const chosen = new DataTransfer();
    chosen.items.add(file);
    input.files = chosen.files;
    if (heard.src) URL.revokeObjectURL(heard.src);
    heard.src = URL.createObjectURL(file);
    heard.hidden = false;
  }

  function show() {
    words.textContent = recording ? form.dataset.stop : form.dataset.record;
    level.hidden = !recording;
  }
}

/** Of 16-bit mono PCM. */
function wavHeader(parts, rate) {
  const size = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  [[16, 16], [24, rate], [28, rate * 2], [40, size]].forEach(([at, value]) => view.setUint32(at, value, true));
  [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([at, value]) => view.setUint16(at, value, true));
  text(36, "data");
  return view.buffer;
}
