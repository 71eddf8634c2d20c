"""What does the model hear? Kaldi's log-mel filterbank, batched in torch, equal to what sherpa-onnx serves with.

80 bins from 20 Hz to Nyquist − 400 Hz, 25 ms Povey windows every 10 ms, no dither, `snip_edges=false`, DC removed,
pre-emphasis 0.97, samples in [-1, 1]. Each utterance is framed by its own length, so padding never reaches a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.compliance import kaldi

FRAMES_PER_SECOND = 100
LOW_HZ = 20.0
HIGH_HZ_BELOW_NYQUIST = 400.0
PREEMPHASIS = 0.97
POVEY_POWER = 0.85
PADDING_VALUE = -23.025850929940457  # log(1e-10): what sherpa-onnx pads a batch with
VTLN_LOW_HZ = 100.0
VTLN_HIGH_BELOW_NYQUIST = 500.0


class KaldiFbank(nn.Module):
    """Waveforms to log-mel features, with an optional frequency warp for each utterance."""

    window: Tensor
    banks: Tensor

    def __init__(self, *, sample_rate: int = 16000, num_mel_bins: int = 80, warps: tuple[float, ...] = (1.0,)) -> None:
        super().__init__()
        self.shift = sample_rate // FRAMES_PER_SECOND
        self.length = sample_rate * 25 // 1000
        self.fft_size = 1 << (self.length - 1).bit_length()
        window = torch.hann_window(self.length, periodic=False).pow(POVEY_POWER)
        banks = torch.stack([self._mel_banks(sample_rate, num_mel_bins, warp) for warp in warps])
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("banks", banks, persistent=False)  # (warps, fft_size / 2 + 1, bins)

    def _mel_banks(self, sample_rate: int, num_mel_bins: int, warp: float) -> Tensor:
        banks, _ = kaldi.get_mel_banks(
            num_mel_bins,
            self.fft_size,
            float(sample_rate),
            LOW_HZ,
            -HIGH_HZ_BELOW_NYQUIST,
            VTLN_LOW_HZ,
            -VTLN_HIGH_BELOW_NYQUIST,
            warp,
        )
        return nn.functional.pad(banks, (0, 1)).T

    def forward(self, samples: Tensor, lengths: Tensor, warp_index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """samples (N, S) float32, lengths (N,) int64, warp_index (N,) → features (N, T, bins) float32, lengths (N,).

        T follows from S, not from the lengths: reading those would wait for the device.
        """
        with torch.autocast(samples.device.type, enabled=False):
            num_frames = (lengths + self.shift // 2) // self.shift
            frames = self._frames(samples.float(), lengths, (samples.shape[1] + self.shift // 2) // self.shift)
            frames = frames - frames.mean(dim=2, keepdim=True)
            previous = torch.cat([frames[:, :, :1], frames[:, :, :-1]], dim=2)
            frames = (frames - PREEMPHASIS * previous) * self.window
            power = torch.fft.rfft(frames, n=self.fft_size).abs().square()
            banks = self.banks[0] if warp_index is None else self.banks[warp_index]
            energies = torch.matmul(power, banks).clamp_min(torch.finfo(torch.float32).eps)
            features = energies.log()
            valid = torch.arange(features.shape[1], device=features.device)[None, :] < num_frames[:, None]
            return features.masked_fill(~valid[:, :, None], PADDING_VALUE), num_frames

    def _frames(self, samples: Tensor, lengths: Tensor, num_frames: int) -> Tensor:
        """(N, S) → (N, T, window), mirrored at both ends of each utterance as Kaldi does."""
        offset = self.shift // 2 - self.length // 2
        starts = torch.arange(num_frames, device=samples.device) * self.shift + offset
        index = starts[:, None] + torch.arange(self.length, device=samples.device)
        index = index[None].expand(samples.shape[0], -1, -1)
        last = lengths[:, None, None] - 1
        index = torch.where(index < 0, -index - 1, index)
        index = torch.where(index > last, 2 * last + 1 - index, index).clamp_min(0).minimum(last)
        rows = torch.arange(samples.shape[0], device=samples.device)[:, None, None]
        return samples[rows, index]
