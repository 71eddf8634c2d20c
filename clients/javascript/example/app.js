import { SpeechStream, listen, play } from "./client/index.js";

const at = (id) => document.getElementById(id);
let listening = null;
let playback = null;

at("listen").addEventListener("click", () => (listening ? listening.stop() : run(hear)));
at("speaking").addEventListener("submit", (event) => {
  event.preventDefault();
  if (playback) playback.stop();
  else run(speak);
});

async function hear() {
  at("listen").textContent = "Stop";
  try {
    const token = await (await post("/token")).json();
    listening = await listen(token.websocket_url, { language: "en-US" });
    for await (const event of listening) {
      if (event.type === "partial") at("open").textContent = event.text;
      if (event.type === "final") {
        at("open").textContent = "";
        at("final").append(event.text, " ");
      }
    }
  } finally {
    listening = null;
    at("listen").textContent = "Listen";
  }
}

async function speak() {
  at("speak").textContent = "Stop";
  try {
    playback = play(new SpeechStream(await post("/speak", at("text").value)));
    await playback.finished;
    document.body.dataset.spokenSeconds = playback.seconds.toFixed(2);
  } finally {
    playback = null;
    at("speak").textContent = "Speak";
  }
}

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body });
  if (!answer.ok) throw new Error((await answer.json()).message);
  return answer;
}

async function run(work) {
  at("problem").textContent = "";
  try {
    await work();
  } catch (error) {
    at("problem").textContent = error.message;
  }
}
