"""The embedded recogniser: PocketSphinx with the US-English model that its wheel carries.

`process_raw` holds the GIL for the whole of a window, so decoders live in worker processes. Search settings are the
model's own: wider and narrower beams, language weights, word insertion penalties and gain control were measured and
either cost words or far more time than the words they saved (see `benchmarks/stt_engine.py`).
"""

from __future__ import annotations

import itertools
import math
import os
import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml import errors
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.types import Word
from ml.workers import WorkerPool

MODEL_NAME = "pocketsphinx-en-us"
MEMORY_BYTES = 2 << 30
"""Address space of a decoder: the mapped model takes about 150 MB, the lattice of a hard window some more."""

SECONDS_PER_AUDIO_SECOND = 10
"""Time granted: forty times what clean speech takes."""

NOISE_CONFIDENCE = 0.05
"""Measured: music that passed for speech came out at 0.005, the hardest of 75 windows of real speech at 0.09."""

NOISE_WORD_CONFIDENCE = 0.15
"""Measured in noise: leaving out words under 0.1 to 0.3 takes out far more wrong words than right ones."""

_VARIANT = re.compile(r"\(\d+\)$")  # "to(2)" is the second pronunciation of "to"
_FILLER_STARTS = ("<", "[", "+")  # <s>, <sil>, [NOISE], ++SMACK++
_FRAMES_PER_SECOND = 100
_PATHS_A_TEXT = 5  # paths through the lattice that differ in silences and pronunciations only
_SCORE_SCALE = 1024 / 6.5
"""The library shifts its logarithms right by 10 bits, and its own language model counts 6.5 times in them."""


class PocketSphinx:
    """Recognises US English in up to `processes` child processes, started when first needed."""

    def __init__(self, *, processes: int | None = None) -> None:
        size = processes or os.cpu_count() or 1
        self._pool = WorkerPool("ml.stt.engines.pocketsphinx:Decoder", size=size, memory_bytes=MEMORY_BYTES)
        self.capabilities = EngineCapabilities(
            languages=frozenset({"en"}),
            max_window_seconds=20.0,
            concurrency=size,
            word_times=True,
            word_confidences=True,
            noise_confidence=NOISE_CONFIDENCE,
            noise_word_confidence=NOISE_WORD_CONFIDENCE,
            alternatives=True,
        )

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        return [self._recognise(window, cancel) for window in windows]

    def close(self) -> None:
        self._pool.close()

    @property
    def pool(self) -> WorkerPool:
        return self._pool

    def _recognise(self, window: Window, cancel: threading.Event | None) -> Hypothesis:
        if window.task != "transcribe" or window.language not in (None, "en"):
            raise errors.InvalidRequest("The embedded recogniser only transcribes English.", param="language_hint")
        limit = 30 + SECONDS_PER_AUDIO_SECOND * len(window.samples) / 16_000
        pcm = np.ascontiguousarray(window.samples).tobytes()
        words, others = self._pool.call("decode_n_best", pcm, window.alternatives, cancel=cancel, timeout_seconds=limit)
        heard = to_hypothesis([Word(text, start, end, confidence) for text, start, end, confidence in words])
        alternatives = tuple(Hypothesis(text, (), heard.confidence, score=score) for text, score in others)
        return replace(heard, alternatives=alternatives)


def to_hypothesis(words: Sequence[Word]) -> Hypothesis:
    """Joins words; the confidence is the mean of theirs, weighted by their durations."""
    return Hypothesis(" ".join(word.text for word in words), tuple(words), mean_confidence(words))


def mean_confidence(words: Sequence[Word]) -> float:
    """Word confidences averaged over speaking time, so that a slurred "a" counts less than a long word; 0 of none."""
    seconds = sum(word.end - word.start for word in words)
    return sum(word.confidence * (word.end - word.start) for word in words) / seconds if seconds else 0.0


class Decoder:
    """What runs in the worker process."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder as SphinxDecoder

        self._decoder = SphinxDecoder(loglevel="FATAL")

    def decode_n_best(
        self, pcm: bytes, count: int
    ) -> tuple[list[tuple[str, float, float, float]], list[tuple[str, float]]]:
        """What `decode` gives, and up to `count` different texts with their scores, the best first."""
        words = self.decode(pcm)
        texts: dict[str, float] = {}
        if count and words:
            for entry in itertools.islice(self._decoder.nbest(), count * _PATHS_A_TEXT):
                if entry.hypstr and entry.score > 0 and len(texts) < count:
                    texts.setdefault(entry.hypstr, math.log(entry.score) * _SCORE_SCALE)
        return words, list(texts.items())

    def decode(self, pcm: bytes) -> list[tuple[str, float, float, float]]:
        """16 kHz mono s16le → (word, start seconds, end seconds, posterior probability in the word lattice)."""
        if not pcm:  # which the library refuses
            return []
        with warnings.catch_warnings():
            # Called unnecessary, but it alone resets the noise tracker: without it a result depends on what this
            # decoder heard before. The cepstral mean is the utterance's own, by `full_utt`.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._decoder.start_stream()
        self._decoder.start_utt()
        try:
            self._decoder.process_raw(pcm, full_utt=True)
        finally:
            self._decoder.end_utt()
        duration = len(pcm) / 2 / 16_000
        segments = self._decoder.seg() or ()
        return [
            (
                _VARIANT.sub("", segment.word),
                min(duration, segment.start_frame / _FRAMES_PER_SECOND),
                min(duration, (segment.end_frame + 1) / _FRAMES_PER_SECOND),
                min(1.0, max(0.0, segment.prob)),
            )
            for segment in segments
            if not segment.word.startswith(_FILLER_STARTS)
        ]
