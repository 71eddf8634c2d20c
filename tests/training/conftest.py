"""Small recordings made on the spot, and runs small enough for a test."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-torch.txt")
pytest.importorskip("torchaudio", reason="training needs requirements-torch.txt")

import soundfile
import torch

from training.stt.config import REPOSITORY_ROOT, RunConfig, parse_config

RATE = 16000
WORDS = {"do": 300.0, "re": 500.0, "mi": 800.0, "fa": 1300.0}  # each word is a tone of its own, in Hz
SPEECH_DATA = Path(os.environ.get("SPEECH_DATA", REPOSITORY_ROOT.parent / "shared" / "speech"))


@pytest.fixture(autouse=True)
def _single_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def speech_data() -> Path:
    if not (SPEECH_DATA / "an4_train.jsonl").is_file():
        pytest.skip(f"no recordings at {SPEECH_DATA}: set SPEECH_DATA to a folder that holds an4_train.jsonl")
    return SPEECH_DATA


def tone_sentence(text: str, seed: int) -> np.ndarray:
    """Words as tones of 0.2 s with gaps between them, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(0.2 * RATE)) / RATE
    parts = [np.zeros(int(0.1 * RATE))]
    for word in text.split():
        parts += [0.3 * np.sin(2 * np.pi * WORDS[word] * time), np.zeros(int(rng.uniform(0.05, 0.15) * RATE))]
    samples = np.concatenate(parts)
    return (samples + rng.normal(0, 0.003, len(samples))).astype(np.float32)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A manifest of eight utterances of two speakers."""
    texts = ["do re mi", "fa mi", "re", "mi fa do re", "do do", "fa re mi do", "mi", "re fa"]
    rows = []
    for number, text in enumerate(texts):
        samples = tone_sentence(text, number)
        soundfile.write(tmp_path / f"{number}.wav", samples, RATE, subtype="PCM_16")
        rows.append(
            {
                "audio": f"{number}.wav",
                "text": text,
                "language": "en",
                "speaker": f"s{number % 2}",
                "duration_seconds": len(samples) / RATE,
            }
        )
    manifest = tmp_path / "train.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


@pytest.fixture
def make_config(corpus: Path) -> Callable[..., RunConfig]:
    """A run over the corpus without any variation, with changes by dotted name."""

    def make(**changes: object) -> RunConfig:
        raw: dict = {
            "name": "test",
            "languages": ["en-US"],
            "data": {
                "train": [{"manifest": str(corpus)}],
                "dev": [{"manifest": str(corpus)}],
                "cache_audio": True,
                "workers": 0,
            },
            "tokenizer": {"kind": "word", "min_word_count": 2},
            "model": {
                "subsampling_channels": 8,
                "d_model": 32,
                "num_heads": 2,
                "num_layers": 2,
                "ffn_dim": 64,
                "conv_kernel": 5,
                "dropout": 0.0,
                "joiner_dim": 32,
                "predictor_dim": 16,
                "predictor_dropout": 0.0,
            },
            "loss": {"inter_ctc_weight": 0.2},
            "augment": {
                "waveform": {
                    "speed_probability": 0.0,
                    "gain_db": 0.0,
                    "noise_probability": 0.0,
                    "babble_probability": 0.0,
                    "reverb_probability": 0.0,
                    "silence_probability": 0.0,
                },
                "features": {"vtlp_probability": 0.0, "time_masks": 0, "frequency_masks": 0},
                "mix": {"concatenate_probability": 0.0},
            },
            "trainer": {
                "max_steps": 120,
                "batch_seconds": 60.0,
                "peak_learning_rate": 5e-3,
                "warmup_steps": 10,
                "schedule": "constant",
                "weight_decay": 0.0,
                "ema_decay": 0.5,
                "eval_every_steps": 60,
                "save_every_steps": 1000,
                "log_every_steps": 1,
                "average_checkpoints": 1,
            },
        }
        for name, value in changes.items():
            *parents, last = name.split("__")
            node = raw
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
        return parse_config(raw)

    return make
