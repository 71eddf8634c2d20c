// Parts that stay up to date: an element with data-live="5" asks for itself every 5 seconds, while somebody looks.

const last = new WeakMap();
const now = () => performance.now() / 1000;

setInterval(() => {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    if (!last.has(part)) last.set(part, now());
    const busy = part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
    if (busy || part.querySelector("details[open], dialog[open]") || now() - last.get(part) < Number(part.dataset.live)) continue;
    last.set(part, now());
    part.dispatchEvent(new Event("refresh"));
  }
}, 500);
