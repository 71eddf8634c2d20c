"""The speech socket: one task speaks and sends, while messages come in.

Only the speaking task sends audio and what belongs to it, so that everything arrives in its order: after `cleared`
comes no sound of what was cleared.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeVar

from django.conf import settings

from accounts.actors import Access
from accounts.models import Role
from common import context, errors
from common.concurrency import in_request_context
from ml import audio
from ml.errors import Cancelled
from ml.tts.listening import Playback
from sockets.consumer import LIMITS, NORMAL, RESTART, Socket, describe
from tts.live import protocol
from tts.live.protocol import Message
from tts.live.session import Interrupt, SpeechSession, Spoken, open_session, places

FRAME_SECONDS = 0.25
"""Of audio, in one message at the most: how long a slow client keeps `clear` waiting."""

R = TypeVar("R")

# A thread is used while a sentence is computed or encoded, or the database asked; not while a client listens.
_threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="speech")


@dataclass(frozen=True, slots=True)
class _Flush:
    """All text before it has been spoken."""


@dataclass(frozen=True, slots=True)
class _Cleared:
    characters: int


@dataclass(frozen=True, slots=True)
class _Stop:
    code: int = NORMAL
    reason: str = "stopped"
    error: errors.ApiError | None = None  # why, where it was not the client's wish


class SpeechSocket(Socket):
    """`WS /api/v1/tts/stream`."""

    access: ClassVar[Access] = Access(role=Role.DEVELOPER, scope="tts")
    name = "tts"

    _session: SpeechSession | None = None
    _opening: asyncio.Future[SpeechSession] | None = None
    _speaking: asyncio.Task[None] | None = None
    _place: str | None = None
    _failure: BaseException | None = None
    _stopping = False
    _computing = ""  # the piece that is being computed, and so neither in the queue nor billed
    _generation = 0  # of the text: `clear` begins a new one
    _stalls_at: float | None = None  # time.monotonic(), when the unfinished sentence is spoken
    _max_ahead_seconds: float | None = None

    async def opened(self) -> None:
        self._queue: deque[str | _Flush | _Cleared | _Stop] = deque()
        self._wake = asyncio.Event()
        self._playback = Playback()
        self._opened_at = self._active_at = time.monotonic()
        self._speaking = asyncio.create_task(self._speak_all())

    # ── What clients say ────────────────────────────────────────────────────────────────────────────────────────────

    async def received_text(self, text: str) -> None:
        message = protocol.parse(text)
        self._active_at = time.monotonic()
        if self._stopping:
            return
        if message.type == "start":
            return await self._start(message)
        if self._session is None:
            raise errors.InvalidRequest("The first message must be `start`.", code="not_started", param="type")
        await self._HANDLERS[message.type](self, self._session, message)
        self._wake.set()

    async def received_bytes(self, data: bytes) -> None:
        raise errors.InvalidRequest("Text is sent as JSON in text messages.", code="malformed_message")

    async def _start(self, message: Message) -> None:
        if self._opening is not None:
            raise errors.InvalidRequest("The session has started already.", code="already_started", param="type")
        organization_id, start = str(self.actor.organization.id), message.start
        places.take(organization_id)
        self._place, self._max_ahead_seconds = organization_id, start.max_ahead_seconds
        cancel = Interrupt(partial(asyncio.get_running_loop().call_soon_threadsafe, self._wake.set))
        opening = partial(open_session, actor=self.actor, start=start, cancel=cancel)
        self._opening = asyncio.ensure_future(_in_thread(opening))
        self._session = await asyncio.shield(self._opening)
        context.job_id.set(str(self._session.job.id))
        job = self._session.job
        await self.send_json(
            {
                "type": "ready", "session_id": str(job.id), "voice": job.voice, "language": job.language,
                "model": job.model, "format": job.format, "sample_rate": job.sample_rate,
                "content_type": audio.CONTENT_TYPES[job.format],
            }
        )  # fmt: skip

    async def _speak(self, session: SpeechSession, message: Message) -> None:
        text, growing = message.fields["text"], session.narrator.text
        waiting = self._waiting_characters(session) + len(text)
        if waiting > settings.TTS_MAX_CHARACTERS:
            raise _limit(f"At most {settings.TTS_MAX_CHARACTERS:,} characters may wait to be spoken.", "text_too_long")
        total = session.characters + waiting
        if total > settings.TTS_LIVE_MAX_CHARACTERS:
            raise _limit(f"A session has at most {settings.TTS_LIVE_MAX_CHARACTERS:,} characters.", "session_too_long")
        if session.needs_reservation(total):
            await _in_thread(session.reserve, total)
        if not (self._queue or self._computing or session.narrator.listener.ahead_seconds):
            growing.reopen()
        growing.push(text)
        while (piece := growing.take()) is not None:
            self._queue.append(piece)
        self._stalls_at = None
        if growing.waiting and settings.TTS_LIVE_FLUSH_SECONDS:
            self._stalls_at = time.monotonic() + settings.TTS_LIVE_FLUSH_SECONDS

    async def _flush(self, session: SpeechSession, message: Message) -> None:
        self._speak_rest(session)
        self._queue.append(_Flush())

    async def _clear(self, session: SpeechSession, message: Message) -> None:
        dropped = self._waiting_characters(session)
        self._forget_text(session)
        self._queue.append(_Cleared(dropped))

    async def _stop(self, session: SpeechSession, message: Message) -> None:
        self._speak_rest(session)
        self._queue.append(_Stop())
        self._stopping = True

    async def _keepalive(self, session: SpeechSession, message: Message) -> None:
        """That it came was noted."""

    _HANDLERS: ClassVar[dict[str, Callable[[SpeechSocket, SpeechSession, Message], Awaitable[None]]]] = {
        "speak": _speak, "flush": _flush, "clear": _clear, "stop": _stop, "keepalive": _keepalive,
    }  # fmt: skip

    def _waiting_characters(self, session: SpeechSession) -> int:
        """Accepted, and not billed yet."""
        queued = sum(len(item) for item in self._queue if isinstance(item, str))
        return session.narrator.text.waiting + queued + len(self._computing)

    def _speak_rest(self, session: SpeechSession) -> None:
        self._queue.extend(session.narrator.text.take_all())
        self._stalls_at = None

    def _forget_text(self, session: SpeechSession) -> None:
        session.narrator.text.clear()
        session.narrator.listener.forget()
        self._playback.forget()
        self._queue.clear()
        self._computing = ""
        self._generation += 1
        self._stalls_at = None

    # ── What is spoken ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _speak_all(self) -> None:
        try:
            going = True
            while going:
                going = await self._step(await self._next())
                self._active_at = time.monotonic()
        except Exception as error:
            await self.fail(error)

    async def _next(self) -> str | _Flush | _Cleared | _Stop:
        """What is to be done next; waits for it."""
        while True:
            now = time.monotonic()
            if self._session is not None and self._session.cancelled:
                raise Cancelled("The session was cancelled.")
            if now - self._opened_at > settings.TTS_LIVE_MAX_SECONDS:
                limit = f"A session lasts {settings.TTS_LIVE_MAX_SECONDS} seconds at the most."
                return _Stop(LIMITS, "session_too_long", _limit(limit, "session_too_long"))
            if self._queue:
                return self._queue.popleft()
            if self._session is not None and self._stalls_at is not None and now >= self._stalls_at:
                self._speak_rest(self._session)
                continue
            idle_at = self._active_at + self._playback.ahead_seconds + settings.TTS_LIVE_IDLE_SECONDS
            if now >= idle_at:
                limit = f"Nothing came for {settings.TTS_LIVE_IDLE_SECONDS} seconds; send `keepalive`."
                return _Stop(LIMITS, "idle_timeout", _limit(limit, "idle_timeout"))
            lasts_until = self._opened_at + settings.TTS_LIVE_MAX_SECONDS
            await self._woken(min(idle_at, lasts_until, self._stalls_at or idle_at) - now)

    async def _step(self, item: str | _Flush | _Cleared | _Stop) -> bool:
        """Whether anything may follow."""
        if isinstance(item, _Stop):
            await self._complete(item)
            return False
        session = self._session
        if session is None:  # only for the type checker: without a session nothing is queued
            return False
        if isinstance(item, str):
            await self._say(session, item)
        elif isinstance(item, _Flush):
            await self._send_audio(await _in_thread(session.end_utterance))
            await self.send_json({"type": "flushed", "position": round(session.duration_seconds, 3)})
            await self._send_usage(session)
        else:
            position = round(session.duration_seconds, 3)
            await self.send_json({"type": "cleared", "characters": item.characters, "position": position})
        return True

    async def _say(self, session: SpeechSession, piece: str) -> None:
        generation = self._generation
        is_first = not session.narrator.listener.ahead_seconds
        self._computing = piece
        spoken = await _in_thread(session.speak, piece)
        if generation != self._generation:
            return  # cleared before anything of it was sent: not billed
        self._computing = ""
        session.delivered(spoken)
        if not len(spoken.samples):
            return
        if is_first:
            await self.send_json({"type": "audio_started", "position": round(spoken.start, 3)})
        await self.send_json(
            {"type": "sentence", "text": spoken.text, "start": round(spoken.start, 3), "end": round(spoken.end, 3)}
        )
        await self._send_sound(session, spoken, generation)

    async def _send_sound(self, session: SpeechSession, spoken: Spoken, generation: int) -> None:
        rate = session.job.sample_rate
        length = round(FRAME_SECONDS * rate)
        for at in range(0, len(spoken.samples), length):
            await self._until_due(session, generation)
            if generation != self._generation or self.gone:
                return
            part = spoken.samples[at : at + length]
            await self._send_audio(await _in_thread(session.encode, part))
            self._playback.gets(len(part) / rate)

    async def _until_due(self, session: SpeechSession, generation: int) -> None:
        """Waits while the client has more to hear than it wants to have at once."""
        if self._max_ahead_seconds is None:
            return
        while (early := self._playback.ahead_seconds - self._max_ahead_seconds) > 0:
            if generation != self._generation:
                return
            if session.cancelled:
                raise Cancelled("The session was cancelled.")
            await self._woken(early)

    async def _woken(self, seconds: float) -> None:
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()

    async def _send_audio(self, data: bytes) -> None:
        if data:
            await self.send_bytes(data)

    async def _send_usage(self, session: SpeechSession) -> None:
        await self.send_json({"type": "usage", "characters": session.characters})

    # ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _complete(self, stop: _Stop) -> None:
        """Ends the audio and the job, says so and closes."""
        session = self._session
        if session is not None:
            await self._send_audio(await _in_thread(session.finish))
            await _in_thread(session.succeed)
        if stop.error is not None:
            await self.send_json(self.error_message(describe(stop.error)[1]))
        if session is not None:
            await self._send_usage(session)
        await self.send_json({"type": "closed", "reason": stop.reason})
        await self.finish(stop.code, stop.reason)

    async def fail(self, error: BaseException) -> None:
        self._failure = error
        await super().fail(error)

    async def drain(self) -> None:
        if self._session is None or self._speaking is None:
            return await super().drain()
        self._forget_text(self._session)
        self._queue.append(_Stop(RESTART, "the server restarts"))
        self._stopping = True
        self._wake.set()
        await asyncio.wait([self._speaking])

    async def ended(self) -> None:
        if self._speaking is not None and self._speaking is not asyncio.current_task():
            self._speaking.cancel()
        try:
            session = await self._opened_session()
            if session is not None:
                await _in_thread(partial(session.close, self._failure))
        finally:
            if self._place is not None:
                places.give_back(self._place)

    async def _opened_session(self) -> SpeechSession | None:
        """Also one that is only just being opened."""
        if self._opening is not None:
            with suppress(Exception):  # it was not opened, as the client was told
                return await self._opening
        return None


def _limit(message: str, code: str) -> errors.RateLimited:
    return errors.RateLimited(message, code=code, param="text" if code == "text_too_long" else None)


async def _in_thread(function: Callable[..., R], *args: Any) -> R:
    work = in_request_context(partial(function, *args))
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
