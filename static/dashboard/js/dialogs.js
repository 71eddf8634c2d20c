// Dialogs: `data-dialog="id"` opens, `data-dialog-close` closes, `data-confirm="…"` on a form or button asks first.

/** Opens a modal dialog; focus goes to its first field, and back where it was when it closes. */
export function openDialog(dialog) {
  if (dialog.open) return;
  dialog.showModal();
  const fields = "[autofocus], .dialog-body input:not([type=hidden]), .dialog-body select, .dialog-body textarea";
  (dialog.querySelector(fields) || dialog.querySelector(".dialog-body :is([data-copy], .button-primary)"))?.focus();
}

/** Asks; resolves to whether the person agrees. yes: the word on the button. */
export function confirmed(text, yes = "") {
  const dialog = document.getElementById("confirm");
  const button = dialog.querySelector("[data-confirm-yes]");
  dialog.querySelector("[data-confirm-text]").textContent = text;
  button.dataset.word ??= button.textContent;
  button.textContent = yes || button.dataset.word;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    opener.closest("details[data-menu]")?.removeAttribute("open");
    openDialog(document.getElementById(opener.dataset.dialog));
  }
  const dialog = event.target.closest("dialog");
  if (!dialog) return;
  if (event.target.closest("[data-confirm-yes]")) dialog.close("yes");
  else if (event.target.closest("[data-dialog-close]") || event.target === dialog) dialog.close();
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const asking = event.submitter?.closest("[data-confirm]") || form.closest("form[data-confirm]");
  if (!asking || form.dataset.agreed || form.hasAttribute("hx-post")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!(await confirmed(asking.dataset.confirm, asking.dataset.confirmYes))) return;
  form.dataset.agreed = "1";
  form.requestSubmit(event.submitter);
  delete form.dataset.agreed;
}, true);

document.addEventListener("htmx:confirm", async (event) => {
  const asking = event.detail.elt.closest("[data-confirm]");
  if (!asking) return;
  event.preventDefault();
  if (await confirmed(asking.dataset.confirm, asking.dataset.confirmYes)) event.detail.issueRequest(true);
});

for (const dialog of document.querySelectorAll("dialog[data-open]")) openDialog(dialog);
