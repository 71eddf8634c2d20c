"""Speech without silence before its first word and behind its last, while it is being made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ml.tts import delivery
from ml.types import AudioChunk, PcmSamples, SpokenMark, SpokenWord

_KEPT_SECONDS = 0.05


def trimmed(chunks: Iterator[AudioChunk]) -> Iterator[AudioChunk]:
    """chunks: all of one rate. Silence at the end of one is held until it is known that another follows."""
    held: PcmSamples = np.zeros(0, dtype=np.int16)
    begun, rate = False, 0
    for chunk in chunks:
        rate = chunk.sample_rate
        samples, first = chunk.samples, 0
        if not begun and samples.any():
            first = max(0, delivery.heard(samples)[0] - round(_KEPT_SECONDS * rate))
            samples, begun = samples[first:], True
        elif not begun:  # silence before the first word
            samples, first = samples[:0], len(samples)
        before = len(held)
        samples = np.concatenate([held, samples])
        end = delivery.heard(samples)[1] if samples.any() else 0
        held = samples[end:]
        yield _moved(replace(chunk, samples=samples[:end]), (before - first) / rate)
    if begun:
        yield AudioChunk(held[: round(_KEPT_SECONDS * rate)], rate, "")


def _moved(chunk: AudioChunk, seconds: float) -> AudioChunk:
    if not seconds or not (chunk.words or chunk.marks):
        return chunk
    words = tuple(
        SpokenWord(word.text, max(0.0, word.start + seconds), max(0.0, word.end + seconds)) for word in chunk.words
    )
    marks = tuple(SpokenMark(mark.name, max(0.0, mark.time + seconds)) for mark in chunk.marks)
    return replace(chunk, words=words, marks=marks)
