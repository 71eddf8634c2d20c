// Speech to text: uploads, two at a time, then how far their jobs are, as the server tells.

import { csrfToken } from "./toasts.js";

const AT_ONCE = 2;
const form = document.querySelector("[data-listen]");
const drop = form.querySelector("[data-drop]");
const list = form.querySelector("[data-uploads]");
const words = form.querySelector("[data-words]").dataset;
const waiting = [];
const jobs = new Map();
const heard = new Map(); // the last event of each job
let sending = 0;
let events = null, ready = false;

form.querySelector("[data-files]").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); add(event.dataTransfer.files); });
form.addEventListener("submit", (event) => event.preventDefault());

function add(files) {
  for (const file of files) {
    const item = form.querySelector("[data-upload]").content.firstElementChild.cloneNode(true);
    item.querySelector("[data-name]").textContent = file.name;
    list.prepend(item);
    if (file.size > Number(form.dataset.most)) fail(item, form.dataset.tooLarge);
    else waiting.push({ file, item });
  }
  if (!events) listen();
  next();
}

function next() {
  while (ready && sending < AT_ONCE && waiting.length) send(waiting.shift());
}

function send({ file, item }) {
  sending += 1;
  const body = new FormData(form);
  body.append("audio_file", file);
  const request = new XMLHttpRequest(); // fetch tells nothing of an upload's progress
  request.open("POST", form.action);
  request.setRequestHeader("X-CSRFToken", csrfToken());
  request.upload.addEventListener("progress", (event) => show(item, words.sending, 0.5 * event.loaded / (event.total || 1)));
  request.addEventListener("loadend", () => {
    sending -= 1;
    next();
    const answer = parsed(request.responseText);
    if (request.status === 202) queued(item, answer);
    else fail(item, answer?.error?.message || words.failed);
  });
  request.send(body);
}

function queued(item, answer) {
  const link = item.querySelector("[data-open]");
  link.href = answer.url;
  link.hidden = false;
  jobs.set(answer.job_id, item);
  show(item, words.queued, 0.5);
  if (heard.has(answer.job_id)) update(heard.get(answer.job_id)); // it was quicker than its answer
}

/** Hears of jobs from before the first is made, so that none ends unheard. */
function listen() {
  events = new EventSource("/api/v1/jobs/events?task=stt");
  const begin = () => { ready = true; next(); };
  events.addEventListener("snapshot", (event) => {
    JSON.parse(event.data).jobs.forEach(update);
    begin();
  });
  events.addEventListener("error", begin);
  for (const name of ["queued", "started", "progress", "succeeded", "failed", "cancelled"]) {
    events.addEventListener(`job.${name}`, (event) => update(JSON.parse(event.data)));
  }
}

function update(job) {
  heard.set(job.job_id, job);
  const item = jobs.get(job.job_id);
  if (!item) return;
  if (job.status === "queued") show(item, words.queued, 0.5);
  else if (job.status === "processing") show(item, words.working, 0.5 + job.progress / 2);
  else if (job.status === "succeeded") ended(job.job_id, item, words.done);
  else fail(item, job.error?.message || words.failed, job.job_id);
}

function ended(id, item, note) {
  show(item, note, 1);
  jobs.delete(id);
  document.getElementById("latest").dispatchEvent(new Event("refresh"));
}

function fail(item, note, id = "") {
  show(item, note, 1);
  item.classList.add("failed");
  item.querySelector("progress").hidden = true;
  jobs.delete(id);
}

function show(item, note, share) {
  item.querySelector("[data-note]").textContent = note;
  item.querySelector("progress").value = share;
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}
