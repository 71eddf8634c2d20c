// Menus are <details data-menu>: they close when one looks elsewhere, and arrows walk through their items.

const ITEMS = ".menu-item, [data-theme-choice]";

function close(menu, focus) {
  menu.open = false;
  if (focus) menu.querySelector("summary").focus();
}

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) if (!menu.contains(event.target)) close(menu);
});

document.addEventListener("toggle", (event) => {
  if (!event.target.matches?.("details[data-menu][open]")) return;
  const panel = event.target.querySelector(".menu-panel");
  // On a phone its button may stand too far to the left for a menu that ends where the button does.
  panel.classList.remove("menu-panel-start");
  panel.classList.toggle("menu-panel-start", panel.getBoundingClientRect().left < 0);
  // A menu at the end of a page, or in a table that scrolls, opens upwards or floats.
  panel.classList.toggle("menu-panel-up", panel.getBoundingClientRect().bottom > innerHeight && event.target.getBoundingClientRect().top > panel.offsetHeight);
}, true);

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details[data-menu]");
  if (!menu) return;
  if (event.key === "Escape" && menu.open) {
    event.stopPropagation();
    close(menu, true);
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  menu.open = true;
  const items = [...menu.querySelectorAll(ITEMS)];
  const at = items.indexOf(document.activeElement);
  items[at < 0 ? (step > 0 ? 0 : items.length - 1) : (at + step + items.length) % items.length]?.focus();
}, true);
