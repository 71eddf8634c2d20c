// Tabs within a page: the children with data-tab of an element with data-tabs, one shown at a time.
// The choice is remembered by the tabs' labels: who reads Python once reads it everywhere.

let made = 0;

function make(box) {
  const panels = [...box.querySelectorAll(":scope > [data-tab]")];
  if (box.dataset.ready || !panels.length) return;
  box.dataset.ready = "1";
  const names = panels.map((panel) => panel.dataset.tab);
  const memory = `tabs:${names.join()}`;
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", box.getAttribute("aria-label") || "");
  const tabs = panels.map((panel, index) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${++made}`;
    tab.textContent = names[index];
    tab.setAttribute("role", "tab");
    panel.id ||= `panel-${made}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.setAttribute("aria-controls", panel.id);
    tab.addEventListener("click", () => { show(index); localStorage.setItem(memory, names[index]); });
    return tab;
  });
  function show(index, focus) {
    tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
      panels[at].hidden = at !== index;
    });
    if (focus) tabs[index].focus();
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show((tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length, true);
  });
  list.append(...tabs);
  box.prepend(list);
  show(Math.max(0, names.indexOf(localStorage.getItem(memory))));
}

function all(root) {
  for (const box of root.querySelectorAll("[data-tabs]")) make(box);
}
all(document);
document.addEventListener("htmx:load", (event) => all(event.detail.elt.parentElement || document));
