// The command palette (Ctrl-K) and the shortcuts: `g h` goes home, `/` searches the page, `?` helps.
import { openDialog } from "./dialogs.js";
import { icon } from "./toasts.js";

const palette = document.getElementById("palette");
const input = document.getElementById("palette-input");
const list = document.getElementById("palette-list");
const none = palette.querySelector(".palette-none");
const items = JSON.parse(document.getElementById("palette-items").textContent);
let shown = [];
let chosen = 0;

function score(item, query) {
  const label = item.label.toLowerCase();
  if (label.startsWith(query)) return 3;
  if (label.split(/\s+/).some((word) => word.startsWith(query))) return 2;
  return `${label} ${item.keywords.toLowerCase()}`.includes(query) ? 1 : 0;
}

function render() {
  const query = input.value.trim().toLowerCase();
  shown = query ? items.map((item) => [score(item, query), item]).filter(([points]) => points).sort((a, b) => b[0] - a[0]).map(([, item]) => item) : items;
  chosen = 0;
  let group = "";
  list.replaceChildren(...shown.flatMap((item, index) => {
    const parts = [];
    if (!query && item.group !== group) {
      group = item.group;
      const title = document.createElement("li");
      title.className = "palette-group";
      title.setAttribute("role", "presentation");
      title.textContent = group;
      parts.push(title);
    }
    parts.push(option(item, index));
    return parts;
  }));
  none.hidden = shown.length > 0;
  mark();
}

function option(item, index) {
  const row = document.createElement("li");
  row.id = `palette-${index}`;
  row.className = "palette-item";
  row.setAttribute("role", "option");
  const label = document.createElement("span");
  label.className = "grow";
  label.textContent = item.label;
  row.append(icon(item.icon), label);
  for (const key of item.shortcut.split(" ").filter(Boolean)) {
    const cap = document.createElement("kbd");
    cap.textContent = key;
    row.append(cap);
  }
  row.addEventListener("click", () => location.assign(item.url));
  row.addEventListener("pointermove", () => { chosen = index; mark(); });
  return row;
}

function mark() {
  for (const row of list.querySelectorAll("[role=option]")) {
    const active = row.id === `palette-${chosen}`;
    row.setAttribute("aria-selected", String(active));
    if (active) row.scrollIntoView({ block: "nearest" });
  }
  input.setAttribute("aria-activedescendant", shown.length ? `palette-${chosen}` : "");
}

function openPalette() {
  document.getElementById("sidebar").hidePopover?.();
  if (palette.open) return palette.close();
  input.value = "";
  palette.showModal();
  render();
  input.focus();
}

input.addEventListener("input", render);
input.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && shown.length) {
    event.preventDefault();
    chosen = (chosen + step + shown.length) % shown.length;
    mark();
  } else if (event.key === "Enter" && shown[chosen]) {
    event.preventDefault();
    location.assign(shown[chosen].url);
  }
});
document.addEventListener("click", (event) => { if (event.target.closest("[data-palette]")) openPalette(); });

// ── Shortcuts ──
const toggle = document.querySelector("[data-shortcuts]");
toggle.checked = localStorage.getItem("shortcuts") !== "off"; // WCAG 2.1.4: they can be turned off
toggle.addEventListener("change", () => localStorage.setItem("shortcuts", toggle.checked ? "on" : "off"));

let before = "";
let beforeAt = 0;
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    return openPalette();
  }
  const typing = event.target.matches?.("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.key.length > 1 || !toggle.checked) return;
  if (event.key === "?") return openDialog(document.getElementById("shortcuts"));
  if (event.key === "/") {
    const search = document.querySelector("main input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
    return;
  }
  const keys = Date.now() - beforeAt < 1200 ? `${before} ${event.key}` : event.key;
  [before, beforeAt] = [event.key, Date.now()];
  const item = items.find(({ shortcut }) => shortcut && shortcut === keys);
  if (item) location.assign(item.url);
});
