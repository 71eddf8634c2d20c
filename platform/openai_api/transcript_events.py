"""A transcription as server-sent events: `transcript.text.delta`, `transcript.text.segment`, `transcript.text.done`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from ml.types import Segment
from openai_api import errors, rendering, sse
from openai_api.rendering import Transcript
from stt.streaming import TranscriptStream

KEEP_ALIVE_SECONDS = 15.0


@dataclass
class Narrator:
    """Tells a transcript piece by piece: the deltas joined are the text."""

    diarized: bool = False  # with segments, and who speaks
    with_logprobs: bool = False
    with_languages: bool = False
    known_speakers: Collection[str] = ()
    _told: list[Segment] = field(default_factory=list)

    def segment(self, segment: Segment) -> list[dict[str, Any]]:
        """The events of the next segment."""
        begins = not self._told
        self._told.append(segment)
        delta: dict[str, Any] = {
            "type": "transcript.text.delta",
            "delta": segment.text if begins else f" {segment.text}",
        }
        if self.with_logprobs:
            delta["logprobs"] = rendering.logprobs([segment], begins=begins)
        if not self.diarized:
            return [delta]
        own = rendering.diarized(self._told, self.known_speakers)[-1]
        return [{**delta, "segment_id": own["id"]}, own]

    def done(self, transcript: Transcript) -> dict[str, Any]:
        done: dict[str, Any] = {"type": "transcript.text.done", "text": transcript.text}
        if self.with_languages:
            done["languages"] = rendering.languages(transcript)
        if self.with_logprobs:
            done["logprobs"] = rendering.logprobs(transcript.segments)
        return {**done, "usage": rendering.usage(transcript)}


def events_of(transcript: Transcript, narrator: Narrator) -> Iterator[bytes]:
    """Of a transcript that is there."""
    for segment in transcript.segments:
        yield from map(sse.event, narrator.segment(segment))
    yield sse.event(narrator.done(transcript))


class LiveEvents:
    """Of a transcript that is being made. What goes wrong is an event too. Closing it stops the computing."""

    def __init__(self, stream: TranscriptStream, narrator: Narrator) -> None:
        self._stream, self._narrator = stream, narrator
        self._waiting: deque[dict[str, Any]] = deque()
        self._ended = False

    def __aiter__(self) -> LiveEvents:
        return self

    async def __anext__(self) -> bytes:
        if not self._waiting and not self._ended:
            try:
                await self._next()
            except TimeoutError:
                return sse.KEEP_ALIVE
        if not self._waiting:
            raise StopAsyncIteration
        return sse.event(self._waiting.popleft())

    def close(self) -> None:
        self._stream.close()

    async def _next(self) -> None:
        """Waits for the next segment, and puts its events, or the last one, into the queue."""
        try:
            segment = await asyncio.wait_for(anext(self._stream), KEEP_ALIVE_SECONDS)
        except StopAsyncIteration:
            self._ended = True
            self._waiting.append(self._narrator.done(rendering.transcript_of(self._stream.job)))
        except TimeoutError:
            raise
        except Exception as error:
            self._ended = True
            self._waiting.append(errors.event(error))
        else:
            self._waiting.extend(self._narrator.segment(segment))
