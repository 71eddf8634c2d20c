"""The recognition socket: sound comes in, one task tells what is understood."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from django.conf import settings

from accounts.actors import Access
from accounts.models import Role
from common import errors
from common.concurrency import in_thread
from ml.stt import live
from ml.types import Caller
from sockets.consumer import LIMITS, NORMAL, RESTART, Socket, describe
from stt.live import protocol
from stt.live.session import LiveJob, open_job, places

WATCH_SECONDS = 1.0


class StreamSocket(Socket):
    """`WS /api/v1/stt/stream`."""

    access: ClassVar[Access] = Access(role=Role.DEVELOPER, scope="stt")

    _job: LiveJob | None = None
    _session: live.AsyncLiveSession | None = None
    _telling: asyncio.Task[None] | None = None
    _watching: asyncio.Task[None] | None = None
    _place: str | None = None
    _failure: BaseException | None = None
    _close_with = (NORMAL, "stopped")

    async def opened(self) -> None:
        self._active_at = time.monotonic()
        self._watching = asyncio.create_task(self._watch())

    # ── What clients say ────────────────────────────────────────────────────────────────────────────────────────────

    async def received_text(self, text: str) -> None:
        message = protocol.parse(text)
        self._active_at = time.monotonic()
        if message.start is not None:
            return await self._start(message.start)
        session = self._started_session()
        if message.type == "finalize":
            session.finalize()
        elif message.type == "stop":
            session.stop()

    async def received_bytes(self, data: bytes) -> None:
        session = self._started_session()
        if len(data) > settings.STT_LIVE_MAX_MESSAGE_BYTES:
            raise errors.TooLarge(
                f"A message holds at most {settings.STT_LIVE_MAX_MESSAGE_BYTES:,} bytes of audio.",
                code="message_too_large",
            )
        self._active_at = time.monotonic()
        await session.push(data)
        self._active_at = time.monotonic()

    def _started_session(self) -> live.AsyncLiveSession:
        if self._session is None:
            raise errors.InvalidRequest("The first message must be `start`.", code="not_started", param="type")
        return self._session

    async def _start(self, start: protocol.Start) -> None:
        if self._place is not None:
            raise errors.InvalidRequest("The session has started already.", code="already_started", param="type")
        organization_id = str(self.actor.organization.id)
        places.take(organization_id)
        self._place = organization_id
        token = self.admission.token
        session_id = token.session_id if token else None
        self._job = await in_thread(open_job, actor=self.actor, start=start, session_id=session_id)
        options = live.LiveOptions(
            transcription=self._job.options,
            endpointing=start.endpointing,
            max_seconds=settings.STT_LIVE_MAX_SECONDS,
            **start.sound,
        )
        caller = Caller(tenant=organization_id, priority="realtime")
        self._session = live.AsyncLiveSession.start(options, caller=caller, on_heard=self._job.heard)
        self._telling = asyncio.create_task(self._tell_all(self._session, self._job))

    # ── What they are told ──────────────────────────────────────────────────────────────────────────────────────────

    async def _tell_all(self, session: live.AsyncLiveSession, job: LiveJob) -> None:
        try:
            async for event in session:
                await self._tell(event, session, job)
        except Exception as error:
            await self.fail(error)

    async def _tell(self, event: live.LiveEvent, session: live.AsyncLiveSession, job: LiveJob) -> None:
        if isinstance(event, live.Final):
            job.wrote(event)
        message = protocol.told(event)
        if message is not None:
            await self.send_json(message)
        elif isinstance(event, live.Ready):
            await self._say_ready(event, session, job)
        elif isinstance(event, live.Failed):
            self._failure = event.error
        elif isinstance(event, live.Closed):
            await self._complete(event, session, job)

    async def _say_ready(self, event: live.Ready, session: live.AsyncLiveSession, job: LiveJob) -> None:
        options = session.session.options
        await self.send_json(
            {
                "type": "ready",
                "session_id": str(job.job.id),
                "model": event.model,
                "language": event.language,
                "encoding": options.encoding,
                "sample_rate": options.sample_rate,
            }
        )

    async def _complete(self, closed: live.Closed, session: live.AsyncLiveSession, job: LiveJob) -> None:
        """Ends the job, says so and closes."""
        job.audio_seconds = closed.audio_seconds
        if self._failure is not None:
            await self._send_usage(job)
            return await self.fail(self._failure)
        if closed.reason == "aborted":
            return None
        await in_thread(job.succeed, session.session.stages)
        code, reason = self._close_with
        if closed.reason == "too_long":
            error = errors.RateLimited(
                f"A session hears at most {settings.STT_LIVE_MAX_SECONDS:,} seconds.", code="session_too_long"
            )
            await self.send_json(self.error_message(describe(error)[1]))
            code, reason = LIMITS, "session_too_long"
        await self._send_usage(job)
        await self.send_json({"type": "closed", "reason": reason})
        await self.finish(code, reason)

    async def _send_usage(self, job: LiveJob) -> None:
        await self.send_json({"type": "usage", "audio_seconds": round(job.audio_seconds, 3)})

    # ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        """Ends a session from which nothing comes any more, or that somebody cancelled."""
        while not self.gone:
            await asyncio.sleep(WATCH_SECONDS)
            if self._job is not None and self._job.cancelled.is_set() and self._session is not None:
                self._session.abort()
                return await self.fail(errors.Conflict("The session was cancelled.", code="job_cancelled"))
            if time.monotonic() - self._active_at > settings.STT_LIVE_IDLE_SECONDS:
                idle = f"Nothing came for {settings.STT_LIVE_IDLE_SECONDS} seconds; `keepalive` holds a session open."
                return await self.fail(errors.RateLimited(idle, code="session_idle"))

    async def fail(self, error: BaseException) -> None:
        self._failure = error
        await super().fail(error)

    async def drain(self) -> None:
        if self._session is None or self._telling is None:
            return await super().drain()
        self._close_with = (RESTART, "the server restarts")
        self._session.stop()
        await asyncio.wait([self._telling])

    async def ended(self) -> None:
        current = asyncio.current_task()
        for task in (self._watching, self._telling):
            if task is not None and task is not current:
                task.cancel()
        if self._session is not None:
            self._session.abort()
        try:
            if self._job is not None:
                await in_thread(self._job.close, self._failure)
        finally:
            if self._place is not None:
                places.give_back(self._place)
                self._place = None
