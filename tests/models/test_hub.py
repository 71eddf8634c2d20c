"""manage.py models pull, against a hub on a local port."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from models_registry import folders
from models_registry.models import ModelVersion
from tests.models.support import Hub, Repository, hub, models
from tests.platform_process import ROOT

SENT_BYTES = 12_000_000
KEPT_BYTES = 10 * 1024 * 1024
"""The hub's library writes whole blocks of this size."""


@pytest.fixture
def local_hub(whisper: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """With the tiny Whisper as `someone/Tiny-Whisper`, as Systran's repositories look."""
    with hub() as running:
        files = {file.name: file.read_bytes() for file in whisper.iterdir() if file.name != "model.json"}
        running.repositories["someone/Tiny-Whisper"] = Repository(files)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


def pull(*arguments: str) -> None:
    models("pull", *arguments, "--wait", "0")


def test_installs_a_pinned_commit(local_hub: Hub) -> None:
    pull("someone/Tiny-Whisper", "--languages", "en", "de")
    row = ModelVersion.objects.get(name="tiny-whisper")
    repository = local_hub.repositories["someone/Tiny-Whisper"]
    assert (row.task, row.engine, row.format) == ("stt", "whisper", "ctranslate2")
    assert row.version == repository.commit[:12]
    assert row.revision == repository.commit
    assert row.source == f"{local_hub.url}/someone/Tiny-Whisper/tree/{repository.commit}"
    assert (row.licence, row.languages, row.is_active) == ("mit", ["en", "de"], True)
    assert folders.folder_of(row).manifest.files["model.bin"].bytes == len(repository.files["model.bin"])
    assert not list((folders.base() / ".downloads").glob("*/*"))
    assert not list((folders.base() / ".staging").iterdir())


def test_pulling_again_changes_nothing(local_hub: Hub) -> None:
    pull("someone/Tiny-Whisper")
    row = ModelVersion.objects.get(name="tiny-whisper")
    pull(f"someone/Tiny-Whisper@{row.revision}")
    assert ModelVersion.objects.get(name="tiny-whisper").id == row.id


def test_continues_a_broken_download(local_hub: Hub) -> None:
    size = len(local_hub.repositories["someone/Tiny-Whisper"].files["model.bin"])
    assert size > SENT_BYTES
    local_hub.break_after = SENT_BYTES
    with pytest.raises(CommandError, match=r"answered 503|broke off|cannot be reached"):
        pull("someone/Tiny-Whisper")
    assert not ModelVersion.objects.filter(name="tiny-whisper").exists()
    local_hub.break_after, local_hub.down = None, False
    pull("someone/Tiny-Whisper")
    first, second = local_hub.downloads("model.bin")
    assert (first.range, second.range) == ("", f"bytes={KEPT_BYTES}-")
    assert (first.sent, second.sent) == (SENT_BYTES, size - KEPT_BYTES)
    assert ModelVersion.objects.get(name="tiny-whisper").is_active


def test_refuses_what_has_another_hash(local_hub: Hub) -> None:
    local_hub.lie_about = "model.bin"
    with pytest.raises(CommandError, match=r"model.bin .* is not what the hub says it is"):
        pull("someone/Tiny-Whisper")
    assert not ModelVersion.objects.filter(name="tiny-whisper").exists()
    assert not list(folders.base().rglob("model.bin*"))


def test_refuses_a_small_file_with_another_hash(local_hub: Hub) -> None:
    local_hub.lie_about = "config.json"
    with pytest.raises(CommandError, match=r"config.json .* is not what the hub says it is"):
        pull("someone/Tiny-Whisper")


def test_no_hub_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CommandError) as caught:
        pull("whisper-tiny")
    assert "The model hub http://127.0.0.1:9 cannot be reached" in str(caught.value)
    assert "models import" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_token_opens_private_repositories_and_stays_with_the_hub(
    local_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_hub.repositories["someone/Tiny-Whisper"].token = "hf_secret"
    with pytest.raises(CommandError, match="HF_TOKEN"):
        pull("someone/Tiny-Whisper")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull("someone/Tiny-Whisper")
    assert ModelVersion.objects.filter(name="tiny-whisper").exists()
    (download,) = local_hub.downloads("model.bin")
    assert download.token == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("whisper-colossal", "The catalogue has no model"),
        ("someone/nothing", "has no repository someone/nothing"),
        ("someone/Tiny-Whisper@v9", "someone/Tiny-Whisper at v9 is not on"),
        ("some/one/else", "is not a repository"),
        ("../../etc", "is not a repository"),
    ],
)
def test_refuses_what_is_not_there(local_hub: Hub, name: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        pull(name)


def test_unknown_layout_asks_what_it_is(local_hub: Hub) -> None:
    local_hub.repositories["someone/weights"] = Repository({"weights.bin": b"1234"})
    with pytest.raises(CommandError, match="name --task, --engine, --format and --files"):
        pull("someone/weights")


def test_refuses_what_does_not_load(local_hub: Hub) -> None:
    files = dict(local_hub.repositories["someone/Tiny-Whisper"].files)
    files["model.bin"] = files["model.bin"][: len(files["model.bin"]) // 2]
    local_hub.repositories["someone/half"] = Repository(files)
    with pytest.raises(CommandError, match="cannot be loaded"):
        pull("someone/half")
    assert not ModelVersion.objects.filter(name="half").exists()


def test_pulls_a_model_folder_as_its_manifest_says(local_hub: Hub, folder) -> None:
    made = folder("own", "7")
    local_hub.repositories["someone/own"] = Repository({file.name: file.read_bytes() for file in made.iterdir()})
    pull("someone/own")
    row = ModelVersion.objects.get(name="own")
    assert (row.version, row.is_active) == ("7", True)
    assert row.source.startswith(f"{local_hub.url}/someone/own/tree/")


def test_the_hub_is_told_nothing_but_what_is_wanted(local_hub: Hub) -> None:
    """In a process of its own, for the library reads its settings when it is imported."""
    command = [sys.executable, "-c", "from ml import hub; hub.find('someone/Tiny-Whisper')"]
    kept = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_TELEMETRY"}
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert {request.path for request in local_hub.requests} == {"/api/models/someone/Tiny-Whisper"}


def test_signed_addresses_are_not_logged() -> None:
    for client in ("httpx", "httpx2"):
        assert not logging.getLogger(client).isEnabledFor(logging.INFO)
