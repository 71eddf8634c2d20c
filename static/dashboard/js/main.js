// What every page of the dashboard loads. Pages work without it, and are more comfortable with it.
// Everything listens on the document, so that parts which htmx brings in later work at once.
import "./dialogs.js";
import "./menus.js";
import "./tabs.js";
import "./times.js";
import "./keys.js";
import "./live.js";
import { showPending, toast } from "./toasts.js";

// ── Copying ──
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.classList.add("copied");
    toast({ text: document.getElementById("toasts").dataset.copied, tone: "good", brief: true });
    setTimeout(() => button.classList.remove("copied"), 1500);
  } catch { // no clipboard outside secure contexts: select it instead
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
  }
});

// ── Colours: kept in a cookie, so that the server draws the page in them ──
const root = document.documentElement;
function markTheme() {
  for (const button of document.querySelectorAll("[data-theme-choice]"))
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === root.dataset.theme));
}
document.addEventListener("click", (event) => {
  const choice = event.target.closest("[data-theme-choice]")?.dataset.themeChoice;
  if (!choice) return;
  root.dataset.theme = choice;
  document.cookie = `theme=${choice};path=/;max-age=31536000;samesite=lax`;
  localStorage.setItem("theme", choice === "system" ? "auto" : choice); // the administration's
  markTheme();
});
markTheme();

// ── More tabs than fit: the page's own is in sight ──
for (const tabs of document.querySelectorAll("nav.tabs")) {
  const current = tabs.querySelector("[aria-current]");
  if (current) tabs.scrollLeft = current.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - current.offsetWidth) / 2;
}

// ── Listening to a job's audio in place ──
document.addEventListener("click", (event) => {
  const player = document.querySelector("[data-player]");
  if (!player) return;
  const audio = player.querySelector("audio");
  const link = event.target.closest("[data-play]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    player.hidden = false;
    player.querySelector("[data-player-text]").textContent = link.dataset.play;
    audio.src = link.href;
    audio.play();
  } else if (event.target.closest("[data-player-close]")) {
    audio.pause();
    player.hidden = true;
  }
});

// ── Filters: a search field sends itself while one types, empty filters stay out of the address ──
let typing;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-filters]");
  if (!form || !event.target.matches("[type=search]")) return;
  clearTimeout(typing);
  typing = setTimeout(() => form.dispatchEvent(new Event("typed")), 250);
});
document.addEventListener("htmx:configRequest", (event) => {
  if (!event.target.matches("form[data-filters]")) return;
  for (const [name, value] of Object.entries(event.detail.parameters))
    if (value === "") event.detail.parameters.delete(name);
  const clear = event.target.querySelector("[data-filters-clear]");
  if (clear) clear.hidden = [...event.detail.formData.keys()].length === 0;
});

// ── A form is sent once ──
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.matches("[hx-post], [data-again]")) return;
  setTimeout(() => { for (const button of form.querySelectorAll("button:not([type=button])")) button.disabled = true; });
});
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of document.querySelectorAll("form button:disabled")) button.disabled = false;
});

showPending();
