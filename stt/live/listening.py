"""Somebody's live session, for any protocol: its place, its job, its quota and the recogniser behind one object.

    listening = await Listening.open(actor=actor, start=Start(options={"language_hint": "en"}))
    await listening.push(data)               # waits where the engine is behind
    listening.finalize(); listening.stop()
    async for event in listening.events():   # of ml.stt.live, `Closed` last: by then the job has ended
        ...
    await listening.close()                  # always: frees everything, also where the client was lost

Once `Closed` has been told, `ended_by` says why it ended, and `failure` with which error, if with one.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from django.conf import settings

from accounts.actors import Actor
from common import context, errors
from common.concurrency import in_thread
from ml.stt import live
from ml.types import Caller
from stt.live.session import LiveJob, open_job, places

WATCH_SECONDS = 0.5

EndedBy = Literal["stopped", "idle", "too_long", "draining", "failed", "aborted"]


@dataclass(frozen=True, slots=True)
class Start:
    """How to hear."""

    options: dict[str, Any] = field(default_factory=dict)
    """Of TranscriptionOptions, those that the request names; the rest are the organisation's (`with_defaults`)."""
    sound: dict[str, Any] = field(default_factory=dict)  # encoding, sample_rate, interim_results
    endpointing: live.Endpointing = field(default_factory=live.Endpointing)
    keep_audio: bool = False  # with the job, for as long as the organisation keeps audio


class Listening:
    """Made by `open`. Of one event loop."""

    def __init__(self, job: LiveJob, session: live.AsyncLiveSession, idle_seconds: float) -> None:
        self.job = job
        self.ended_by: EndedBy | None = None
        self.failure: BaseException | None = None
        self._session = session
        self._idle_seconds = idle_seconds
        self._active_at = time.monotonic()
        self._closed = False
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def open(
        cls, *, actor: Actor, start: Start, session_id: uuid.UUID | None = None, idle_seconds: float | None = None
    ) -> Self:
        """Begins to listen. session_id: what the job will be called; of a client token that opens one session.

        Raises `ml.errors.InvalidRequest` and its kinds for what no model can do; QuotaExceeded; RateLimited where there
        are too many sessions; PermissionDenied for a session that was opened before.
        """
        organization_id = str(actor.organization.id)
        places.take(organization_id)
        opening = asyncio.ensure_future(in_thread(open_job, actor=actor, options=start.options, session_id=session_id))
        try:
            job = await asyncio.shield(opening)
        except BaseException:
            # The thread goes on where only the waiting for it was broken off: what it opens is closed again.
            opening.add_done_callback(lambda done: _close_unused(done, organization_id))
            raise
        context.job_id.set(str(job.job.id))
        options = live.LiveOptions(
            transcription=job.options,
            endpointing=start.endpointing,
            max_seconds=settings.STT_LIVE_MAX_SECONDS,
            **start.sound,
        )
        if start.keep_audio:
            job.record(options.encoding, options.sample_rate)
        caller = Caller(tenant=organization_id, priority="realtime")
        try:
            session = live.AsyncLiveSession.start(options, caller=caller, on_heard=job.heard)
        except BaseException as error:
            await _close_job(job, error)
            raise
        job.job.model = session.session.resolution.model.name  # also of one in which nobody says anything
        return cls(job, session, idle_seconds or settings.STT_LIVE_IDLE_SECONDS)

    @property
    def options(self) -> live.LiveOptions:
        return self._session.session.options

    @property
    def audio_seconds(self) -> float:
        """Heard, and billed, so far."""
        return self.job.audio_seconds

    async def push(self, data: bytes) -> None:
        """Takes sound; waits for room. Raises TooLarge, and `TooFarBehind` where there is no room for long."""
        most = settings.STT_LIVE_MAX_MESSAGE_BYTES
        if len(data) > most:
            raise errors.TooLarge(f"A message holds at most {most:,} bytes of audio.", code="message_too_large")
        self.touch()
        self.job.keep(data)
        await self._session.push(data)
        self.touch()

    def touch(self) -> None:
        """The client is there, if only silent."""
        self._active_at = time.monotonic()

    def finalize(self) -> None:
        """Ends the utterance under way; `Finalized` is told when its final has been."""
        self.touch()
        self._session.finalize()

    def clear(self) -> None:
        """Forgets the utterance under way and the sound that waits; `Cleared` is told when that is done."""
        self.touch()
        self._session.clear()

    def stop(self, why: EndedBy = "stopped") -> None:
        """Hears the rest, tells the last finals and closes."""
        self.ended_by = self.ended_by or why
        self._session.stop()

    async def events(self) -> AsyncIterator[live.LiveEvent]:
        """All that is understood. To be iterated once."""
        async for event in self._session:
            if isinstance(event, live.Final):
                self.job.wrote(event)
            elif isinstance(event, live.Failed):
                self.failure = event.error
            elif isinstance(event, live.Closed):
                await self._end(event)
            yield event

    async def close(self, failure: BaseException | None = None) -> None:
        """Frees everything. A session that has not ended is aborted: its client was lost, or `failure` says why."""
        if self._closed:
            return
        self._closed = True
        self._watching.cancel()
        self._session.abort()
        await _close_job(self.job, self.failure or failure)

    def limit(self) -> errors.RateLimited | None:
        """What to tell a client whose session a limit has ended."""
        if self.ended_by == "too_long":
            seconds = settings.STT_LIVE_MAX_SECONDS
            return errors.RateLimited(f"A session hears at most {seconds:,} seconds.", code="session_too_long")
        return idle(self._idle_seconds) if self.ended_by == "idle" else None

    async def _end(self, closed: live.Closed) -> None:
        self.job.audio_seconds = closed.audio_seconds
        if self.failure is not None:
            self.ended_by = "failed"
            await in_thread(self.job.close, self.failure)
        elif closed.reason == "aborted":
            self.ended_by = "aborted"
        else:
            self.ended_by = "too_long" if closed.reason == "too_long" else self.ended_by or "stopped"
            session = self._session.session
            await in_thread(self.job.succeed, session.stages, session.quality)

    async def _watch(self) -> None:
        """Ends a session from which nothing comes any more, or whose job somebody cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self.job.cancelled.is_set():
                self.failure = self.failure or self.job.stopped()
                self._session.abort()
                return
            if time.monotonic() - self._active_at > self._idle_seconds:
                self.stop("idle")
                return


def idle(seconds: float) -> errors.RateLimited:
    """Of a client that says nothing for so long."""
    return errors.RateLimited(f"Nothing came for {seconds:g} seconds.", code="session_idle")


async def _close_job(job: LiveJob, error: BaseException | None) -> None:
    try:
        await in_thread(job.close, error)
    finally:
        places.give_back(str(job.job.organization_id))


def _close_unused(opening: asyncio.Future[LiveJob], organization_id: str) -> None:
    """Of a job for which nobody waited any more, or that could not be opened."""
    if opening.cancelled() or opening.exception() is not None:
        places.give_back(organization_id)
        return
    closing = asyncio.ensure_future(_close_job(opening.result(), None))
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()  # the loop keeps no strong reference of its own
