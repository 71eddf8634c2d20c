"""Fixtures of several files."""

import pytest

from ml.batching import Batcher
from ml.residency import ModelPool
from tests.ml.runtime_support import PitchMeter, spec


@pytest.fixture
def runtime():
    """Makes a batcher over one model: `runtime(engine options, batcher options)` → (batcher, engine)."""
    made = []

    def make(engine=None, **options):
        engine = engine or PitchMeter()
        pool = ModelPool()
        pool.register(spec("a", lambda: engine))
        batcher = Batcher(pool, **options)
        made.append((batcher, pool, engine))
        return batcher, engine

    yield make
    for batcher, pool, engine in made:
        if engine.gate is not None:
            engine.gate.set()
        batcher.close()
        pool.close()
