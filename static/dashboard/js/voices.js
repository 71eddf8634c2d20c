// Voices: each says a sentence.

import { csrfToken, toastError } from "./toasts.js";

const list = document.querySelector("[data-voices]");
const audio = document.querySelector("[data-preview]");

list.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-voice]");
  if (!button) return;
  const fields = { text: button.dataset.sample, voice: button.dataset.voice, timbre: "", format: "mp3", speed: 1, pitch: 0 };
  button.disabled = true;
  try {
    const answer = await fetch(list.dataset.url, {
      method: "POST", body: new URLSearchParams(fields), headers: { "X-CSRFToken": csrfToken() },
    });
    if (!answer.ok) throw await answer.json();
    if (audio.src) URL.revokeObjectURL(audio.src);
    audio.src = URL.createObjectURL(await answer.blob());
    await audio.play();
  } catch (error) {
    toastError(error);
  } finally {
    button.disabled = false;
  }
});
