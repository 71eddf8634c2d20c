"""Live recognition: words while they are being spoken, over a WebSocket.

    with speech.stt.stream(sample_rate=16000) as session:
        session.feed(chunks)             # or session.send(chunk), …, session.stop()
        for event in session:
            if isinstance(event, Final):
                print(event.text)

`feed` takes any iterable of bytes and sends in the background; iterating ends when all of it has been heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, Unpack
from urllib.parse import urlsplit

import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from speech_client._http import without_none
from speech_client._reading import read
from speech_client.errors import ApiError, ConnectionFailed, SessionClosed, SpeechError, TimedOut, api_error
from speech_client.types import (
    Billed,
    Closed,
    Final,
    Finalized,
    LiveEvent,
    Partial,
    Ready,
    SpeechStarted,
    UtteranceEnd,
)

Encoding: TypeAlias = Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw", "opus"]

LARGEST_MESSAGE = 64 * 1024
OPEN_SECONDS = 20.0
_KINDS: dict[str, type[LiveEvent]] = {
    kind.type: kind for kind in (Ready, SpeechStarted, Partial, Final, UtteranceEnd, Finalized, Billed, Closed)
}
_REFUSALS = {
    4400: "invalid_request_error",
    4401: "authentication_error",
    4403: "permission_error",
    4429: "rate_limit_error",
}


class SessionOptions(TypedDict, total=False):
    """Of a live session."""

    encoding: Encoding  # default pcm_s16le
    sample_rate: int  # hertz, 8000–48000; default 16000
    language: str  # BCP-47
    model: str
    interim_results: bool  # default true
    hotwords: Sequence[str]
    prompt: str
    task: Literal["transcribe", "translate"]
    itn: bool
    punctuate: bool
    profanity_filter: bool
    redact: bool
    silence_seconds: float  # that end a segment
    max_utterance_seconds: float
    utterance_end_seconds: float
    keep_audio: bool


def start_message(options: dict[str, Any]) -> str:
    hotwords = options.get("hotwords")
    fields = without_none(**{**options, "hotwords": list(hotwords) if hotwords else None})
    return json.dumps({"type": "start", **fields})


def event_of(message: str | bytes) -> LiveEvent | None:
    """None for what this version does not know. Raises ApiError for an error."""
    data = json.loads(message)
    if data["type"] == "error":
        raise api_error(data["error"])
    kind = _KINDS.get(data["type"])
    return read(kind, data) if kind else None


def pieces(data: bytes) -> Iterator[bytes]:
    """Messages that the server takes."""
    for start in range(0, len(data), LARGEST_MESSAGE):
        yield data[start : start + LARGEST_MESSAGE]


def _opening_failed(url: str, error: Exception) -> ConnectionFailed:
    host = urlsplit(url).netloc
    if isinstance(error, TimeoutError):
        return TimedOut(f"{host} did not answer in time.")
    return ConnectionFailed(f"{host} opened no live session: {error}")


def _broken_off(closed: ConnectionClosed) -> SpeechError | None:
    """None for an orderly end."""
    code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "the connection broke off")
    if code in _REFUSALS:
        return api_error({"type": _REFUSALS[code], "code": reason, "message": f"The session was closed: {reason}."})
    return None if code == 1000 else SessionClosed(f"The session was closed: {reason or code}.", code)


class _Session:
    def __init__(self, url: str, headers: dict[str, str], **options: Unpack[SessionOptions]) -> None:
        self._url, self._headers, self._options = url, dict(headers), options
        self._agent = self._headers.pop("User-Agent", None)
        self.ready: Ready | None = None

    @property
    def session_id(self) -> str:
        """The id of the job that the session is."""
        if self.ready is None:
            raise RuntimeError("The session is not open: use it in a `with`.")
        return self.ready.session_id

    def _accept(self, message: str | bytes) -> None:
        event = event_of(message)
        if not isinstance(event, Ready):
            raise SessionClosed("The server did not begin the session.")
        self.ready = event


class LiveSession(_Session):
    """Of `Speech`. Sending and iterating may happen in different threads."""

    _socket: websockets.sync.client.ClientConnection
    _failure: BaseException | None = None  # of what feeds it

    def __enter__(self) -> LiveSession:
        self._open = contextlib.ExitStack()
        try:
            connecting = websockets.sync.client.connect(
                self._url, additional_headers=self._headers, user_agent_header=self._agent, open_timeout=OPEN_SECONDS,
                compression=None,
            )  # fmt: skip
            self._socket = self._open.enter_context(connecting)
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise _opening_failed(self._url, error) from error
        try:
            with contextlib.suppress(SessionClosed, ApiError):  # closed already: what it said before tells more
                self._command(start_message(dict(self._options)))
            self._accept(self._socket.recv(timeout=OPEN_SECONDS))
        except BaseException as error:
            self._open.close()
            raise _told(error, self._url) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def send(self, audio: bytes) -> None:
        """Some sound, of any length. Returns when the server has room for more."""
        for piece in pieces(audio):
            self._command(piece)

    def finalize(self) -> None:
        """Ends the segment now."""
        self._command('{"type": "finalize"}')

    def keepalive(self) -> None:
        """A sign of life while there is nothing to hear."""
        self._command('{"type": "keepalive"}')

    def stop(self) -> None:
        """The rest is heard, then iterating ends."""
        self._command('{"type": "stop"}')

    def feed(self, audio: Iterable[bytes]) -> None:
        """Sends all of it in the background, then stops. What goes wrong there is raised where events are read."""
        threading.Thread(target=self._feed, args=(audio,), daemon=True, name="speech-feed").start()

    def _feed(self, audio: Iterable[bytes]) -> None:
        try:
            for chunk in audio:
                self.send(chunk)
            self.stop()
        except (SessionClosed, ApiError):
            pass  # whoever reads the events is told
        except BaseException as error:
            self._failure = error
            self._socket.close()

    def _command(self, message: str | bytes) -> None:
        try:
            self._socket.send(message)
        except ConnectionClosed as closed:
            raise _broken_off(closed) or SessionClosed("The session has ended.", 1000) from closed

    def __iter__(self) -> Iterator[LiveEvent]:
        """Raises ApiError, SessionClosed."""
        try:
            while True:
                if event := event_of(self._socket.recv()):
                    yield event
        except ConnectionClosed as closed:
            if self._failure:
                raise self._failure from None
            if broken := _broken_off(closed):
                raise broken from closed


class AsyncLiveSession(_Session):
    """Of `AsyncSpeech`."""

    _socket: websockets.asyncio.client.ClientConnection
    _feeding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AsyncLiveSession:
        try:
            self._socket = await websockets.asyncio.client.connect(
                self._url, additional_headers=self._headers, user_agent_header=self._agent, open_timeout=OPEN_SECONDS,
                compression=None,
            )  # fmt: skip
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise _opening_failed(self._url, error) from error
        try:
            with contextlib.suppress(SessionClosed, ApiError):  # closed already: what it said before tells more
                await self._command(start_message(dict(self._options)))
            self._accept(await asyncio.wait_for(self._socket.recv(), OPEN_SECONDS))
        except BaseException as error:
            await self._socket.close()
            raise _told(error, self._url) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._feeding:
            self._feeding.cancel()
        await self._socket.close()

    async def send(self, audio: bytes) -> None:
        """Some sound, of any length. Returns when the server has room for more."""
        for piece in pieces(audio):
            await self._command(piece)

    async def finalize(self) -> None:
        """Ends the segment now."""
        await self._command('{"type": "finalize"}')

    async def keepalive(self) -> None:
        """A sign of life while there is nothing to hear."""
        await self._command('{"type": "keepalive"}')

    async def stop(self) -> None:
        """The rest is heard, then iterating ends."""
        await self._command('{"type": "stop"}')

    def feed(self, audio: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        """Sends all of it in the background, then stops. What goes wrong there is raised where events are read."""
        self._feeding = asyncio.create_task(self._feed(audio))

    async def _feed(self, audio: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        try:
            if isinstance(audio, AsyncIterable):
                async for chunk in audio:
                    await self.send(chunk)
            else:
                for chunk in audio:
                    await self.send(chunk)
            await self.stop()
        except (SessionClosed, ApiError):
            pass  # whoever reads the events is told
        except Exception:
            await self._socket.close()
            raise

    async def _command(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed as closed:
            raise _broken_off(closed) or SessionClosed("The session has ended.", 1000) from closed

    async def __aiter__(self) -> AsyncIterator[LiveEvent]:
        """Raises ApiError, SessionClosed."""
        try:
            while True:
                if event := event_of(await self._socket.recv()):
                    yield event
        except ConnectionClosed as closed:
            if self._feeding and self._feeding.done() and not self._feeding.cancelled():
                self._feeding.result()  # raises what went wrong there
            if broken := _broken_off(closed):
                raise broken from closed


def _told(error: BaseException, url: str) -> BaseException:
    """What happened before the session began."""
    if isinstance(error, ConnectionClosed):
        return _broken_off(error) or SessionClosed("The session was closed before it began.", 1000)
    return _opening_failed(url, error) if isinstance(error, TimeoutError) else error
