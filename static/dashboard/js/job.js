// One job's page: the waveform, words in step with the audio, and the result when it is there.

const MOST_SECONDS = 1800; // a longer recording would be decoded whole in the browser's memory, for a picture

const audio = document.querySelector("[data-audio]");
const wave = document.querySelector("[data-wave]");

if (audio && wave && Number(wave.dataset.seconds) < MOST_SECONDS) {
  import("./waves.js").then(({ waveform }) => waveform(wave, { media: audio })); // large: only where it is drawn
} else if (wave) wave.hidden = true;

const transcript = document.querySelector("[data-transcript]");

if (audio && transcript) {
  const segments = [...transcript.querySelectorAll(".segment")].map((element) => ({ element, ...times(element.querySelector(".time")) }));
  const words = [...transcript.querySelectorAll(".segment .word")].map((element) => ({ element, ...times(element) }));
  let shown = [];

  transcript.addEventListener("click", (event) => {
    const target = event.target.closest("[data-from]");
    if (!target) return;
    audio.currentTime = Number(target.dataset.from);
    audio.play();
  });
  audio.addEventListener("timeupdate", () => mark());
  audio.addEventListener("seeking", () => mark());

  function mark() {
    const now = audio.currentTime;
    const at = (list) => list[lastBefore(list, now)];
    const current = [at(segments), at(words)].filter((item) => item && now < item.to + 0.05).map((item) => item.element);
    for (const element of shown) if (!current.includes(element)) element.classList.remove("playing");
    for (const element of current) element.classList.add("playing");
    shown = current;
  }
}

function times(element) {
  return { from: Number(element.dataset.from), to: Number(element.dataset.to) };
}

/** The place of the last item that starts at or before `now`; -1 before the first. */
function lastBefore(list, now) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].from <= now) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// The job has ended while somebody looked: the page is another now.
document.body.addEventListener("htmx:afterSettle", () => {
  if (document.querySelector("[data-reload]")) location.reload();
});
