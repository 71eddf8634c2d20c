"""Whether a recording has one speaker, and whether two are of the same: by embeddings where a model for them is
installed, else by pitch and vocal tract, which tell a man from a woman but not two brothers. Results say by which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import SAMPLE_RATE
from ml.stt.helpers import base as helpers
from ml.stt.helpers.speakers import SpeakerEmbedder, similarity
from ml.stt.known_speakers import SIMILARITY, TASK
from ml.tts.cloning.profile import SpeakerProfile, distance, measure
from ml.types import PcmSamples, Samples

ToldBy = Literal["embedding", "acoustic"]

_WINDOW_SECONDS = 3.0
_LEAST_SHARE = 0.2  # of the recording, that a second speaker has; less is a slip of the measurement
_APART_SIMILARITY = 0.35  # of the means of two groups of embeddings
_APART_SEMITONES, _APART_TRACT_PERCENT, _APART_CLEARLY = 5.0, 4.0, 2.0
_SAME_SEMITONES, _SAME_TRACT_PERCENT = 5.0, 8.0
_COMPARED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    several: bool
    told_by: ToldBy


@dataclass(frozen=True, slots=True)
class Match:
    """How alike two recordings are: by embedding the cosine, by acoustic measures `Distance.similarity`."""

    score: float
    same: bool
    told_by: ToldBy


def count(pieces: Sequence[PcmSamples]) -> Verdict:
    """Whether several people speak. pieces: stretches of speech, each (T,) int16 at 16 kHz."""
    windows = [window for piece in pieces for window in _windows(piece)]
    embedder: SpeakerEmbedder | None = helpers.helper(TASK)
    if embedder is not None:
        return Verdict(_are_two([embedder.embed(window) for window in windows]), "embedding")
    profiles = [profile for window in windows if (profile := measure(to_float(window))) is not None]
    return Verdict(_sound_like_two(profiles), "acoustic")


def compare(one: PcmSamples, other: PcmSamples) -> Match | None:
    """Two recordings of one speaker each; None: there is too little in one of them."""
    longest = round(_COMPARED_SECONDS * SAMPLE_RATE)
    one, other = one[:longest], other[:longest]
    embedder: SpeakerEmbedder | None = helpers.helper(TASK)
    if embedder is not None:
        score = similarity(embedder.embed(one), embedder.embed(other))
        return Match(round(score, 3), score >= SIMILARITY, "embedding")
    first, second = measure(to_float(one)), measure(to_float(other))
    if first is None or second is None:
        return None
    apart = distance(first, second)
    same = apart.pitch <= _SAME_SEMITONES and apart.vocal_tract <= _SAME_TRACT_PERCENT
    return Match(round(apart.similarity, 3), same, "acoustic")


def to_float(samples: PcmSamples) -> Samples:
    """int16 → float32 in [-1, 1]."""
    return (samples / np.float32(32768)).astype(np.float32)


def _windows(piece: PcmSamples) -> list[PcmSamples]:
    """About `_WINDOW_SECONDS` each; what is left over goes to the last."""
    length = round(_WINDOW_SECONDS * SAMPLE_RATE)
    return list(np.array_split(piece, max(1, len(piece) // length))) if len(piece) >= length // 3 else []


def _are_two(embeddings: Sequence[NDArray[np.float32]]) -> bool:
    """Each of a window, and of length 1."""
    if len(embeddings) < 2:
        return False
    voices = np.stack(embeddings)
    likeness = voices @ voices.T
    first, second = np.unravel_index(likeness.argmin(), likeness.shape)
    belongs = likeness[:, second] > likeness[:, first]
    if min(belongs.mean(), 1 - belongs.mean()) < _LEAST_SHARE:
        return False
    means = [voices[group].mean(axis=0) for group in (belongs, ~belongs)]
    return similarity(*(mean / np.linalg.norm(mean) for mean in means)) < _APART_SIMILARITY


def _sound_like_two(profiles: Sequence[SpeakerProfile]) -> bool:
    """Whether windows fall into two groups that differ in pitch, clearly more than within each, and in vocal tract."""
    if len(profiles) < 4:
        return False
    order = sorted(profiles, key=lambda profile: profile.pitch_hz)
    semitones = 12 * np.log2([profile.pitch_hz for profile in order])
    tracts = np.array([profile.vocal_tract_cm for profile in order])
    least = max(1, round(_LEAST_SHARE * len(order)))
    cuts = range(least, len(order) - least + 1)
    cut = min(cuts, key=lambda at: _spread(semitones[:at]) ** 2 * at + _spread(semitones[at:]) ** 2 * (len(order) - at))
    low, high = semitones[:cut], semitones[cut:]
    apart = float(high.mean() - low.mean())
    shorter = 100 * abs(float(np.median(tracts[:cut]) / np.median(tracts[cut:])) - 1)
    within = max(_spread(low), _spread(high), 0.5)
    return apart >= _APART_SEMITONES and apart >= 2 * _APART_CLEARLY * within and shorter >= _APART_TRACT_PERCENT


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std())
