// Client of the speech platform, for browsers and Node 20 and newer. It has no dependencies.
//
//   import { Speech } from "speech-platform-client";
//   const speech = new Speech({ url: "http://localhost:8000", apiKey: "sp_…" });
//   const { text } = await speech.transcribe(file);
//
// A page must not hold a key: its server does, and gives it tokens (`clientToken`) for `listen` and `connect`.

export { SpeechError, ConnectionFailed, SessionClosed } from "./errors.js";
export { Speech, SpeechStream } from "./speech.js";
export { LiveSession, connect } from "./live.js";
export { Microphone } from "./microphone.js";
export { Playback, play } from "./player.js";
export { Listening, listen } from "./listen.js";
