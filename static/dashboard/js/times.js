// <time> elements come in UTC; here they get the reader's zone, and "3 min ago" goes on counting.

const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const STYLES = { datetime: { dateStyle: "medium", timeStyle: "short" }, date: { dateStyle: "medium" } };

/** "3 min. ago", "in 2 days" */
export function relative(moment) {
  const seconds = (moment - Date.now()) / 1000;
  for (const [unit, length] of UNITS) if (Math.abs(seconds) >= length) return words.format(Math.trunc(seconds / length), unit);
  return words.format(0, "second");
}

/** Writes every <time> below `root` for the reader. */
export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-time]")) {
    const moment = new Date(time.dateTime);
    const text = time.dataset.time === "ago" ? relative(moment) : moment.toLocaleString(document.documentElement.lang, STYLES[time.dataset.time]);
    if (time.textContent !== text) time.textContent = text;
    time.title = moment.toLocaleString(document.documentElement.lang, { dateStyle: "full", timeStyle: "long" });
  }
}

localTimes();
setInterval(localTimes, 30000);
document.addEventListener("htmx:load", (event) => localTimes(event.detail.elt.parentElement || document));
