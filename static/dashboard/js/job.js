// One job's page: the waveform, words in step with the audio, and the result when it is there.

import { address, lastBefore, load, partAt, partsOf } from "./parts.js";

const AHEAD_SECONDS = 30; // a part is fetched before the audio comes to it

const audio = document.querySelector("[data-audio]");
const wave = document.querySelector("[data-wave]");

if (wave) import("./waves.js").then(({ waveform }) => waveform(wave, { media: audio })); // large: only where it is drawn

const transcript = document.querySelector("[data-transcript]");
const holder = transcript?.querySelector("[data-parts]");
const parts = holder ? partsOf(holder) : [];

if (parts.length) {
  addEventListener("hashchange", goToTime);
  goToTime();
  const found = holder.querySelector(".word-found");
  if (found) show(found);
  transcript.querySelector("[data-correct]")?.addEventListener("click", ({ currentTarget }) => {
    const { number, from } = inView();
    currentTarget.href = `${address({ edit: 1, part: number })}#t=${from}`;
  });
  if (transcript.matches("form")) corrections(transcript);
}

if (audio && parts.length) {
  let shown = [], last = null;

  transcript.addEventListener("click", (event) => {
    const target = event.target.closest("[data-from]");
    if (!target) return;
    audio.currentTime = Number(target.dataset.from);
    audio.play();
  });
  audio.addEventListener("timeupdate", () => mark());
  audio.addEventListener("seeking", () => mark(true));

  async function mark(sought = false) {
    const part = partAt(parts, audio.currentTime);
    const ahead = partAt(parts, audio.currentTime + AHEAD_SECONDS);
    if (!part.segments && !await load(parts, part, sought)) return;
    if (!audio.paused) load(parts, ahead);
    const now = audio.currentTime;
    if (partAt(parts, now) !== part) return; // sought on while it came
    const at = (list) => list[lastBefore(list, now)];
    const [segment, word] = [at(part.segments), at(part.words)].map((item) => (item && now < item.to + 0.05 ? item.element : null));
    const current = [segment, word].filter(Boolean);
    const follows = sought || (last && isSeen(last));
    for (const element of shown) if (!current.includes(element)) element.classList.remove("playing");
    for (const element of current) element.classList.add("playing");
    if (parts.length > 1 && current.length && follows) show(current.at(-1));
    shown = current;
    last = current.at(-1) ?? last;
  }
}

/** `#t=83.5` leads to a moment. */
async function goToTime() {
  const seconds = Number(new URLSearchParams(location.hash.slice(1)).get("t") ?? NaN);
  if (!(seconds >= 0)) return;
  if (audio) audio.currentTime = seconds; // and what hears of it marks the word
  const part = partAt(parts, seconds);
  if (await load(parts, part, true)) show((part.segments[lastBefore(part.segments, seconds)] || part).element);
}

/** Brings it into the window, unless it is there, or somebody writes. */
function show(element) {
  if (!isSeen(element) && !document.activeElement.matches("textarea")) element.scrollIntoView({ block: "center" });
}

function isSeen(element) {
  const { top, bottom } = element.getBoundingClientRect();
  const above = document.querySelector(".job-long .wave-card")?.getBoundingClientRect().bottom ?? 0;
  return top >= Math.max(above, 0) && bottom <= innerHeight;
}

/** The segment that plays, where it is seen; else the one in the middle of the window, or as near to it as one is. */
function inView() {
  const playing = holder.querySelector(".segment.playing");
  const isIt = playing && isSeen(playing)
    ? ({ element }) => element.contains(playing)
    : ({ element }) => element.getBoundingClientRect().bottom > innerHeight / 2;
  const part = parts.find(isIt) ?? parts.at(-1);
  return { number: part.number, from: (part.segments?.find(isIt) ?? part).from };
}

/** Sends what was changed alone, however much of the transcript is in the form; then leads back to where it was. */
function corrections(form) {
  form.addEventListener("input", ({ target }) => {
    form.elements.part.value = parts.find(({ element }) => element?.contains(target))?.number ?? form.elements.part.value;
  });
  form.addEventListener("formdata", ({ formData }) => {
    for (const field of form.querySelectorAll("textarea")) if (field.value === field.defaultValue) formData.delete(field.name);
  });
}

// The job has ended while somebody looked: the page is another now.
document.body.addEventListener("htmx:afterSettle", () => {
  if (document.querySelector("[data-reload]")) location.reload();
});
