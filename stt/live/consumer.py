"""The recognition socket: sound comes in, one task tells what is understood."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings

from common import errors
from ml.stt import live
from sockets.consumer import NORMAL, RESTART
from stt.live import protocol
from stt.live.listening import Listening, Start, idle
from stt.live.socket import ListeningSocket


class StreamSocket(ListeningSocket):
    """`WS /api/v1/stt/stream`."""

    name = "stt"

    _started_listening = False
    _waiting: asyncio.Task[None] | None = None

    async def opened(self) -> None:
        self._waiting = asyncio.create_task(self._await_start())

    # ── What clients say ────────────────────────────────────────────────────────────────────────────────────────────

    async def received_text(self, text: str) -> None:
        message = protocol.parse(text)
        if message.start is not None:
            return await self._start(message.start)
        listening = self._session()
        listening.touch()
        if message.type == "finalize":
            listening.finalize()
        elif message.type == "stop":
            listening.stop()

    async def received_bytes(self, data: bytes) -> None:
        await self._session().push(data)

    def _session(self) -> Listening:
        if self._listening is None:
            raise errors.InvalidRequest("The first message must be `start`.", code="not_started", param="type")
        return self._listening

    async def _start(self, start: Start) -> None:
        if self._started_listening:
            raise errors.InvalidRequest("The session has started already.", code="already_started", param="type")
        self._started_listening = True
        self._telling = asyncio.create_task(self._tell_all(await self._listen(start)))

    # ── What they are told ──────────────────────────────────────────────────────────────────────────────────────────

    async def _tell_all(self, listening: Listening) -> None:
        try:
            async for event in listening.events():
                if isinstance(event, live.Ready):
                    await self.send_json(_ready(event, listening))
                elif isinstance(event, live.Closed):
                    await self._say_closed(listening)
                elif (message := protocol.told(event)) is not None:
                    await self.send_json(message)
        except Exception as error:
            await self.fail(error)

    async def _say_closed(self, listening: Listening) -> None:
        """What was billed, and why it ended: a `closed`, or an error."""
        await self.send_json({"type": "usage", "audio_seconds": round(listening.audio_seconds, 3)})
        error = listening.failure or listening.limit()
        if error is not None:
            return await self.fail(error)
        reason = listening.ended_by or "aborted"
        await self.send_json({"type": "closed", "reason": reason})
        await self.finish(RESTART if reason == "draining" else NORMAL, reason)

    # ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _await_start(self) -> None:
        await asyncio.sleep(settings.STT_LIVE_IDLE_SECONDS)
        if not self._started_listening:
            await self.fail(idle(settings.STT_LIVE_IDLE_SECONDS))

    async def ended(self) -> None:
        if self._waiting is not None and self._waiting is not asyncio.current_task():
            self._waiting.cancel()
        await super().ended()


def _ready(event: live.Ready, listening: Listening) -> dict[str, Any]:
    return {
        "type": "ready",
        "session_id": str(listening.job.job.id),
        "model": event.model,
        "language": event.language,
        "encoding": listening.options.encoding,
        "sample_rate": listening.options.sample_rate,
    }
