"""What is measured of a speaker without a model: pitch, vocal tract, tempo and colour; and how far two are apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.tts.cloning import pitch, spectrum
from ml.types import Samples

RATE = 16_000
"""Hertz; of what is measured."""

_LEAST_VOICED_SECONDS = 0.5
_DIP_DB, _SYLLABLE_SECONDS = 2.0, 0.1


@dataclass(frozen=True, slots=True)
class SpeakerProfile:
    """Of one speaker, from some seconds of speech."""

    pitch_hz: float  # median
    pitch_range: float  # semitones, from the 10th to the 90th percentile
    formants_hz: tuple[float, ...]  # medians
    vocal_tract_cm: float
    syllables_per_second: float  # of speech, pauses left out
    tilt_db: float  # an octave
    colour_db: tuple[float, ...]  # at `EQUALISER_HZ`
    cepstrum: tuple[float, ...]  # the mean of the mel-frequency cepstrum

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two speakers are apart."""

    pitch: float  # semitones
    pitch_range: float  # semitones
    vocal_tract: float  # percent
    tempo: float  # percent
    colour: float  # decibels, root mean square
    cepstrum: float  # decibels

    @property
    def whole(self) -> float:
        """One number: each measure in units of about what one tells two speakers of one sex apart by."""
        parts = np.array([self.pitch / 3, self.vocal_tract / 5, self.tempo / 20, self.colour / 6, self.cepstrum / 10])
        return float(np.sqrt(np.mean(np.square(parts))))

    @property
    def similarity(self) -> float:
        """0–1. No probability: 1 for the same numbers, about a half where two speakers of one sex are apart."""
        return float(np.exp(-self.whole * np.log(2)))


def measure(samples: Samples) -> SpeakerProfile | None:
    """(T,) at `RATE`; None: there is too little voiced speech in it."""
    hertz = pitch.track(samples, RATE)
    voiced = hertz > 0
    if voiced.sum() * pitch.HOP_SECONDS < _LEAST_VOICED_SECONDS:
        return None
    found = spectrum.formants(samples, RATE, voiced)
    if not found:
        return None
    powers, bins = spectrum.powers_of(samples, RATE, voiced)
    colour = spectrum.colour_db(powers, bins)
    low, median, high = np.percentile(hertz[voiced], (10, 50, 90))
    return SpeakerProfile(
        pitch_hz=float(median),
        pitch_range=float(12 * np.log2(high / low)),
        formants_hz=found,
        vocal_tract_cm=spectrum.vocal_tract_cm(found),
        syllables_per_second=syllable_rate(samples, voiced),
        tilt_db=spectrum.tilt_db(colour),
        colour_db=colour,
        cepstrum=spectrum.cepstrum(powers, bins),
    )


def distance(one: SpeakerProfile, other: SpeakerProfile) -> Distance:
    return Distance(
        pitch=abs(12 * float(np.log2(one.pitch_hz / other.pitch_hz))),
        pitch_range=abs(one.pitch_range - other.pitch_range),
        vocal_tract=100 * abs(one.vocal_tract_cm / other.vocal_tract_cm - 1),
        tempo=100 * abs(one.syllables_per_second / max(other.syllables_per_second, 0.1) - 1),
        colour=_rms(one.colour_db, other.colour_db),
        cepstrum=float(np.linalg.norm(np.subtract(one.cepstrum, other.cepstrum))),
    )


def syllable_rate(samples: Samples, voiced: NDArray[np.bool_]) -> float:
    """Voiced peaks of loudness a second of speech (De Jong, Wempe, "Praat script to detect syllable nuclei", 2009)."""
    hop = round(pitch.HOP_SECONDS * RATE)
    windows = np.lib.stride_tricks.sliding_window_view(samples, 4 * hop)[::hop]
    level = 10 * np.log10(np.mean(np.square(windows), axis=1) + 1e-10)
    level = np.convolve(level, np.hanning(9)[1:-1] / np.hanning(9).sum(), mode="same")[: len(voiced)]
    speech = level > np.percentile(level, 95) - 25
    nuclei = _peaks(level, speech & voiced[: len(level)])
    seconds = float(speech.sum()) * pitch.HOP_SECONDS
    return nuclei / seconds if seconds else 0.0


def _peaks(level: NDArray[np.float64], allowed: NDArray[np.bool_]) -> int:
    """How many maxima there are with a dip of `_DIP_DB` before each."""
    count, low, last = 0, float(level[0]), -1e9
    high, at_high = float(level[0]), 0
    rising = True
    for at, value in enumerate(level.tolist()):
        if rising and value > high:
            high, at_high = value, at
        elif rising and value < high - _DIP_DB:
            if allowed[at_high] and (at_high - last) * pitch.HOP_SECONDS >= _SYLLABLE_SECONDS:
                count, last = count + 1, at_high
            rising, low = False, value
        elif not rising and value < low:
            low = value
        elif not rising and value > low + _DIP_DB:
            rising, high, at_high = True, value, at
    return count


def _rms(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Of bands that neither lacks, as a recording through a telephone lacks the high ones."""
    first, second = np.array(one), np.array(other)
    both = np.minimum(first - first.max(), second - second.max()) > -45
    return float(np.sqrt(np.mean(np.square(first[both] - second[both]))))
