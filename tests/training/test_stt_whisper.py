"""Whisper: a tiny model from nothing goes the whole way: LoRA, merging, saving, CTranslate2, the server's loader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ml import artifacts
from training.errors import ConfigInvalid
from training.stt.config import REPOSITORY_ROOT
from training.stt.whisper_config import load_whisper_config

CONFIGS = REPOSITORY_ROOT / "training" / "stt" / "configs"


def write_config(folder: Path, corpus: Path, **changes) -> Path:
    source = [{"manifest": str(corpus)}]
    raw = {
        "name": "whisper_test",
        "languages": ["en"],
        "scratch": {"d_model": 16, "layers": 1, "heads": 2},
        "method": "lora",
        "lora": {"rank": 2, "alpha": 4},
        "data": {"train": source, "dev": source, "workers": 0},
        "train": {"max_steps": 2, "batch_utterances": 2, "warmup_steps": 1, "eval_utterances": 0},
    }
    path = folder / "whisper.yaml"
    path.write_text(yaml.safe_dump(raw | changes), encoding="utf-8")
    return path


def run_script(config: Path, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "training/stt/train_whisper.py", "--config", str(config), "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [*command, "--run-dir", str(folder)],
        cwd=REPOSITORY_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize("name", ["whisper_finetune_indic_v1", "whisper_tiny_scratch"])
def test_committed_configurations_are_valid(name):
    assert load_whisper_config(CONFIGS / f"{name}.yaml").train.max_steps > 0


def test_needs_a_base_or_none(tmp_path, corpus):
    with pytest.raises(ConfigInvalid, match="either base or scratch"):
        load_whisper_config(write_config(tmp_path, corpus, base="openai/whisper-tiny"))


def test_tiny_model_trains_merges_and_converts(tmp_path, corpus):
    for package in ("transformers", "peft", "ctranslate2"):
        pytest.importorskip(package)
    done = run_script(write_config(tmp_path, corpus), tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert not list((tmp_path / "run" / "model").glob("adapter*"))  # merged

    folder = artifacts.read(tmp_path / "run" / "ctranslate2")
    artifacts.verify(folder)
    assert len(json.loads(folder.file("config.json").read_text(encoding="utf-8"))["lang_ids"]) == 100
    assert (folder.manifest.engine, folder.manifest.format) == ("whisper", "ctranslate2")
    faster_whisper = pytest.importorskip("faster_whisper")
    model = faster_whisper.WhisperModel(str(folder.path), device="cpu", compute_type="int8", cpu_threads=1)
    segments, info = model.transcribe(np.zeros(16000, np.float32), language="en", max_new_tokens=4)
    assert info.language == "en"
    list(segments)


def test_names_a_language_that_whisper_does_not_know(tmp_path, corpus):
    pytest.importorskip("transformers")
    text = corpus.read_text(encoding="utf-8").replace('"language": "en"', '"language": "xx-YY"', 1)
    corpus.write_text(text, encoding="utf-8")
    done = run_script(write_config(tmp_path, corpus), tmp_path / "run")
    assert done.returncode == 2
    assert "train.jsonl:1: Whisper knows no language 'xx-YY'" in done.stderr
