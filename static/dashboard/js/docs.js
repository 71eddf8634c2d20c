// The API's reference is dark where the dashboard is: as the reader chose there, else as the system is.

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const chosen = /(?:^|; )theme=(light|dark)/.exec(document.cookie)?.[1];

function paint() {
  document.documentElement.classList.toggle("dark-mode", chosen ? chosen === "dark" : dark.matches);
}

paint();
dark.addEventListener("change", paint);
