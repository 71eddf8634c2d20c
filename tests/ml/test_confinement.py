"""What a decoder's process may still do when a file has taken it over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.audio import decode, stream
from ml.workers import WorkerPool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only limits are given up elsewhere")
PROBE = "tests.ml.confined_probe:Probe"


@pytest.fixture(scope="module")
def confined() -> Iterator[WorkerPool]:
    pool = WorkerPool(PROBE, size=1, confined=True)
    yield pool
    pool.close()


def test_privileges_are_given_up(confined: WorkerPool) -> None:
    assert confined.call("privileges") == ["1", "2"]


@pytest.mark.parametrize("what", ["network", "unix socket", "fork", "program", "signal"])
def test_reaches_nobody(confined: WorkerPool, what: str) -> None:
    assert confined.call("attempt", what, "") == "PermissionError"


def test_changes_files_of_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "own"))
    platforms, own = tmp_path / "models.json", tmp_path / "own" / "decoded.s16"
    platforms.write_text("mine")
    own.touch()
    pool = WorkerPool(PROBE, size=1, confined=True)
    try:
        if "landlock" not in pool.call("held"):
            pytest.skip("this kernel has no Landlock")
        assert pool.call("attempt", "write", str(platforms)) == "PermissionError"
        assert pool.call("attempt", "delete", str(platforms)) == "PermissionError"
        assert pool.call("attempt", "write", str(own)) == "done"
        assert pool.call("attempt", "delete", str(own)) == "PermissionError"
        assert pool.call("attempt", "huge file", str(own)) == "OSError"
    finally:
        pool.close()
    assert platforms.read_text() == "mine"


def test_open_files_are_bounded(confined: WorkerPool) -> None:
    assert confined.call("attempt", "many files", "") == "OSError"


@pytest.mark.parametrize("what", ["thread", "read"])
def test_what_decoding_needs_stays(what: str) -> None:
    pool = WorkerPool(PROBE, size=1, confined=True)
    try:
        assert pool.call("attempt", what, "") == "done"
    finally:
        pool.close()


def test_probe_shows_what_is_possible_otherwise() -> None:
    """Or else the refusals above would prove nothing."""
    pool = WorkerPool(PROBE, size=1)
    try:
        assert pool.call("attempt", "unix socket", "") == "done"
        assert pool.call("attempt", "program", "") == "done"
    finally:
        pool.close()


def test_decoders_are_confined() -> None:
    assert decode.worker_pool()._confined
    decoder = stream._processes.open("tests")
    try:
        assert decoder._pool._confined  # type: ignore[attr-defined]
    finally:
        decoder.close()
