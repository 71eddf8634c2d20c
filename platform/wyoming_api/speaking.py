"""Text → sound: a whole text by `tts.services`, one that is still being written by a session of `tts.live`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from django.conf import settings

from accounts.actors import Actor
from common import errors
from common.concurrency import in_request_context
from common.streaming import in_thread as drawn_in_thread
from ml.types import SynthesisOptions
from tts import services
from tts.live.protocol import Start
from tts.live.session import Interrupt, SpeechSession, open_session, places
from tts.services import SynthesisRequest

FORMAT = "pcm"
"""16-bit little-endian, one channel."""

R = TypeVar("R")

_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="wyoming")


class Reading:
    """A whole text, as it is spoken. Made by `open`; `close` it whatever happens."""

    def __init__(self, sample_rate: int, pieces: AsyncIterator[bytes]) -> None:
        self.sample_rate, self._pieces = sample_rate, pieces

    @classmethod
    async def open(cls, *, actor: Actor, text: str, options: SynthesisOptions) -> Reading:
        """Raises what `tts.services.synthesize_stream` raises."""
        request = SynthesisRequest(text, options, FORMAT)
        job, pieces = await _in_thread(services.synthesize_stream, actor=actor, request=request)
        return cls(job.sample_rate, drawn_in_thread(pieces))

    def sound(self) -> AsyncIterator[bytes]:
        """To be iterated once."""
        return self._pieces

    async def close(self) -> None:
        """A job that has not ended was left by its client; what was spoken is billed."""
        await _in_thread(self._pieces.close)  # type: ignore[attr-defined]


class Narration:
    """A text that is still being written. Made by `open`; `close` it whatever happens."""

    def __init__(self, session: SpeechSession) -> None:
        self._session = session
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._characters = 0  # accepted so far
        self.sample_rate = session.job.sample_rate
        self.stopped = False

    @classmethod
    async def open(cls, *, actor: Actor, options: SynthesisOptions) -> Narration:
        """Raises what `tts.live.session.open_session` raises, and RateLimited where there are too many sessions."""
        if options.ssml:
            raise errors.InvalidRequest("SSML is spoken when it is whole: send `synthesize`.", code="parameter_invalid")
        organization_id = str(actor.organization.id)
        places.take(organization_id)
        try:
            opening = partial(open_session, actor=actor, start=Start(options, FORMAT, None))
            return cls(await _in_thread(opening, cancel=Interrupt(lambda: None)))
        except BaseException:
            places.give_back(organization_id)
            raise

    async def push(self, text: str) -> None:
        """The text goes on. Raises RateLimited for one that is too long, QuotaExceeded."""
        self._characters += len(text)
        if self._characters > settings.TTS_LIVE_MAX_CHARACTERS:
            raise errors.RateLimited(
                f"A text has at most {settings.TTS_LIVE_MAX_CHARACTERS:,} characters.", code="text_too_long"
            )
        if self._session.needs_reservation(self._characters):
            await _in_thread(self._session.reserve, self._characters)
        growing = self._session.narrator.text
        growing.push(text)
        while (piece := growing.take()) is not None:
            self._pieces.put_nowait(piece)

    def stop(self) -> None:
        """That was all: the rest is spoken."""
        self.stopped = True
        for piece in self._session.narrator.text.take_all():
            self._pieces.put_nowait(piece)
        self._pieces.put_nowait(None)

    async def sound(self) -> AsyncIterator[bytes]:
        """Of all pieces, until `stop`; then the job has ended. To be iterated once."""
        while (piece := await self._pieces.get()) is not None:
            spoken = await _in_thread(self._session.speak, piece)
            self._session.delivered(spoken)
            yield await _in_thread(self._session.encode, spoken.samples)
        yield await _in_thread(self._session.finish)
        await _in_thread(self._session.succeed)

    async def close(self, failure: BaseException | None = None) -> None:
        """A job that has not ended was left by its client, or failed; what was spoken is billed."""
        try:
            await _in_thread(self._session.close, failure)
        finally:
            places.give_back(str(self._session.job.organization_id))


async def _in_thread(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    work = in_request_context(partial(function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
