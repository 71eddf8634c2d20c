"""Fits the embedded synthesiser to a speaker: it speaks, is measured as the speaker was, and is moved towards them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ml import errors
from ml.tts.cloning.profile import Distance, SpeakerProfile, distance, measure
from ml.tts.engines.base import EQUALISER_HZ, Adaptation
from ml.types import Samples

ROUNDS = 5

NEUTRAL = Adaptation(82.0, 118.0, 1.0, 1.0, (0.0,) * len(EQUALISER_HZ))
"""espeak-ng as it is."""

_LOWEST_HZ = (55.0, 320.0)
_RANGE = (1.1, 1.8)  # highest / lowest: wider, and a recogniser mishears words
_FORMANTS = (0.9, 1.14)  # beyond, a recogniser mishears vowels
_SPEED = (0.8, 1.3)
_LOUDEST_DB = 12.0  # that the equaliser lifts or lowers a band by
_EXTENT_DB = 45.0  # below its loudest band a recording holds nothing that could be copied
_SMOOTHING = np.array([0.25, 0.5, 0.25])

Speak = Callable[[Adaptation], Samples]
"""Speaks the same text each time, at `profile.RATE`."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How near the synthesiser comes to a speaker."""

    adaptation: Adaptation
    before: Distance  # of the synthesiser as it is
    after: Distance


def fit(target: SpeakerProfile, speak: Speak, *, cancel: threading.Event | None = None) -> Fit:
    """The adaptation that comes nearest in `ROUNDS` steps. Raises `Cancelled`, `EngineFailed` and what `speak` does."""
    heard = _heard(NEUTRAL, speak, cancel)
    tried = [(NEUTRAL, distance(heard, target))]
    for _ in range(ROUNDS):
        moved = _moved(tried[-1][0], heard, target)
        heard = _heard(moved, speak, cancel)
        tried.append((moved, distance(heard, target)))
    best, after = min(tried, key=lambda attempt: attempt[1].whole)
    return Fit(best, tried[0][1], after)


def _heard(adaptation: Adaptation, speak: Speak, cancel: threading.Event | None) -> SpeakerProfile:
    if cancel is not None and cancel.is_set():
        raise errors.Cancelled("The request was cancelled.")
    heard = measure(speak(adaptation))
    if heard is None:
        raise errors.EngineFailed("The synthesiser said nothing that could be measured.")
    return heard


def _moved(now: Adaptation, heard: SpeakerProfile, target: SpeakerProfile) -> Adaptation:
    """One step nearer, all measures at once."""
    higher = target.pitch_hz / heard.pitch_hz
    spread = now.highest_hz / now.lowest_hz
    wider = np.clip(target.pitch_range / max(heard.pitch_range, 1.0), 0.7, 1.4)
    spread_wanted = float(np.clip(spread**wider, *_RANGE))
    middle = np.sqrt(now.lowest_hz * now.highest_hz) * higher
    return replace(
        now,
        lowest_hz=float(np.clip(middle / np.sqrt(spread_wanted), *_LOWEST_HZ)),
        highest_hz=float(middle * np.sqrt(spread_wanted)),
        formants=float(np.clip(now.formants * heard.vocal_tract_cm / target.vocal_tract_cm, *_FORMANTS)),
        speed=float(np.clip(now.speed * _tempo(heard, target), *_SPEED)),
        equaliser_db=_equaliser(now, heard, target),
    )


def _tempo(heard: SpeakerProfile, target: SpeakerProfile) -> float:
    if min(heard.syllables_per_second, target.syllables_per_second) < 0.5:
        return 1.0
    return float(np.clip(target.syllables_per_second / heard.syllables_per_second, 0.8, 1.25))


def _equaliser(now: Adaptation, heard: SpeakerProfile, target: SpeakerProfile) -> tuple[float, ...]:
    wanted, have = np.array(target.colour_db), np.array(heard.colour_db)
    gains = np.array(now.equaliser_db) + wanted - have
    recorded = wanted > wanted.max() - _EXTENT_DB
    last = int(np.flatnonzero(recorded)[-1])
    gains[last + 1 :] = gains[last]  # what the microphone or the telephone cut off is not the voice's
    padded = np.pad(gains, 1, mode="edge")
    smooth = np.clip(np.convolve(padded, _SMOOTHING, mode="valid"), -_LOUDEST_DB, _LOUDEST_DB)
    return tuple(round(float(gain), 2) for gain in smooth)
