"""Runs: they learn, they continue exactly, and several processes do what one does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
import yaml

from training.errors import CheckpointInvalid, ConfigInvalid
from training.stt import checkpoint
from training.stt.batching import make_batches, rank_share, share_weight
from training.stt.config import REPOSITORY_ROOT
from training.stt.distributed import Process
from training.stt.plan import EpochPlanner
from training.stt.prepare import prepare
from training.stt.recognize import recognize
from training.stt.schedule import learning_rate
from training.stt.train_conformer_rnnt import train
from training.stt.trainer import FOREVER

ALONE = Process(0, 1, torch.device("cpu"))
VARIED = {
    "augment__waveform": {},
    "augment__features": {},
    "augment__mix": {"splice_ratio": 1.0, "splice_from_epoch": 3, "splice_realign_epochs": 2},
    "model__dropout": 0.1,
    "model__layer_drop": 0.1,
    "trainer__batch_seconds": 4.0,
}


def run(config, folder, *, resume=False, stop_at_step=FOREVER, init_from=None):
    train(config, ALONE, folder, resume=resume, init_from=init_from, stop_at_step=stop_at_step)


def losses(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return {row["step"]: row["loss"] for row in rows if row["event"] == "train"}


def test_one_batch_is_learnt_without_error(make_config, tmp_path):
    config = make_config()
    run(config, tmp_path / "run")
    loaded = checkpoint.load_model(tmp_path / "run" / checkpoint.FINAL)
    data = prepare(config)
    for search in ("greedy", "beam", "ctc"):
        texts = recognize(loaded.model, loaded.tokenizer, data.dev, data.dev_audio, search=search)
        assert texts == [item.text for item in data.dev]


def test_resumed_run_equals_uninterrupted(make_config, tmp_path):
    config = make_config(trainer__max_steps=24, trainer__eval_every_steps=8, trainer__accumulate=2, **VARIED)
    run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at_step=5)
    run(config, tmp_path / "parts", resume=True, stop_at_step=17)
    run(config, tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    first, second = (checkpoint.read(tmp_path / name / checkpoint.FINAL)["model"] for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_reading_processes_change_nothing(make_config, tmp_path):
    short = {"trainer__max_steps": 6, "trainer__eval_every_steps": 100, **VARIED}
    run(make_config(**short), tmp_path / "none")
    run(make_config(data__workers=2, **short), tmp_path / "two")
    assert losses(tmp_path / "none") == losses(tmp_path / "two")


def test_words_are_spliced_after_alignment(make_config, tmp_path):
    config = make_config(trainer__max_steps=83, augment__mix__splice_ratio=1.0, augment__mix__splice_from_epoch=80)
    run(config, tmp_path / "run")
    words = checkpoint.read(tmp_path / "run" / checkpoint.LAST)["words"]
    assert len(words) >= 12
    for word in words:
        assert 0.08 <= word["duration_seconds"] < 0.7  # a word of the corpus lasts 0.2 s


def test_early_stop_ends_the_run(make_config, tmp_path):
    patience = {"trainer__eval_every_steps": 1, "trainer__early_stop_evaluations": 2}
    run(make_config(trainer__peak_learning_rate=1e-9, **patience), tmp_path / "run")
    assert (tmp_path / "run" / checkpoint.FINAL).exists()
    assert checkpoint.read(tmp_path / "run" / checkpoint.LAST)["position"]["step"] == 3


@pytest.mark.parametrize("change", [{"trainer__precision": "bf16"}, {"loss__alignment": "regular"}])
def test_other_precision_and_alignment_train(make_config, tmp_path, change):
    run(make_config(trainer__max_steps=20, **change), tmp_path / "run")
    course = losses(tmp_path / "run")
    assert course[20] < course[1] / 2


def test_fine_tuning_starts_from_given_weights(make_config, tmp_path):
    run(make_config(), tmp_path / "first")
    config = make_config(trainer__max_steps=2, trainer__peak_learning_rate=1e-9)
    run(config, tmp_path / "second", init_from=tmp_path / "first" / checkpoint.FINAL)
    assert losses(tmp_path / "second")[1] < losses(tmp_path / "first")[1] / 10
    with pytest.raises(CheckpointInvalid, match="another model"):
        run(make_config(model__d_model=64), tmp_path / "third", init_from=tmp_path / "first" / checkpoint.FINAL)


def test_refuses_to_overwrite_or_to_resume_another_run(make_config, tmp_path):
    config = make_config(trainer__max_steps=2)
    with pytest.raises(ConfigInvalid, match="no checkpoint"):
        run(config, tmp_path / "run", resume=True)
    run(config, tmp_path / "run")
    with pytest.raises(ConfigInvalid, match="--resume"):
        run(config, tmp_path / "run")
    with pytest.raises(CheckpointInvalid, match="another configuration"):
        run(make_config(trainer__max_steps=3), tmp_path / "run", resume=True)


def test_refuses_damaged_checkpoint(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"half a checkpoint")
    with pytest.raises(CheckpointInvalid, match=r"last\.pt"):
        checkpoint.load_model(tmp_path / "last.pt")


def test_two_processes_equal_one(make_config, tmp_path):
    """Same seed and batches: the weights after eight steps agree to rounding."""
    config = make_config(trainer__max_steps=8, trainer__batch_seconds=5.0, trainer__schedule="noam")
    run(config, tmp_path / "one")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "training/stt/train_conformer_rnnt.py", "--config", str(path), "--device", "cpu"]
    command += ["--threads", "1", "--run-dir", str(tmp_path / "two")]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY_ROOT,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=100)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    one, two = (checkpoint.read(tmp_path / name / checkpoint.LAST)["model"] for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-4, rtol=2e-3)


def test_shares_make_up_the_batch(make_config):
    planner = EpochPlanner(prepare(make_config()).train, make_config().augment.mix, seed=1)
    batch = planner.plan(1)[:5]
    shares = [rank_share(batch, rank=rank, world_size=2) for rank in range(2)]
    assert sorted(map(len, shares)) == [2, 3]
    assert sum(share_weight(batch, rank=rank, world_size=2) for rank in range(2)) == pytest.approx(2)
    assert len(rank_share(batch[:1], rank=1, world_size=2)) == 1  # takes part, and counts nothing
    assert share_weight(batch[:1], rank=1, world_size=2) == 0


def test_batches_hold_everything_once_and_stay_in_bounds(make_config):
    config = make_config()
    examples = EpochPlanner(prepare(config).train, config.augment.mix, seed=1).plan(1)
    batches = make_batches(examples, batch_seconds=3.0, batch_utterances=3, seed=(1, 1))
    assert sorted(example.seed for batch in batches for example in batch) == sorted(item.seed for item in examples)
    for batch in batches:
        assert len(batch) <= 3
        assert len(batch) == 1 or max(item.duration_seconds for item in batch) * len(batch) <= 3.0


def test_weights_repeat_utterances(make_config, corpus):
    config = make_config(data__train=[{"manifest": str(corpus), "weight": 2.0}])
    assert len(EpochPlanner(prepare(config).train, config.augment.mix, seed=1).plan(1)) == 16


def test_learning_rate_warms_up_and_falls(make_config):
    settings = make_config(trainer__schedule="cosine", trainer__max_steps=100).trainer
    rates = [learning_rate(step, settings) for step in range(1, 101)]
    assert rates[0] == pytest.approx(settings.peak_learning_rate / 10)
    assert max(rates) == pytest.approx(settings.peak_learning_rate)
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_script_names_a_bad_manifest(make_config, corpus, tmp_path):
    corpus.write_text('{"audio": "absent.wav", "text": "do"}\n', encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(make_config().model_dump(mode="json")), encoding="utf-8")
    command = [sys.executable, "training/stt/train_conformer_rnnt.py", "--config", str(path), "--device", "cpu"]
    done = subprocess.run(command, cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"{corpus}:1: the audio" in done.stderr
    assert "Traceback" not in done.stderr
