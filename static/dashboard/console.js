// Comfort for the dashboard: copying, playing in place, local times, menus that close. Every page works without it.

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue; // only in secure contexts
  button.hidden = false;
  const label = button.querySelector("span");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    label.textContent = "Copied";
    setTimeout(() => (label.textContent = "Copy"), 2000);
  });
}

for (const time of document.querySelectorAll("time[datetime]")) {
  time.title = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
}

const player = document.querySelector("[data-player]");
if (player) {
  const audio = player.querySelector("audio");
  for (const link of document.querySelectorAll("[data-play]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      player.hidden = false;
      player.querySelector("[data-player-text]").textContent = link.dataset.play;
      audio.src = link.href;
      audio.play();
    });
  }
  player.querySelector("[data-player-close]").addEventListener("click", () => {
    audio.pause();
    player.hidden = true;
  });
}

const menus = [...document.querySelectorAll("[data-menu]")];
document.addEventListener("click", (event) => {
  for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus.filter((open) => open.open)) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
