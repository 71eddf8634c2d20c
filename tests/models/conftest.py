from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.models import support


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; see `support.build_whisper`."""
    return support.build_whisper(tmp_path_factory.mktemp("whisper") / "model")


@pytest.fixture
def folder(whisper: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes model folders outside of MODEL_BASE_PATH: `folder("tiny", "2")`."""

    def make(name: str = "tiny", version: str = "1", **fields: object) -> Path:
        return support.version_of(whisper, tmp_path / f"{name}-{version}", name=name, version=version, **fields)

    return make


@pytest.fixture(autouse=True)
def nothing_is_left(database: None) -> Iterator[None]:
    """Rows, folders and what the runtime serves are as they were."""
    yield
    from models_registry import folders, runtime, services
    from models_registry.models import EMBEDDED_VERSION, EvaluationManifest, Installation, ModelVersion

    Installation.objects.all().delete()
    EvaluationManifest.objects.all().delete()
    ModelVersion.objects.exclude(version=EMBEDDED_VERSION).delete()
    ModelVersion.objects.filter(version=EMBEDDED_VERSION).update(is_default=True, status="ready", last_error="")
    shutil.rmtree(folders.base(), ignore_errors=True)
    runtime.current.synchronise()
    runtime.current.follow_trials()
    services.register_embedded()
