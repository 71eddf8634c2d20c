"""Calibration: an engine's confidence → the share of words that are right at it.

A posterior in a word lattice, or a decoder's mean token probability, is no probability of being right. Each engine may
declare a monotone map, measured by `benchmarks/confidence.py`; a monotone map keeps the order, so that it ranks as
before, and makes the numbers mean something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml.stt.engines.base import EngineCapabilities, Hypothesis
from ml.types import Segment

Points = Sequence[tuple[float, float]]
"""(raw, share right), rising in both; what lies between two is interpolated."""


def without_noise_words(hypothesis: Hypothesis, capabilities: EngineCapabilities) -> Hypothesis:
    """What was heard in noise, without the words that the engine itself takes for unlikely."""
    kept = tuple(word for word in hypothesis.words if word.confidence >= capabilities.noise_word_confidence)
    if len(kept) == len(hypothesis.words):
        return hypothesis
    seconds = sum(word.end - word.start for word in kept)
    confidence = sum(word.confidence * (word.end - word.start) for word in kept) / seconds if seconds else 0.0
    return replace(hypothesis, text=" ".join(word.text for word in kept), words=kept, confidence=confidence)


def calibrate(confidence: float, points: Points) -> float:
    """0–1 → 0–1; without points the same."""
    if not points:
        return confidence
    raw, right = zip(*points, strict=True)
    return round(float(np.interp(confidence, raw, right)), 4)


def calibrate_segment(segment: Segment, capabilities: EngineCapabilities) -> Segment:
    """The segment's confidence is then the mean of its words', weighted by duration, where it has words."""
    points = capabilities.confidence_map
    if not points:
        return segment
    words = tuple(replace(word, confidence=calibrate(word.confidence, points)) for word in segment.words)
    seconds = sum(word.end - word.start for word in words)
    if not seconds:
        return replace(segment, words=words, confidence=calibrate(segment.confidence, points))
    mean = sum(word.confidence * (word.end - word.start) for word in words) / seconds
    return replace(segment, words=words, confidence=round(mean, 4))
