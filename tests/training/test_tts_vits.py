"""A voice: recordings, training with coqui-tts's trainer, the model folder, the server's loader, audio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from ml import artifacts
from training.errors import ManifestInvalid
from training.stt.config import REPOSITORY_ROOT
from training.tts.recordings import read_recordings, read_samples, split
from training.tts.vits_config import VitsRunConfig, load_vits_config

CONFIGS = REPOSITORY_ROOT / "training" / "tts" / "configs"
SENTENCES = ["Good morning.", "It rains today.", "Where are you?", "Seven black cats.", "Come in, please."]
TINY = {
    "hidden_channels": 16, "ffn_channels": 16, "text_layers": 1, "posterior_layers": 1, "flow_layers": 1,
    "decoder_channels": 32, "speaker_channels": 16, "resblock_kernels": [3], "stochastic_durations": False,
    "sample_rate": 16000,
}  # fmt: skip


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Path:
    """Two LJSpeech-style folders, spoken by the embedded synthesiser."""
    from ml.tts.engines import espeak
    from ml.tts.engines.base import SpeechRequest
    from ml.tts.script import Run, Style, Utterance

    folder = tmp_path_factory.mktemp("voices")
    for speaker, variant in (("ana", "espeak:en-us+f2"), ("ben", "espeak:en-us")):
        (folder / speaker / "wavs").mkdir(parents=True)
        lines = []
        for number, text in enumerate(SENTENCES):
            said = Utterance((Run(text, Style(variant)),))
            pcm = espeak.Espeak().speak(SpeechRequest(said))
            soundfile.write(folder / speaker / "wavs" / f"{number}.wav", pcm, espeak.sample_rate(), subtype="PCM_16")
            lines.append(f"{number}|{text}")
        (folder / speaker / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def describe(voices: Path, speakers=("ana", "ben"), *, epochs=1, **changes) -> dict:
    raw = {
        "name": "tiny_voice", "language": "en-US", "scratch": TINY,
        "data": {
            "speakers": [{"id": speaker, "folder": str(voices / speaker)} for speaker in speakers],
            "dev_ratio": 0.2, "workers": 0,
        },
        "train": {"epochs": epochs, "batch_utterances": 4, "segment_frames": 8, "log_every_steps": 1},
    }  # fmt: skip
    return raw | changes


def run_script(raw: dict, folder: Path, *options: str) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(raw), encoding="utf-8")
    command = [sys.executable, "training/tts/finetune_vits.py", "--config", str(config), "--device", "cpu"]
    return subprocess.run(
        [*command, "--run-dir", str(folder), *options],
        cwd=REPOSITORY_ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def speak(folder: Path, voice: str) -> np.ndarray:
    from ml import engines
    from ml.tts.engines.base import SpeechRequest
    from ml.tts.script import Run, Style, Utterance

    engine = engines.load(artifacts.read(folder))
    try:
        (found,) = (known.id for known in engine.voices() if known.name == voice)
        return engine.speak(SpeechRequest(Utterance((Run("Good morning.", Style(found)),))))
    finally:
        engine.close()


@pytest.mark.parametrize("name", ["vits_finetune_v1", "vits_tiny"])
def test_committed_configurations_are_valid(name):
    assert load_vits_config(CONFIGS / f"{name}.yaml").train.epochs > 0


@pytest.mark.filterwarnings("ignore")  # coqui-tts warns about itself
def test_voice_trains_resumes_tunes_and_speaks(voices, tmp_path):
    pytest.importorskip("trainer")
    first = run_script(describe(voices), tmp_path / "first")
    assert first.returncode == 0, first.stdout + first.stderr
    results = json.loads((tmp_path / "first" / "results.json").read_text())
    assert (results["recordings"], results["held_out"], results["steps"]) == (8, 2, 2)
    assert results["loss_mel"] > 0

    made = artifacts.read(tmp_path / "first" / "voice")
    artifacts.verify(made)
    assert made.manifest.results[0]["data_sha256"] == results["data_sha256"]
    assert str(tmp_path) not in (made.path / "config.json").read_text()  # nothing of the training machine
    ana, ben = speak(made.path, "ana"), speak(made.path, "ben")
    assert len(ana) > 800
    assert np.abs(ana).max() > 0
    assert len(ana) != len(ben) or not np.array_equal(ana, ben)

    resumed = run_script(describe(voices, epochs=2), tmp_path / "first", "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    steps = json.loads((tmp_path / "first" / "results.json").read_text())["steps"]
    assert steps in (4, 5)  # two epochs of two; coqui-tts counts the step that it restores once more

    raw = describe(voices, ["ben"], base=str(made.path), scratch=None, name="ben_alone")
    tuned = run_script(raw, tmp_path / "tuned")
    assert tuned.returncode == 0, tuned.stdout + tuned.stderr
    assert "tensors come from the base" in tuned.stdout
    assert len(speak(tmp_path / "tuned" / "voice", "ben")) > 800


def test_names_every_problem_before_the_first_step(voices, tmp_path):
    folder = tmp_path / "bad"
    (folder / "wavs").mkdir(parents=True)
    soundfile.write(folder / "wavs" / "short.wav", np.zeros(100, np.float32), 16000)
    (folder / "wavs" / "text.wav").write_text("no audio")
    lines = ["gone|Hello.", "short|Hello.", "text|Hello.", "empty|", "../x|Hello.", "nothing"]
    (folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    raw = describe(voices, ["ana"])
    raw["data"]["speakers"][0]["folder"] = str(folder)
    with pytest.raises(ManifestInvalid) as caught:
        read_recordings(VitsRunConfig.model_validate(raw).data)
    found = "\n".join(caught.value.problems)
    for number, reason in enumerate(
        ["is missing", "0.01 s of audio", "cannot be read", "empty", "not a file's", "id|text"]
    ):
        assert f"metadata.csv:{number + 1}: " in found
        assert reason in found


def test_unknown_symbol_stops_the_run(voices, tmp_path):
    raw = describe(voices, ["ana"], text={"phonemes": False})
    folder = tmp_path / "ana"
    (folder / "wavs").mkdir(parents=True)
    for number in range(2):
        (folder / "wavs" / f"{number}.wav").write_bytes((voices / "ana" / "wavs" / f"{number}.wav").read_bytes())
    (folder / "metadata.csv").write_text("0|Good morning.\n1|Grüße.\n", encoding="utf-8")
    raw["data"]["speakers"][0]["folder"] = str(folder)
    done = run_script(raw, tmp_path / "run")
    assert done.returncode == 2
    assert "metadata.csv:2: unknown symbol" in done.stderr
    assert "'ü' (U+00FC)" in done.stderr


def test_keeps_the_last_recordings_of_each_speaker(voices):
    data = VitsRunConfig.model_validate(describe(voices)).data
    train, dev = split(read_recordings(data), data)
    assert [(item.speaker, item.audio.stem) for item in dev] == [("ana", "4"), ("ben", "4")]
    assert len(train) == 8


def test_reads_any_rate_as_mono(tmp_path):
    stereo = np.stack([np.sin(np.arange(48000) / 20)] * 2, axis=1).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", stereo, 48000)
    read = read_samples(tmp_path / "a.flac", sample_rate=16000)
    assert read.shape == (16000,)
    assert read.dtype == np.float32
