"""Features: what training computes is what serving computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.stt.audio import read_audio
from training.stt.features import KaldiFbank

kaldi_native_fbank = pytest.importorskip("kaldi_native_fbank", reason="sherpa-onnx's own feature code")


def serving_features(samples: np.ndarray) -> np.ndarray:
    """As sherpa-onnx computes them (its FeatureExtractorConfig)."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = 16000
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -400
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(16000, samples.tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])


@pytest.mark.parametrize("length", [500, 1599, 16000, 24080, 30001])
def test_equal_serving(length):
    rng = np.random.default_rng(length)
    samples = (rng.normal(0, 0.1, length) + 0.02).astype(np.float32)
    features, lengths = KaldiFbank()(torch.from_numpy(samples)[None], torch.tensor([length]))
    expected = serving_features(samples)
    assert lengths.tolist() == [len(expected)]
    assert np.abs(features[0].numpy() - expected).max() < 1e-3


def test_equal_serving_on_speech(speech_data):
    samples = read_audio(speech_data / "an4" / "fash" / "an251-fash-b.flac", sample_rate=16000)
    features, _ = KaldiFbank()(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    assert np.abs(features[0].numpy() - serving_features(samples)).max() < 1e-3


def test_batch_mates_change_nothing():
    samples = torch.randn(2, 20000) * 0.1
    samples[1, 12345:] = 0
    together, lengths = KaldiFbank()(samples, torch.tensor([20000, 12345]))
    alone, _ = KaldiFbank()(samples[1:, :12345], torch.tensor([12345]))
    assert torch.equal(together[1, : lengths[1]], alone[0])


def test_warp_of_one_is_no_warp():
    samples = torch.randn(2, 8000) * 0.1
    lengths = torch.tensor([8000, 8000])
    fbank = KaldiFbank(warps=(1.0, 0.9))
    plain, _ = fbank(samples, lengths)
    warped, _ = fbank(samples, lengths, torch.tensor([0, 1]))
    assert torch.allclose(warped[0], plain[0], atol=1e-5)
    assert not torch.allclose(warped[1], plain[1], atol=0.1)
