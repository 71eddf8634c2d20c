// Toasts: `toast({text, tone, undo})`. Django's messages arrive in the page, or with an answer to htmx.

const region = document.getElementById("toasts");
const ICONS = { good: "circle-check", bad: "circle-alert", busy: "triangle-alert", info: "info" };
const SPRITE = document.querySelector("svg.icon use")?.getAttribute("href").split("#")[0];

/** An icon of the sprite, as the template tag makes it. */
export function icon(name, px = 16) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ class: "icon", width: px, height: px, "aria-hidden": "true" })) svg.setAttribute(key, value);
  svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "use")).setAttribute("href", `${SPRITE}#${name}`);
  return svg;
}

/**
 * Shows a message. tone: good, bad, busy or info. undo: an address to POST to, or a function. brief: goes soon.
 * It stays while pointed at or focused; what went wrong stays until it is dismissed.
 */
export function toast({ text, tone = "good", undo = "", brief = false }) {
  const box = document.createElement("div");
  box.className = `toast toast-${tone}`;
  box.setAttribute("role", tone === "bad" ? "alert" : "status");
  const words = document.createElement("span");
  words.className = "toast-text";
  words.textContent = text;
  box.append(icon(ICONS[tone] || "info"), words);
  if (undo) box.append(undoButton(box, undo));
  box.append(closeButton(box));
  while (region.querySelectorAll(".toast").length > 3) region.querySelector(".toast").remove();
  region.append(box);
  if (tone !== "bad") leaveAfter(box, brief ? 1800 : undo ? 10000 : 6000);
  return box;
}

/** A contract error (the JSON of an API answer), or anything else that was thrown, as a toast. */
export function toastError(error) {
  toast({ text: error?.error?.message || error?.message || region.dataset.failed, tone: "bad" });
}

function undoButton(box, undo) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "toast-undo";
  button.textContent = region.dataset.undo;
  button.addEventListener("click", () => {
    box.remove();
    if (typeof undo === "function") undo();
    else postForm(undo);
  });
  return button;
}

function closeButton(box) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "toast-close";
  button.setAttribute("aria-label", region.dataset.dismiss);
  button.append(icon("x", 14));
  button.addEventListener("click", () => box.remove());
  return button;
}

function leaveAfter(box, milliseconds) {
  let timer = setTimeout(() => box.remove(), milliseconds);
  const stay = () => clearTimeout(timer);
  const leave = () => { clearTimeout(timer); timer = setTimeout(() => box.remove(), 2500); };
  box.addEventListener("pointerenter", stay);
  box.addEventListener("focusin", stay);
  box.addEventListener("pointerleave", leave);
  box.addEventListener("focusout", leave);
}

/** The token that a POST of ours carries. */
export function csrfToken() {
  return JSON.parse(document.body.getAttribute("hx-headers") || "{}")["X-CSRFToken"] || "";
}

/** POSTs as a form does: the answer is the next page. */
export function postForm(url, fields = {}) {
  const form = document.createElement("form");
  form.method = "post";
  form.action = url;
  form.hidden = true;
  for (const [name, value] of Object.entries({ csrfmiddlewaretoken: csrfToken(), ...fields })) {
    const input = document.createElement("input");
    input.type = "hidden";
    input.name = name;
    input.value = value;
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}

/** fetch() with the token; resolves to the Response, throws the contract's error otherwise. */
export async function send(url, options = {}) {
  const headers = { "X-CSRFToken": csrfToken(), Accept: "application/json", ...options.headers };
  const response = await fetch(url, { method: "POST", ...options, headers });
  if (response.ok) return response;
  throw await response.json().catch(() => new Error(region.dataset.failed));
}

export function showPending() {
  for (const fields of JSON.parse(document.getElementById("pending-toasts")?.textContent || "[]")) toast(fields);
}

document.addEventListener("toasts", (event) => {
  for (const fields of event.detail.value || event.detail) toast(fields);
});
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"])
  document.addEventListener(name, (event) => {
    if (!(event.detail.xhr?.getResponseHeader("HX-Trigger") || "").includes("toasts") && !event.target.hasAttribute("data-live"))
      toast({ text: region.dataset.failed, tone: "bad" });
  });
