"""How is a recording varied? On the waveform in the reading processes, on the features on the training device.

Waveform: speed, noise, babble, reverberation, level, silence around it. Features: frequency warp (VTLP, Jaitly and
Hinton 2013), a random smooth equaliser, SpecAugment (Park et al. 2019). Each takes its own generator: the same seed
gives the same variation, whichever process computes it, so that a resumed run sees what an uninterrupted one sees.
"""

from __future__ import annotations

import numpy as np
import soxr
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from training.stt.audio import AudioStore, Samples
from training.stt.config import FeatureAugmentConfig, WaveformAugmentConfig

WARP_STEPS = 21
SPEED_STEP = 0.01
EQUALIZER_TERMS = 4


class WaveformAugmenter:
    """Varies one utterance's samples; babble comes from other recordings of the training set."""

    def __init__(self, config: WaveformAugmentConfig, store: AudioStore) -> None:
        self._config = config
        self._store = store
        self._rate = store.sample_rate

    def __call__(self, samples: Samples, rng: Generator) -> Samples:
        """samples (S,) → (S',), float32 in [-1, 1]."""
        config = self._config
        if rng.random() < config.speed_probability:
            samples = self.change_speed(samples, rng)
        if rng.random() < config.silence_probability:
            samples = self._pad(samples, rng)
        if rng.random() < config.reverb_probability:
            samples = self._reverberate(samples, rng)
        if rng.random() < config.babble_probability:
            samples = self._mix(samples, self._babble(len(samples), rng), rng)
        if rng.random() < config.noise_probability:
            samples = self._mix(samples, coloured_noise(len(samples), rng), rng)
        gain = 10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20)
        return np.clip(samples * np.float32(gain), -1.0, 1.0).astype(np.float32)

    def change_speed(self, samples: Samples, rng: Generator) -> Samples:
        """Tempo and pitch together, as a tape does. Few distinct factors, so that the resampler's tables are kept."""
        low, high = self._config.speed_range
        factor = round(rng.uniform(low, high) / SPEED_STEP) * SPEED_STEP
        return soxr.resample(samples, round(self._rate * factor), self._rate, quality="LQ")

    def _pad(self, samples: Samples, rng: Generator) -> Samples:
        """Silence before and after, at the level of the recording's own quietest moments."""
        longest = self._config.max_silence_seconds * self._rate
        floor = np.percentile(np.abs(samples), 10) if len(samples) else 0.0
        before, after = (
            (rng.standard_normal(int(rng.uniform(0, longest))) * floor).astype(np.float32) for _ in range(2)
        )
        return np.concatenate([before, samples, after])

    def _reverberate(self, samples: Samples, rng: Generator) -> Samples:
        """A room as exponentially decaying noise behind the direct sound (Moorer 1979)."""
        decay_seconds = rng.uniform(0.05, 0.3)
        length = int(decay_seconds * self._rate)
        envelope = np.exp(-6.9 * np.arange(length) / length)
        room = rng.standard_normal(length) * envelope * rng.uniform(0.02, 0.12)
        room[0] = 1.0
        size = _fft_size(len(samples) + length - 1)
        spectrum = np.fft.rfft(samples, size) * np.fft.rfft(room, size)
        wet: Samples = np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)
        return wet

    def _babble(self, length: int, rng: Generator) -> Samples:
        other = self._store.read(int(rng.integers(len(self._store))))
        return np.resize(np.roll(other, int(rng.integers(max(1, len(other))))), length).astype(np.float32)

    def _mix(self, samples: Samples, noise: Samples, rng: Generator) -> Samples:
        snr_db = rng.uniform(*self._config.noise_snr_db)
        signal = float(np.sqrt(np.mean(samples**2)) + 1e-8)
        level = float(np.sqrt(np.mean(noise**2)) + 1e-8)
        return samples + noise * np.float32(signal / level * 10 ** (-snr_db / 20))


def coloured_noise(length: int, rng: Generator) -> Samples:
    """Noise whose power falls with frequency^slope, the slope drawn between white (0) and brown (2)."""
    size = _fft_size(length)
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    slope = rng.uniform(0.0, 2.0)
    shape: NDArray[np.float64] = np.arange(1, len(spectrum) + 1, dtype=np.float64) ** (-slope / 2)
    noise: Samples = np.fft.irfft(spectrum * shape, size)[:length].astype(np.float32)
    return noise


def _fft_size(length: int) -> int:
    """The next power of two: other sizes can take a hundred times as long."""
    return 1 << max(1, (length - 1).bit_length())


def warp_factors(config: FeatureAugmentConfig) -> tuple[float, ...]:
    """The frequency warps whose mel banks are kept; the first is none at all."""
    low, high = config.vtlp_range
    return (1.0, *np.linspace(low, high, WARP_STEPS).tolist())


class FeatureAugmenter:
    """Varies a batch of features in place of training data's variety. Draws on the CPU, from its own generator."""

    def __init__(self, config: FeatureAugmentConfig) -> None:
        self._config = config

    def draw_warps(self, count: int, generator: torch.Generator) -> Tensor:
        """Indices into `warp_factors` for `count` utterances, (count,) int64."""
        chosen = torch.randint(1, WARP_STEPS + 1, (count,), generator=generator)
        used = torch.rand(count, generator=generator) < self._config.vtlp_probability
        return torch.where(used, chosen, 0)

    def __call__(self, features: Tensor, lengths: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
        """features (N, T, F) → (N, T, F); masked places take `mean` (F,), the training data's."""
        features = self._equalize(features, generator)
        masked = self._time_mask(features, lengths, generator) | self._frequency_mask(features, generator)
        return torch.where(masked, mean, features)

    def _equalize(self, features: Tensor, generator: torch.Generator) -> Tensor:
        if not self._config.equalizer_db:
            return features
        count, _, bins = features.shape
        nepers = self._config.equalizer_db * 0.2303  # a log-power feature moves by ln(10)/10 for each dB
        weights = (torch.rand(count, EQUALIZER_TERMS, generator=generator) * 2 - 1) * nepers
        position = torch.linspace(0, 1, bins)
        curves = torch.stack([torch.cos(torch.pi * term * position) for term in range(1, EQUALIZER_TERMS + 1)])
        curves = curves / torch.arange(1, EQUALIZER_TERMS + 1)[:, None]
        return features + (weights @ curves)[:, None, :].to(features.device)

    def _time_mask(self, features: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """(N, T, 1) bool."""
        config = self._config
        shape = (features.shape[0], config.time_masks, 1)
        length = lengths.cpu()[:, None, None]
        widths = torch.rand(shape, generator=generator) * config.time_mask_ratio * length
        starts = torch.rand(shape, generator=generator) * (length - widths).clamp_min(0)
        return _covered(features.shape[1], starts, widths).to(features.device)[:, :, None]

    def _frequency_mask(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """(N, 1, F) bool."""
        config = self._config
        shape = (features.shape[0], config.frequency_masks, 1)
        widths = torch.rand(shape, generator=generator) * config.frequency_mask_bins
        starts = torch.rand(shape, generator=generator) * (features.shape[2] - widths)
        return _covered(features.shape[2], starts, widths).to(features.device)[:, None, :]


def _covered(size: int, starts: Tensor, widths: Tensor) -> Tensor:
    """Which of `size` places any interval covers: (N, masks, 1) twice → (N, size) bool."""
    places = torch.arange(size)[None, None, :]
    return ((places >= starts) & (places < starts + widths)).any(dim=1)
