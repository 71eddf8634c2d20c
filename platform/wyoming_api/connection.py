"""One client of a port: its events in turn, the answers to them from tasks that hear and speak meanwhile."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ClassVar

from django.conf import settings
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped

from common import context, errors, outages
from common.concurrency import in_thread
from sockets.consumer import describe
from wyoming_api import programs, protocol
from wyoming_api.hearing import Hearing
from wyoming_api.identity import Identity
from wyoming_api.speaking import Narration, Reading

log = logging.getLogger("wyoming")

SEND_SECONDS = 10.0
"""A client that does not read for so long is taken for lost."""
LINGER_SECONDS = 1.0
_CHUNK_BYTES = 16 * 1024


class Lost(Exception):
    """The client has gone."""


class Connection:
    """`run` serves the client until it leaves, and raises nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, identity: Identity) -> None:
        self._reader, self._writer, self._identity = reader, writer, identity
        self._sending = asyncio.Lock()
        self._wanted = Transcribe()
        self._hearing: Hearing | None = None
        self._narration: Narration | None = None
        self._answering: asyncio.Task[None] | None = None  # hears or speaks
        self._reading: asyncio.Task[Event | None] | None = None
        self._draining = False

    async def run(self) -> None:
        context.request_id.set(uuid.uuid4().hex)
        context.origin.set(context.Origin(_address(self._writer), "wyoming"))
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._serve()
        except* Lost:
            pass
        except* Exception as group:
            failure = _first(group)
        finally:
            await self._end(failure)

    def drain(self) -> None:
        """The process stops: what was heard is told, and nothing more taken."""
        if self._hearing is not None:
            self._hearing.stop(draining=True)
        if self._narration is not None and not self._narration.stopped:
            self._narration.stop()
        self._draining = True
        if self._reading is not None:
            self._reading.cancel()

    # ── What clients say ────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self) -> None:
        while (event := await self._next()) is not None:
            handler = self._HANDLERS.get(event.type)
            if handler is not None:  # others are dropped, as the protocol has it
                await handler(self, event)
        answer = self._narration or self._hearing
        if answer is not None and not answer.stopped:
            raise Lost  # in the middle of what it said; one that has said all may close its side and listen on

    async def _next(self) -> Event | None:
        """What the client says next; None when it has said all. While it waits for us it may be silent."""
        if self._draining:
            return None
        answer = self._narration or self._hearing
        seconds = None if answer is not None and answer.stopped else settings.WYOMING_IDLE_SECONDS
        self._reading = asyncio.create_task(protocol.read(self._reader))
        try:
            done, _ = await asyncio.wait({self._reading}, timeout=seconds)
        finally:
            self._reading.cancel()
        if not done:
            await asyncio.wait({self._reading})  # one reads at a time, and more is read before the end
            raise errors.RateLimited(f"Nothing came for {seconds} seconds.", code="session_idle")
        return None if self._reading.cancelled() else self._reading.result()

    async def _describe(self, event: Event) -> None:
        await self.tell(await in_thread(programs.info))

    async def _ping(self, event: Event) -> None:
        await self.tell(Pong(text=protocol.parsed(Ping.from_event, event).text))

    async def _transcribe(self, event: Event) -> None:
        self._wanted = protocol.parsed(Transcribe.from_event, event)

    async def _audio_start(self, event: Event) -> None:
        sound = protocol.parsed(AudioStart.from_event, event)
        await self._previous()
        options = protocol.transcription_options(self._wanted)
        actor = await in_thread(self._identity.actor, "stt")
        self._hearing = await Hearing.open(actor=actor, options=options, sound=sound)
        self._answering = self._tasks.create_task(self._hear(self._hearing))

    async def _audio_chunk(self, event: Event) -> None:
        chunk = protocol.parsed(AudioChunk.from_event, event)
        if self._hearing is None:
            raise errors.InvalidRequest("Sound begins with `audio-start`.", code="not_started")
        await self._hearing.push(chunk)

    async def _audio_stop(self, event: Event) -> None:
        if self._hearing is not None:
            self._hearing.stop()

    async def _synthesize(self, event: Event) -> None:
        """A whole text. Within a text that is being written it comes for older servers only."""
        wanted = protocol.parsed(Synthesize.from_event, event)
        if self._narration is not None and not self._narration.stopped:
            return
        await self._previous()
        options = protocol.synthesis_options(wanted.voice, wanted.text_format)
        actor = await in_thread(self._identity.actor, "tts")
        reading = await Reading.open(actor=actor, text=protocol.text_of(wanted.text), options=options)
        try:
            await self._play(reading.sound(), reading.sample_rate)
        finally:
            await reading.close()

    async def _synthesize_start(self, event: Event) -> None:
        wanted = protocol.parsed(SynthesizeStart.from_event, event)
        await self._previous()
        options = protocol.synthesis_options(wanted.voice, wanted.text_format)
        actor = await in_thread(self._identity.actor, "tts")
        self._narration = await Narration.open(actor=actor, options=options)
        self._answering = self._tasks.create_task(self._narrate(self._narration))

    async def _synthesize_chunk(self, event: Event) -> None:
        wanted = protocol.parsed(SynthesizeChunk.from_event, event)
        if self._narration is None or self._narration.stopped:
            raise errors.InvalidRequest("A text begins with `synthesize-start`.", code="not_started")
        await self._narration.push(protocol.text_of(wanted.text))

    async def _synthesize_stop(self, event: Event) -> None:
        if self._narration is not None and not self._narration.stopped:
            self._narration.stop()

    _HANDLERS: ClassVar[dict[str, Callable[[Connection, Event], Awaitable[None]]]] = {
        Describe().event().type: _describe,
        Ping().event().type: _ping,
        Transcribe().event().type: _transcribe,
        "audio-start": _audio_start,
        "audio-chunk": _audio_chunk,
        AudioStop().event().type: _audio_stop,
        "synthesize": _synthesize,
        SynthesizeStart().event().type: _synthesize_start,
        "synthesize-chunk": _synthesize_chunk,
        SynthesizeStop().event().type: _synthesize_stop,
    }

    # ── What they are told ──────────────────────────────────────────────────────────────────────────────────────────

    async def tell(self, answer: Eventable) -> None:
        """Raises Lost."""
        try:
            async with self._sending, asyncio.timeout(SEND_SECONDS):
                await async_write_event(answer.event(), self._writer)
        except (ConnectionError, TimeoutError):
            raise Lost from None

    async def _hear(self, hearing: Hearing) -> None:
        await hearing.tell_all(self.tell)
        await hearing.close()
        self._hearing = None

    async def _narrate(self, narration: Narration) -> None:
        await self._play(narration.sound(), narration.sample_rate)
        await self.tell(SynthesizeStopped())
        await narration.close()
        self._narration = None

    async def _play(self, sound: AsyncIterator[bytes], rate: int) -> None:
        await self.tell(AudioStart(rate=rate, width=2, channels=1, timestamp=0))
        sent = 0
        async for piece in sound:
            for start in range(0, len(piece), _CHUNK_BYTES):
                part = piece[start : start + _CHUNK_BYTES]
                chunk = AudioChunk(rate=rate, width=2, channels=1, audio=part, timestamp=sent * 500 // rate)
                await self.tell(chunk)
                sent += len(part)
        await self.tell(AudioStop(timestamp=sent * 500 // rate))

    async def _previous(self) -> None:
        """One thing at a time: what was asked for before is answered first."""
        answer = self._narration or self._hearing
        if answer is not None and not answer.stopped:
            raise errors.InvalidRequest("What was begun before has not been stopped.", code="already_started")
        if self._answering is not None:
            await self._answering

    # ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _end(self, failure: BaseException | None) -> None:
        try:
            if failure is not None:
                await self._tell_failure(failure)
            if self._hearing is not None:
                await self._hearing.close(failure)
            if self._narration is not None:
                await self._narration.close(failure)
            if failure is not None:
                await self._let_read()
        except Exception:
            log.exception("a connection did not end cleanly")
        finally:
            self._writer.close()

    async def _tell_failure(self, failure: BaseException) -> None:
        outage = outages.recognise(failure)
        if outage is not None:
            log.error("request failed: %s", outages.reason(failure))
        _, body = describe(outage or failure)
        try:
            await self.tell(Error(text=body["message"], code=body["code"]))
        except Lost:
            log.info("nobody was left to hear of a failure", extra={"code": body["code"]})

    async def _let_read(self) -> None:
        """A socket that is closed with bytes unread takes back what was told last."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                self._writer.write_eof()
                while await self._reader.read(_CHUNK_BYTES):
                    pass
        except (OSError, TimeoutError):
            return


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _address(writer: asyncio.StreamWriter) -> str | None:
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else None
