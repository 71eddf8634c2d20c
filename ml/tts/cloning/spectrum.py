"""What the spectrum of voiced speech tells of a speaker: formants, length of the vocal tract, colour, cepstrum."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from ml.tts.cloning.pitch import HOP_SECONDS
from ml.tts.engines.base import EQUALISER_HZ
from ml.types import Samples

FORMANTS = 4
SPEED_OF_SOUND = 35_000.0  # cm/s, in warm and moist air

_LPC_RATE, _ORDER = 11_000, 12  # up to 5.5 kHz: five formants of an adult
_WINDOW_SECONDS = 0.025
_PRE_EMPHASIS = 0.97
_WIDEST_HZ, _LOWEST_HZ, _HIGHEST_HZ = 500.0, 150.0, 5_300.0  # of a formant; other poles shape the spectrum as a whole
_FRAMES = 1500  # are plenty: more are thinned out
_MEL_BANDS, _CEPSTRA = 20, 13  # bands wide enough not to see single harmonics
_FLOOR_DB, _MEL_FLOOR_DB = -60.0, -50.0  # no recording is free of noise: what lies below is not the voice


def frames_at(samples: Samples, rate: int, voiced: NDArray[np.bool_], seconds: float) -> NDArray[np.float32]:
    """(n, samples of one): those windows whose middle is voiced, at most `_FRAMES` of them, evenly spread."""
    length = round(seconds * rate)
    middles = np.flatnonzero(voiced) * HOP_SECONDS + 0.02
    starts = np.round(middles * rate).astype(np.intp) - length // 2
    starts = starts[(starts >= 0) & (starts + length <= len(samples))]
    if len(starts) > _FRAMES:
        starts = starts[np.linspace(0, len(starts) - 1, _FRAMES).astype(np.intp)]
    return samples[starts[:, None] + np.arange(length)] if len(starts) else np.zeros((0, length), np.float32)


# ── Formants ────────────────────────────────────────────────────────────────────────────────────────────────────────


def formants(samples: Samples, rate: int, voiced: NDArray[np.bool_]) -> tuple[float, ...]:
    """The medians of the first `FORMANTS` formants in hertz, by the poles of linear prediction; () for too little."""
    narrow = np.asarray(soxr.resample(samples, rate, _LPC_RATE), np.float32)
    narrow = np.append(narrow[:1], narrow[1:] - _PRE_EMPHASIS * narrow[:-1])
    frames = frames_at(narrow, _LPC_RATE, voiced, _WINDOW_SECONDS)
    if len(frames) < 10:
        return ()
    found = _poles(_prediction(frames))
    enough = found[~np.isnan(found[:, FORMANTS - 1])]
    if len(enough) < 10:
        return ()
    return tuple(float(value) for value in np.median(enough[:, :FORMANTS], axis=0))


def vocal_tract_cm(found: tuple[float, ...]) -> float:
    """The length of the tube, closed at one end, whose resonances are nearest; about 17 for men, 14.5 for women.

    Its n-th resonance is at (2n - 1) c / 4L. The higher ones say more of the length than the lower ones, which the
    vowels move (Lammert, Narayanan, "On short-time estimation of vocal tract length from formant frequencies", 2015).
    """
    odd = 2 * np.arange(1, len(found) + 1) - 1
    spacing = float(np.dot(odd, found) / np.dot(odd, odd))
    return SPEED_OF_SOUND / (4 * spacing)


def _prediction(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, samples) → (n, _ORDER + 1): the coefficients of each frame's inverse filter, by Levinson and Durbin."""
    windowed = (frames * np.hamming(frames.shape[1])).astype(np.float64)
    size = 1 << (2 * frames.shape[1] - 1).bit_length()
    correlations = np.fft.irfft(np.square(np.abs(np.fft.rfft(windowed, size))))[:, : _ORDER + 1]
    correlations[:, 0] = correlations[:, 0] * (1 + 1e-6) + 1e-9
    filters = np.zeros((len(frames), _ORDER + 1))
    filters[:, 0] = 1.0
    error = correlations[:, 0].copy()
    for order in range(1, _ORDER + 1):
        reflection = -np.einsum("ni,ni->n", filters[:, :order], correlations[:, order:0:-1]) / error
        filters[:, 1 : order + 1] += reflection[:, None] * filters[:, order - 1 :: -1][:, :order]
        error *= 1 - np.square(reflection)
    return filters


def _poles(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, _ORDER + 1) → (n, _ORDER // 2): the frequencies of narrow resonances in hertz, rising, then nan."""
    companion = np.zeros((len(filters), _ORDER, _ORDER))
    companion[:, 0] = -filters[:, 1:]
    companion[:, np.arange(1, _ORDER), np.arange(_ORDER - 1)] = 1.0
    roots = np.linalg.eigvals(companion)
    hertz = np.angle(roots) * _LPC_RATE / (2 * np.pi)
    widths = -np.log(np.maximum(np.abs(roots), 1e-9)) * _LPC_RATE / np.pi
    resonant = (hertz > _LOWEST_HZ) & (hertz < _HIGHEST_HZ) & (widths < _WIDEST_HZ)
    return np.sort(np.where(resonant, hertz, np.nan), axis=1)[:, : _ORDER // 2]


# ── Colour ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def powers_of(
    samples: Samples, rate: int, voiced: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of voiced frames: their power spectra (n, bins), each of power 1, and the bins' hertz."""
    frames = frames_at(samples, rate, voiced, 0.032)
    spectra = np.square(np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]))))
    sums = np.maximum(spectra.sum(axis=1, keepdims=True), 1e-12)
    return (spectra / sums).astype(np.float64), np.fft.rfftfreq(frames.shape[1], 1 / rate).astype(np.float64)


def colour_db(powers: NDArray[np.float64], hertz: NDArray[np.float64]) -> tuple[float, ...]:
    """The average spectrum at `EQUALISER_HZ`, in decibels beside the mean of 250 Hz to 4 kHz.

    The decibels of the frames are averaged, not their powers: each vowel counts, not the loudest most.
    """
    levels = np.stack([_band(powers, hertz, centre) for centre in EQUALISER_HZ], axis=1)
    levels = np.maximum(levels, np.maximum(levels.max(axis=1, keepdims=True) * 10 ** (_FLOOR_DB / 10), 1e-12))
    mean = (10 * np.log10(levels)).mean(axis=0)
    middle = (np.array(EQUALISER_HZ) >= 250) & (np.array(EQUALISER_HZ) <= 4000)
    return tuple(float(level) for level in mean - mean[middle].mean())


def tilt_db(colour: tuple[float, ...]) -> float:
    """Decibels an octave, from 500 Hz to 5 kHz: how fast a voice falls off, from breathy to pressed."""
    hertz = np.array(EQUALISER_HZ)
    used = (hertz >= 500) & (hertz <= 5000)
    return float(np.polyfit(np.log2(hertz[used]), np.array(colour)[used], 1)[0])


def cepstrum(powers: NDArray[np.float64], hertz: NDArray[np.float64]) -> tuple[float, ...]:
    """The mean of `_CEPSTRA` mel-frequency cepstral coefficients in decibels, that of loudness left out."""
    bands = np.maximum(powers @ _mel_filters(hertz).T, 10 ** (_MEL_FLOOR_DB / 10))
    rows = np.arange(1, _CEPSTRA + 1)[:, None] * (np.arange(_MEL_BANDS) + 0.5)
    cosines = np.cos(np.pi / _MEL_BANDS * rows) * np.sqrt(2 / _MEL_BANDS)
    return tuple(float(value) for value in (10 * np.log10(bands) @ cosines.T).mean(axis=0))


def _band(powers: NDArray[np.float64], hertz: NDArray[np.float64], centre: float) -> NDArray[np.float64]:
    """(n, bins) → (n,): the mean power of a third of an octave, or of the bin that is nearest to it."""
    inside = (hertz >= centre * 2 ** (-1 / 6)) & (hertz < centre * 2 ** (1 / 6))
    nearest = np.abs(hertz - centre).argmin()
    return np.asarray(powers[:, inside].mean(axis=1) if inside.any() else powers[:, nearest])


def _mel_filters(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """(_MEL_BANDS, bins): triangles, evenly spaced in mel from 150 Hz to 7 kHz."""
    mel = np.linspace(1127 * np.log1p(150 / 700), 1127 * np.log1p(7000 / 700), _MEL_BANDS + 2)
    edges = 700 * np.expm1(mel / 1127)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(0.0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
