"""Sound → transcript, as a live session: what was said so far is told while the client still speaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioFormat
from wyoming.event import Eventable

from accounts.actors import Actor
from common import errors
from ml.stt import live
from stt.live.listening import Listening, Start

MAX_CHANNELS = 8

Tell = Callable[[Eventable], Awaitable[None]]


class Hearing:
    """From `audio-start` to `transcript`. Made by `open`; `tell_all` runs in a task of its own, and `close` frees."""

    def __init__(self, listening: Listening, sound: AudioFormat) -> None:
        self._listening, self._sound = listening, sound
        self._finals: list[str] = []
        self._language: str | None = None
        self.stopped = False

    @classmethod
    async def open(cls, *, actor: Actor, options: dict[str, Any], sound: AudioFormat) -> Hearing:
        """Raises InvalidRequest, and what `Listening.open` raises."""
        _check(sound)
        start = Start(
            options, {"encoding": "pcm_s16le", "sample_rate": sound.rate, "interim_results": False}, live.Endpointing()
        )
        return cls(await Listening.open(actor=actor, start=start), sound)

    async def push(self, chunk: AudioChunk) -> None:
        if (chunk.rate, chunk.width, chunk.channels) != (self._sound.rate, self._sound.width, self._sound.channels):
            raise errors.InvalidRequest("The sound changed its format under way.", code="audio_format")
        if not self.stopped:
            await self._listening.push(_to_mono(chunk))

    def stop(self, *, draining: bool = False) -> None:
        self.stopped = True
        self._listening.stop("draining" if draining else "stopped")

    async def tell_all(self, tell: Tell) -> None:
        """Until the transcript has been told. Raises what ended the session before."""
        async for event in self._listening.events():
            if isinstance(event, live.Ready):
                await tell(TranscriptStart(language=event.language))
            elif isinstance(event, live.Final) and event.text:
                await tell(TranscriptChunk(text=f" {event.text}" if self._finals else event.text))
                self._finals.append(event.text)
                self._language = event.language
            elif isinstance(event, live.Closed):
                await self._tell_end(tell)

    async def _tell_end(self, tell: Tell) -> None:
        failure = self._listening.failure or self._listening.limit()
        if failure is not None:
            raise failure
        if self._listening.ended_by != "aborted":
            await tell(Transcript(text=" ".join(self._finals), language=self._language))
            await tell(TranscriptStop())

    async def close(self, failure: BaseException | None = None) -> None:
        await self._listening.close(failure)


def _check(sound: AudioFormat) -> None:
    """Rates are the recogniser's to judge."""
    numbers = (sound.rate, sound.width, sound.channels)
    if not all(isinstance(number, int) for number in numbers):
        raise errors.InvalidRequest("rate, width and channels are whole numbers.", code="audio_format")
    if sound.width != 2 or not 1 <= sound.channels <= MAX_CHANNELS:
        raise errors.InvalidRequest(
            f"Sound has 2 bytes a sample and 1 to {MAX_CHANNELS} channels.", code="audio_format", param="width"
        )


def _to_mono(chunk: AudioChunk) -> bytes:
    if chunk.channels == 1:
        return chunk.audio
    frame = 2 * chunk.channels
    samples = np.frombuffer(chunk.audio[: len(chunk.audio) // frame * frame], "<i2").reshape(-1, chunk.channels)
    return samples.mean(axis=1).astype("<i2").tobytes()
