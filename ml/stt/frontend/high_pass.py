"""Takes away what lies under the voice: hum of 50 and 60 Hz, rumble, a microphone's offset.

The magnitude response is that of a fourth-order Butterworth filter, applied without phase shift, so that words stay
where they are: its impulse response is sampled once, and the audio convolved with it by overlap-save. numpy alone does
that faster than a recursive filter could be run sample by sample, and no result depends on where blocks begin.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ml import errors
from ml.audio.decode import SAMPLE_RATE, DecodedAudio
from ml.stt.frontend.pcm import BLOCK_SAMPLES, map_blocks, to_pcm
from ml.types import PcmSamples

CUTOFF_HZ = 80.0
"""-3 dB here, -16 dB at 50 Hz and -10 dB at 60 Hz; the lowest voices begin at about 80 Hz."""

RUMBLE_HZ = 65.0
MIN_SHARE = 0.01
"""Of the power under `RUMBLE_HZ`. With less there is nothing to gain, and a recogniser near a tie may tip over it."""

ORDER = 4
_FRAME_SAMPLES, _FRAMES = 8192, 256
_REACH_SAMPLES = 2048  # 128 ms on either side: the response has died away to 1e-4 of its peak


def has_rumble(audio: DecodedAudio) -> bool:
    """Whether more than `MIN_SHARE` of the power lies under `RUMBLE_HZ`, by up to 256 half-second frames."""
    frames = max(1, len(audio.samples) // _FRAME_SAMPLES)
    window = np.hanning(_FRAME_SAMPLES).astype(np.float32)
    below = total = 0.0
    edge = round(RUMBLE_HZ * _FRAME_SAMPLES / SAMPLE_RATE)
    for frame in range(0, frames, -(-frames // _FRAMES)):
        samples = audio.samples[frame * _FRAME_SAMPLES : (frame + 1) * _FRAME_SAMPLES].astype(np.float32)
        powers = np.square(np.abs(np.fft.rfft(samples * window[: len(samples)])))
        below += float(powers[: edge + 1].sum())
        total += float(powers.sum())
    audio.release_pages()
    return below > MIN_SHARE * total


def high_pass(audio: DecodedAudio, *, cancel: threading.Event | None = None) -> DecodedAudio:
    """The audio without what lies under `CUTOFF_HZ`, of the same length. Raises `Cancelled`."""
    return map_blocks(_filtered(audio, cancel), audio.source)


def filter_samples(samples: PcmSamples) -> PcmSamples:
    """(n,) → (n,), the same at once."""
    return _filter(np.pad(samples.astype(np.float32), _REACH_SAMPLES))


def _filtered(audio: DecodedAudio, cancel: threading.Event | None) -> Iterator[PcmSamples]:
    total = len(audio.samples)
    for start in range(0, total, BLOCK_SAMPLES):
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        end = min(total, start + BLOCK_SAMPLES)
        before, after = min(start, _REACH_SAMPLES), min(total - end, _REACH_SAMPLES)
        block = audio.samples[start - before : end + after].astype(np.float32)
        yield _filter(np.pad(block, (_REACH_SAMPLES - before, _REACH_SAMPLES - after)))
        audio.release_pages()


def _filter(block: NDArray[np.float32]) -> PcmSamples:
    """(reach + n + reach,) → (n,)."""
    size = _fast_size(len(block))
    spectrum = np.fft.rfft(block, size) * _response(size)
    return to_pcm(np.fft.irfft(spectrum, size)[2 * _REACH_SAMPLES : len(block)])


def _fast_size(length: int) -> int:
    """The next size that transforms fast: a power of two, or three quarters of one."""
    power = 1 << (length - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= length else power


@functools.lru_cache(maxsize=4)
def _response(size: int) -> NDArray[np.complex64]:
    """(size / 2 + 1,): the kernel's spectrum; the kernel is delayed by its reach."""
    return np.fft.rfft(_kernel(), size).astype(np.complex64)


@functools.lru_cache(maxsize=1)
def _kernel() -> NDArray[np.float64]:
    """(2 * reach + 1,): |H| of the Butterworth filter as an even impulse response, under a Hann window."""
    size = 1 << 16
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    with np.errstate(divide="ignore"):
        magnitude = 1 / np.sqrt(1 + np.divide(CUTOFF_HZ, hertz) ** (2 * ORDER))
    response = np.fft.fftshift(np.fft.irfft(magnitude))
    middle = size // 2
    kernel = response[middle - _REACH_SAMPLES : middle + _REACH_SAMPLES + 1] * np.hanning(2 * _REACH_SAMPLES + 1)
    return kernel - kernel.sum() / len(kernel)  # nothing of an offset passes
