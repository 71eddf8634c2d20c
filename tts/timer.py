"""What a synthesis takes, and what of it is billed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from analytics.services import Metered
from jobs.monitor import Watch
from ml.types import AudioChunk
from tts.models import TtsJob


class Timer:
    """Measures what passes: the engine's seconds, the audio's, and the characters spoken."""

    def __init__(self, job: TtsJob, watch: Watch | None = None) -> None:
        self._job, self._watch = job, watch
        self._started = time.perf_counter()
        self.engine_seconds = 0.0
        self.first_chunk_seconds: float | None = None
        self.audio_seconds = 0.0
        self.characters = 0

    def timed(self, chunks: Iterator[AudioChunk]) -> Iterator[AudioChunk]:
        while True:
            started = time.perf_counter()
            chunk = next(chunks, None)
            self.engine_seconds += time.perf_counter() - started
            if chunk is None:
                return
            if self.first_chunk_seconds is None:
                self.first_chunk_seconds = time.perf_counter() - self._started
            self.audio_seconds += chunk.duration_seconds
            self.characters += len(chunk.text)
            self._job.metered = self.metered(self.characters)
            if self._watch is not None:
                self._watch.report(min(0.99, self.characters / self._job.characters), "synthesize")
            yield chunk

    def metered(self, characters: int) -> Metered:
        """What was used, with so many of the job's characters billed."""
        return Metered(
            model=self._job.model,
            characters=min(characters, self._job.characters),
            audio_seconds=self.audio_seconds,
            compute_seconds=self.engine_seconds,
        )

    def timings(self) -> dict[str, float]:
        """Seconds: until the first audio, in the engine, and in all (encoding and storing included)."""
        return {
            "first_audio": round(self.first_chunk_seconds or 0.0, 4),
            "engine": round(self.engine_seconds, 4),
            "total": round(time.perf_counter() - self._started, 4),
        }
