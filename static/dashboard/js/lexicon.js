// A lexicon's entries: lines come and go, and each can be heard before it is saved.

import { send, toastError } from "./toasts.js";

const form = document.querySelector("[data-lexicon]");
const body = form.querySelector("[data-entries]");
const audio = document.querySelector("[data-heard]");

form.querySelector("[data-add]")?.addEventListener("click", () => {
  body.append(form.querySelector("[data-entry]").content.cloneNode(true));
  body.lastElementChild.querySelector("input").focus();
});

body?.addEventListener("click", (event) => {
  const line = event.target.closest("tr");
  if (event.target.closest("[data-drop]")) line.remove();
  else if (event.target.closest("[data-hear]")) hear(line, event.target.closest("[data-hear]"));
});

async function hear(line, button) {
  const fields = new URLSearchParams([...line.querySelectorAll("input")].map((input) => [input.name, input.value]));
  button.disabled = true;
  try {
    const told = await (await send(form.dataset.preview, { body: fields })).json();
    form.querySelector("[data-phonemes]").textContent = `/${told.phonemes}/`;
    audio.src = told.audio_url;
    await audio.play();
  } catch (error) {
    toastError(error);
  } finally {
    button.disabled = false;
  }
}
