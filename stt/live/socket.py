"""A socket that one recognition session belongs to, whatever protocol it speaks."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from accounts.actors import Access
from accounts.models import Role
from sockets.consumer import Socket
from stt.live.listening import Listening, Start


class ListeningSocket(Socket):
    """Protocols open the session with `_listen`, and tell what is understood in the task `_telling`."""

    access: ClassVar[Access] = Access(role=Role.DEVELOPER, scope="stt")

    _listening: Listening | None = None
    _telling: asyncio.Task[None] | None = None
    _failure: BaseException | None = None

    async def _listen(self, start: Start) -> Listening:
        """Raises what `Listening.open` raises."""
        token = self.admission.token
        self._listening = await Listening.open(
            actor=self.actor, start=start, session_id=token.session_id if token else None
        )
        return self._listening

    async def fail(self, error: BaseException) -> None:
        self._failure = error
        await super().fail(error)

    async def drain(self) -> None:
        if self._listening is None or self._telling is None:
            return await super().drain()
        self._listening.stop("draining")
        await asyncio.wait([self._telling])

    async def ended(self) -> None:
        if self._telling is not None and self._telling is not asyncio.current_task():
            self._telling.cancel()
        if self._listening is not None:
            await self._listening.close(self._failure)
