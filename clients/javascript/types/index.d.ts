export { Microphone } from "./microphone.js";
export { SpeechError, ConnectionFailed, SessionClosed } from "./errors.js";
export { Speech, SpeechStream } from "./speech.js";
export { LiveSession, connect } from "./live.js";
export { Playback, play } from "./player.js";
export { Listening, listen } from "./listen.js";
