"""A run's configuration: every mistake is named, nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import ConfigInvalid
from training.stt.config import REPOSITORY_ROOT, load_config, resolve_path

CONFIGS = REPOSITORY_ROOT / "training" / "stt" / "configs"


@pytest.mark.parametrize("name", ["conformer_an4", "conformer_indic_v1", "conformer_tiny"])
def test_committed_configurations_are_valid(name):
    assert load_config(CONFIGS / f"{name}.yaml").trainer.max_steps > 0


def test_rejects_unknown_key_by_name():
    with pytest.raises(ConfigInvalid, match=r"model\.d_modle"):
        load_config(CONFIGS / "conformer_tiny.yaml", ["model.d_modle=64"])


def test_rejects_wrong_type_by_name():
    with pytest.raises(ConfigInvalid, match=r"trainer\.max_steps"):
        load_config(CONFIGS / "conformer_tiny.yaml", ["trainer.max_steps=many"])


def test_rejects_odd_head_width():
    with pytest.raises(ConfigInvalid, match="multiple of 2"):
        load_config(CONFIGS / "conformer_tiny.yaml", ["model.d_model=65"])


def test_override_reaches_into_lists():
    config = load_config(CONFIGS / "conformer_an4.yaml", ["data.train.0.exclude_speakers=[]"])
    assert config.data.train[0].exclude_speakers == ()


def test_override_without_value_is_an_error():
    with pytest.raises(ConfigInvalid, match=r"key\.sub=value"):
        load_config(CONFIGS / "conformer_tiny.yaml", ["seed"])


def test_paths_expand_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("CORPUS", str(tmp_path))
    assert resolve_path("${CORPUS}/a.jsonl") == tmp_path / "a.jsonl"
    assert resolve_path("${ABSENT:-data}/a.jsonl") == REPOSITORY_ROOT / "data" / "a.jsonl"
    with pytest.raises(ConfigInvalid, match="ABSENT"):
        resolve_path("${ABSENT}/a.jsonl")


def test_broken_yaml_is_a_clear_error(tmp_path: Path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigInvalid, match=r"broken\.yaml"):
        load_config(path)
