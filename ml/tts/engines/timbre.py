"""How espeak-ng is made to sound like somebody: a variant of its voices for pitch and formants, and an equaliser.

Its rules generate the formants, so that moving them costs nothing and leaves no trace of a vocoder. The format of the
file is espeak-ng's own: https://github.com/espeak-ng/espeak-ng/blob/master/docs/voices.md
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from ml.tts.engines.base import EQUALISER_HZ, Adaptation
from ml.types import PcmSamples

_HERTZ = (20, 500)
_PERCENT = (60, 170)
_HEIGHTS = (80, 80, 70, 70, 80, 80, 70, 70, 70)
_WIDTH = 150
_BREATH = "breath 0 2 3 3 3 3 3 2"
_CONSONANTS = "consonants 125 125"
"""The resonances' heights and widths in percent, breath, and the strength of consonants: those of the library's female
voices. With its plain voice's narrow ones, a recogniser mishears twice as many words."""
_TAPS = 512
_LOUDEST = 0.98  # of full scale


def variant(adaptation: Adaptation) -> str:
    """The text of a variant's file. It holds nothing but numbers of ours."""
    lowest, highest = (int(np.clip(round(value), *_HERTZ)) for value in (adaptation.lowest_hz, adaptation.highest_hz))
    percent = int(np.clip(round(100 * adaptation.formants), *_PERCENT))
    lines = ["language variant", "name own", f"pitch {lowest} {max(lowest, highest)}", _BREATH, _CONSONANTS]
    formants = [f"formant {number} {percent} {height} {_WIDTH}" for number, height in enumerate(_HEIGHTS)]
    return "\n".join([*lines, *formants, ""])


def equalise(samples: PcmSamples, rate: int, gains_db: tuple[float, ...]) -> PcmSamples:
    """`samples` with the gains at `EQUALISER_HZ`, as loud as before and as long; (T,) int16."""
    if not samples.any() or not any(gains_db):
        return samples
    taps = _filter(gains_db, rate)
    size = 1 << (len(samples) + len(taps) - 1).bit_length()
    spectrum = np.fft.rfft(samples.astype(np.float32), size) * np.fft.rfft(taps, size)
    filtered = np.fft.irfft(spectrum, size)[: len(samples)]
    loudness = np.sqrt(np.mean(np.square(samples, dtype=np.float64)) / np.mean(np.square(filtered)))
    loudest = _LOUDEST * 32767 / float(np.abs(filtered).max())
    return np.rint(filtered * min(loudness, loudest)).astype(np.int16)


@functools.lru_cache(maxsize=64)
def _filter(gains_db: tuple[float, ...], rate: int) -> NDArray[np.float64]:
    """(_TAPS,): minimum phase, by the real cepstrum, so that no echo comes before a sound."""
    size = 4 * _TAPS
    hertz = np.fft.rfftfreq(size, 1 / rate)
    wanted = np.interp(np.log(np.maximum(hertz, 1.0)), np.log(EQUALISER_HZ), gains_db)
    cepstrum = np.fft.irfft(wanted * np.log(10) / 20)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    taps = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:_TAPS]
    taps[_TAPS // 2 :] *= np.hanning(_TAPS)[_TAPS // 2 :]
    return taps
