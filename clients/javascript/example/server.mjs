// A page that listens and speaks. The key stays here: the page gets a token for each session, and audio.
//
//   SPEECH_URL=http://localhost:8000 SPEECH_API_KEY=sp_… node example/server.mjs      # PORT, default 3000

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Readable } from "node:stream";

import { Speech, SpeechError } from "../src/index.js";

const MOST_CHARACTERS = 2000;
const FILES = /^\/(?:client\/[a-z.]+\.js|app\.js|page\.css)?$/;
const TYPES = { js: "text/javascript", css: "text/css", html: "text/html; charset=utf-8" };

const speech = new Speech();
const server = createServer((request, response) => {
  answer(request, response).catch((error) => refuse(response, error));
});
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`http://localhost:${server.address().port}`);
});

async function answer(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  if (request.method === "GET" && FILES.test(pathname)) return sendFile(pathname, response);
  const origin = `http://${request.headers.host}`;
  if (request.method !== "POST" || request.headers.origin !== origin) return end(response, 404, { message: "Nothing here." });
  if (pathname === "/token") return end(response, 200, await speech.clientToken({ allowedOrigins: [origin] }));
  if (pathname === "/speak") return speak(await read(request), response);
  return end(response, 404, { message: "Nothing here." });
}

async function speak(text, response) {
  const left = new AbortController();
  response.on("close", () => left.abort());
  const audio = await speech.synthesize(text, { format: "pcm", sample_rate: 24_000, signal: left.signal });
  response.writeHead(200, { "Content-Type": audio.contentType, "X-Sample-Rate": String(audio.sampleRate) });
  Readable.from(audio).on("error", () => response.destroy()).pipe(response);
}

async function sendFile(pathname, response) {
  const name = pathname === "/" ? "./index.html" : pathname.startsWith("/client/") ? `../src/${pathname.slice(8)}` : `.${pathname}`;
  const content = await readFile(new URL(name, import.meta.url)).catch(() => null);
  if (!content) return end(response, 404, { message: "Nothing here." });
  response.writeHead(200, { "Content-Type": TYPES[name.split(".").pop()] }).end(content);
}

async function read(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > MOST_CHARACTERS) throw new SpeechError({ message: "The text is too long." }, 413);
  }
  return text;
}

function refuse(response, error) {
  if (response.headersSent) return response.destroy();
  if (!(error instanceof SpeechError)) console.error(error);
  end(response, error.status ?? 502, { message: error instanceof SpeechError ? error.message : "The platform cannot be reached." });
}

function end(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}
