"""manage.py models list, verify, activate, remove and evaluate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from ml import runtime as ml_runtime
from ml.artifacts import ModelFolder, ModelManifest
from ml.engines import LOADERS
from ml.evaluation import normalise
from ml.stt import registry as stt_registry
from models_registry import folders
from models_registry.catalogue import catalogue
from models_registry.models import ModelVersion
from tests.conftest import OWNED_AUDIO
from tests.models.support import models


def listed(capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    models("list", "--json")
    return json.loads(capsys.readouterr().out)


def test_list_follows_folders_that_come_and_go(folder: Callable[..., Path], capsys) -> None:
    target = folders.base() / "stt" / "tiny" / "tiny" / "1"
    target.parent.mkdir(parents=True)
    shutil.move(folder("tiny", "1"), target)
    (found,) = [model for model in listed(capsys)["models"] if model["name"] == "tiny"]
    assert (found["path"], found["status"], found["is_active"]) == ("stt/tiny/tiny/1", "registered", False)
    shutil.rmtree(target)
    assert not [model for model in listed(capsys)["models"] if model["name"] == "tiny"]


def test_list_names_what_is_broken(folder: Callable[..., Path], capsys) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    path = folders.base() / ModelVersion.objects.get(name="tiny").path
    (path / "model.json").write_text("{")
    (broken,) = listed(capsys)["broken"]
    assert broken["path"] == "stt/tiny/tiny/1"
    assert "cannot be read" in broken["reason"]
    row = ModelVersion.objects.get(name="tiny")
    assert (row.status, "cannot be read" in row.last_error) == ("failed", True)


def test_verify_finds_a_changed_byte(folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    models("verify", "tiny")
    corrupt(ModelVersion.objects.get(name="tiny"))
    with pytest.raises(CommandError, match="1 of 1 models are corrupt"):
        models("verify")
    assert "SHA-256" in ModelVersion.objects.get(name="tiny").last_error


def corrupt(row: ModelVersion) -> None:
    file = folders.base() / row.path / "config.json"
    content = file.read_bytes()
    file.unlink()  # it shares its bytes with other tests' folders
    file.write_bytes(content[:-1] + b" ")


def test_remove_refuses_the_active_version(folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    with pytest.raises(CommandError, match="is active"):
        models("remove", "tiny")
    models("import", folder("tiny", "2"), "--wait", "0")
    models("remove", "tiny@1")
    models("remove", "tiny@2", "--force")
    assert not ModelVersion.objects.filter(name="tiny").exists()
    assert not list(folders.base().glob("stt/*/*/*"))
    with pytest.raises(CommandError, match="comes with the platform"):
        models("remove", "pocketsphinx-en-us", "--force")


def test_default_goes_to_the_first_model_and_back_to_the_embedded_one(folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    models("import", folder("other", "1"), "--wait", "0")
    defaults = {row.name for row in ModelVersion.objects.filter(task="stt", is_default=True)}
    assert defaults == {"tiny"}
    models("activate", "other", "--default", "--wait", "0")
    assert {row.name for row in ModelVersion.objects.filter(task="stt", is_default=True)} == {"other"}
    models("remove", "other", "--force")
    models("remove", "tiny", "--force")
    defaults = {row.name for row in ModelVersion.objects.filter(task="stt", is_default=True)}
    assert defaults == {"pocketsphinx-en-us"}


def test_activate_refuses_a_corrupt_folder(folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    models("import", folder("tiny", "2"), "--no-activate")
    corrupt(ModelVersion.objects.get(name="tiny", version="2"))
    with pytest.raises(CommandError, match="is corrupt"):
        models("activate", "tiny@2", "--wait", "0")
    assert ModelVersion.objects.get(name="tiny", is_active=True).version == "1"


def test_pull_list_shows_the_catalogue(capsys) -> None:
    models("pull", "--list", "--json")
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["whisper-tiny"]["repositories"] == ["Systran/faster-whisper-tiny"]
    tasks = {entry["task"] for entry in entries.values()}
    assert tasks == {"stt", "tts", "punctuation", "diarization", "speaker", "language"}
    for entry in entries.values():
        assert entry["licence"]
        assert entry["megabytes"] > 0


def test_catalogue_says_what_the_engines_understand() -> None:
    """Each entry's engine exists, and knows every setting and capability that the entry names."""
    for entry in catalogue().values():
        assert (entry.task, entry.engine, entry.format) in LOADERS, entry.name
        if entry.task in ("stt", "tts"):
            manifest = ModelManifest(
                entry.task, entry.family, entry.name, "1", entry.engine, entry.format, entry.languages,
                entry.sample_rate, entry.capabilities, entry.settings,
            )  # fmt: skip
            made = ModelFolder(Path("nowhere"), manifest)
            tell = ml_runtime.static_function(made, "capabilities")
            assert tell is None or tell(ml_runtime.for_engine(made).manifest).languages
            if entry.task == "stt":
                assert stt_registry.describe(made).name == entry.name


# ── Evaluating ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_evaluate_compares_models_and_keeps_the_results(folder: Callable[..., Path], tmp_path: Path, capsys) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    capsys.readouterr()
    manifest = OWNED_AUDIO / "manifest.jsonl"
    arguments = ("--manifest", manifest, "--limit", 2, "--json", tmp_path / "out.json")
    models("evaluate", "--compare", "tiny", "pocketsphinx-en-us", *arguments)
    shown = capsys.readouterr().out
    assert "tiny@1" in shown
    assert "weather.flac" in shown
    tiny, sphinx = json.loads((tmp_path / "out.json").read_text())
    assert tiny["wer"] <= 0.05, "it knows these clips by heart"
    assert sphinx["wer"] <= 0.25
    for result in (tiny, sphinx):
        assert result["files"] == len(result["per_file"]) == 2
        assert 0 < result["rtf"] < 10
        assert result["audio_seconds"] == pytest.approx(8.95, abs=0.05)
    row = ModelVersion.objects.get(name="tiny")
    assert row.results[0]["wer"] == tiny["wer"]
    assert folders.folder_of(row).manifest.results[0]["manifest_sha256"] == tiny["manifest_sha256"]
    models("verify", "tiny")


def test_verbatim_counts_spelled_digits_one_by_one(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    shutil.copy(OWNED_AUDIO / "numbers.wav", tmp_path)
    said = "one two three four five six seven eight nine ten"
    manifest.write_text(json.dumps({"audio": "numbers.wav", "text": said, "language": "en"}))
    counted = []
    for option in (), ("--verbatim",):
        out = tmp_path / "out.json"
        models("evaluate", *option, "--model", "pocketsphinx-en-us", "--manifest", manifest, "--json", out)
        (result,) = json.loads(out.read_text())
        counted.append((result["verbatim"], result["words"]["total"]))
    assert counted == [(False, len(normalise(said, "en").split())), (True, 10)]
    assert counted[0][1] < 10


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"m.jsonl:2: not JSON"),
        ("[]", r"m.jsonl:2: not an object"),
        ('{"text": "x"}', r'm.jsonl:2: "audio" must be'),
        ('{"audio": "weather.flac"}', r'm.jsonl:2: "text" must be'),
        ('{"audio": "nowhere.wav", "text": ""}', r"m.jsonl:2: there is no file"),
        ('{"audio": "weather.flac", "text": "", "language": 7}', r'm.jsonl:2: "language" must be'),
    ],
)
def test_manifest_errors_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    shutil.copy(OWNED_AUDIO / "weather.flac", tmp_path)
    (tmp_path / "m.jsonl").write_text('{"audio": "weather.flac", "text": "the weather"}\n' + line + "\n")
    with pytest.raises(CommandError, match=message):
        models("evaluate", "--model", "pocketsphinx-en-us", "--manifest", tmp_path / "m.jsonl")


def test_texts_are_compared_as_whisper_normalises_them() -> None:
    assert normalise("Mr. Smith won't pay twenty-three colours.", "en-GB") == "mister smith will not pay 23 colors"
    assert normalise("Grüße, [lacht] WELT!", "de") == "grüße welt"
    assert normalise("मैं हिन्दी बोलता हूँ।", "hi") == "मैं हिन्दी बोलता हूँ"


# ── Talking to people and to programs ───────────────────────────────────────────────────────────────────────────────


def test_catalogue_is_searched(capsys) -> None:
    models("pull", "--list", "hi", "--json")
    names = {entry["name"] for entry in json.loads(capsys.readouterr().out)}
    assert {"whisper-base", "piper-hi-in-pratham-medium"} <= names
    assert not {"whisper-base.en", "piper-en-us-amy-low"} & names
    models("pull", "--list", "thorsten")
    assert "piper-de-de-thorsten-medium" in capsys.readouterr().out
    with pytest.raises(CommandError, match="Nothing in the catalogue fits 'klingon'"):
        models("pull", "--list", "klingon")


def test_near_misses_are_answered_with_what_was_meant(folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no model 'whisper-tiney' \(did you mean whisper-tiny"):
        models("pull", "whisper-tiney")
    models("import", folder("tiny", "1"), "--no-activate")
    with pytest.raises(CommandError, match=r"no model 'tinny' \(did you mean tiny\?\)"):
        models("activate", "tinny")
    with pytest.raises(CommandError, match="no file or folder"):
        models("import", tmp_path / "nowhere.tar")


def test_import_answers_programs(folder: Callable[..., Path], capsys) -> None:
    models("import", folder("tiny", "1"), "--json")
    row = json.loads(capsys.readouterr().out)
    assert (row["name"], row["version"], row["is_active"], row["is_default"]) == ("tiny", "1", True, True)
