// The parts of a transcript: the page comes with one, the others are fetched into the room that is kept for them.

import { toast } from "./toasts.js";

const NEAR = "1200px 0px"; // of a part to be fetched before it is seen
const STAY_MS = 80; // for which it has to be near: who drags the scroll bar passes many
const AT_ONCE = 4;
const REST_MS = 10_000; // before one that did not come is fetched again, unless somebody asks: audio that plays asks often

/** All parts of the transcript in `holder`, in order: {number, from, weight, element, segments, words, coming, rests}. */
export function partsOf(holder) {
  const all = JSON.parse(document.getElementById("parts-plan").textContent).map(([from, weight], place) => ({ number: place + 1, from, weight }));
  const carried = all[Number(holder.dataset.parts) - 1];
  carried.element = holder.firstElementChild;
  read(carried);
  makeRoom(holder, all, carried);
  if (all.length > 1) watch(holder, all);
  return all;
}

/** The part in which a moment lies. */
export function partAt(all, seconds) {
  return all[Math.max(lastBefore(all, seconds), 0)];
}

/** Fetches a part unless it is here. True when it is; told: also to those who do not see it come. */
export function load(all, part, told = false) {
  if (part.segments) return Promise.resolve(true);
  if (!told && performance.now() < part.rests) return Promise.resolve(false);
  part.coming ??= bring(all, part, told).finally(() => { part.coming = null; });
  return part.coming;
}

/** The place of the last item that starts at or before `now`; -1 before the first. */
export function lastBefore(list, now) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].from <= now) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function read(part) {
  part.segments = [...part.element.querySelectorAll(".segment")].map((element) => ({ element, ...times(element.querySelector(".time")) }));
  part.words = [...part.element.querySelectorAll(".segment .word")].map((element) => ({ element, ...times(element) }));
}

function times(element) {
  return { from: Number(element.dataset.from), to: Number(element.dataset.to) };
}

/** Places for the parts that are not here, as high as they will be: as far as the one that is here tells. */
function makeRoom(holder, all, carried) {
  const height = carried.element.offsetHeight / carried.weight;
  carried.element.style.containIntrinsicBlockSize = `auto ${carried.element.offsetHeight}px`;
  for (const part of all) {
    if (part === carried) continue;
    part.element = document.getElementById("part-pending").content.firstElementChild.cloneNode(true);
    part.element.style.minBlockSize = part.element.style.containIntrinsicBlockSize = `${Math.round(part.weight * height)}px`;
    const link = part.element.querySelector("a");
    link.href = address({ part: part.number });
    link.textContent = link.dataset.words.replace("%s", clock(part.from));
    link.addEventListener("click", (event) => { event.preventDefault(); reach(all, part); });
  }
  carried.element.before(...all.slice(0, carried.number - 1).map((part) => part.element));
  carried.element.after(...all.slice(carried.number).map((part) => part.element));
  if (carried.number > 1) carried.element.scrollIntoView();
  document.querySelector("[data-parts-links]")?.remove();
}

/** This page's address with other parameters. */
export function address(parameters) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(parameters)) query.set(name, value);
  return `?${query}`;
}

function watch(holder, all) {
  const near = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const part = all.find(({ element }) => element === entry.target);
      if (!entry.isIntersecting) near.delete(part);
      else if (part.segments) observer.unobserve(part.element);
      else {
        near.add(part);
        setTimeout(() => { if (near.delete(part)) load(all, part); }, STAY_MS);
      }
    }
  }, { rootMargin: NEAR });
  for (const part of all) if (!part.segments) observer.observe(part.element);
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "f") loadAll(holder, all);
  });
}

/** The browser's own search finds what is in the page. Who opens it asks for all, also for what has just failed. */
async function loadAll(holder, all) {
  const rest = all.filter((part) => !part.segments);
  if (!rest.length) return;
  for (const part of rest) if (part.rests !== Infinity) part.rests = 0;
  toast({ text: holder.dataset.all, tone: "info" });
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (rest.length && await load(all, rest.shift()));
  }));
}

/** By its link: what was focused is gone then, and the first thing in its place takes over. */
async function reach(all, part) {
  if (await load(all, part, true)) part.segments[0]?.element.querySelector("button").focus({ preventScroll: true });
}

async function bring(all, part, told) {
  const { holder, link } = { holder: part.element.parentElement, link: part.element.querySelector("a") };
  if (told) say(holder.dataset.loading, part);
  part.element.ariaBusy = "true";
  try {
    const answer = await fetch(`${holder.dataset.url.replace(/0$/, part.number)}?${holder.dataset.query}`);
    if (answer.redirected) location.reload(); // signed out meanwhile: to sign in, and back
    if (answer.status === 409) return outdated(all, holder.dataset.changed);
    if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
    put(part, await answer.text());
    if (told) say(holder.dataset.loaded, part);
    return true;
  } catch {
    part.rests = performance.now() + REST_MS;
    link.textContent = holder.dataset.again.replace("%s", clock(part.from));
    say(holder.dataset.again, part);
    return false;
  } finally {
    part.element.ariaBusy = null;
  }
}

/** Somebody has corrected the transcript: the parts that are not here may begin elsewhere now. */
function outdated(all, text) {
  if (!all.some(({ rests }) => rests === Infinity)) toast({ text, tone: "bad" });
  for (const part of all) part.rests = Infinity;
  return false;
}

function put(part, html) {
  const focused = part.element.contains(document.activeElement);
  part.element.innerHTML = html;
  part.element.style.minBlockSize = "";
  part.element.removeAttribute("data-pending");
  part.element.style.containIntrinsicBlockSize = `auto ${part.element.offsetHeight}px`;
  read(part);
  if (focused) part.segments[0]?.element.querySelector("button").focus({ preventScroll: true });
}

function say(words, part) {
  document.querySelector("[data-parts-status]").textContent = words.replace("%s", clock(part.from));
}

/** 4:05, or 1:02:03. */
function clock(seconds) {
  const [hours, minutes, rest] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
