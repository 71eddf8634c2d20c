"""What becomes of a call whose process dies under it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml import errors
from ml.workers import WorkerPool


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool("tests.ml.dying_probe:Probe", size=1)
    yield made
    made.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def processes(log: Path) -> list[str]:
    return log.read_text().split()


def test_repeatable_call_outlives_its_process(pool: WorkerPool, log: Path) -> None:
    assert pool.call("die", str(log), 1, repeatable=True) == "done"
    assert len(set(processes(log))) == 2


def test_poison_kills_two_processes_and_no_third(pool: WorkerPool, log: Path) -> None:
    with pytest.raises(errors.EngineFailed, match="exit code -9"):
        pool.call("die", str(log), 100, repeatable=True)
    assert len(set(processes(log))) == 2
    assert pool.call("die", str(log), 0, repeatable=True) == "done"  # the next has a process


def test_other_calls_are_made_once(pool: WorkerPool, log: Path) -> None:
    with pytest.raises(errors.EngineFailed, match="exit code -9"):
        pool.call("die", str(log), 1)
    assert len(processes(log)) == 1


def test_reported_error_is_not_repeated(pool: WorkerPool, log: Path) -> None:
    with pytest.raises(errors.EngineFailed, match="a bad argument"):
        pool.call("fail", str(log), repeatable=True)
    assert len(processes(log)) == 1


def test_memory_is_that_of_its_own_processes(log: Path) -> None:
    idle, busy = (WorkerPool("tests.ml.dying_probe:Probe", size=1) for _ in range(2))
    busy.call("die", str(log), 0)
    assert idle.memory_bytes() == 0
    assert 4e6 < busy.memory_bytes() < 400e6
    busy.close()
    assert busy.memory_bytes() == 0
