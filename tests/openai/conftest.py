from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.openai.support import close_clients


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_clients()


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory, database: None) -> Iterator[str]:
    """The name of a tiny Whisper, which serves while the module's tests run: it detects languages and translates."""
    from ml import artifacts, stt
    from tests.models.support import build_whisper

    folder = artifacts.read(build_whisper(tmp_path_factory.mktemp("whisper") / "model"))
    stt.install(folder)
    yield folder.manifest.name
    stt.uninstall(folder.manifest.name)
