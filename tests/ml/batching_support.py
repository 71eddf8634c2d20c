"""What the tests of `Batcher` share. Their fixture `runtime` is in conftest.py."""

import threading

import numpy as np

from tests.ml.runtime_support import WAIT, PitchMeter, measure, tones

MODEL = "stt/a"


def held(**options):
    """An engine whose first call lasts until `gate` is set: what is queued meanwhile, the test decides."""
    return PitchMeter(gate=threading.Event(), **options)


def occupy(batcher, engine):
    """Lets one item hold the engine."""
    future = batcher.submit(MODEL, tones(100)[0], call=measure)
    assert engine.entered.wait(WAIT)
    return future


def submit(batcher, hertz, **options):
    return batcher.submit(MODEL, tones(hertz)[0] if isinstance(hertz, int) else hertz, call=measure, **options)


def heard(item):
    """The frequency, in hertz, of what the engine was given."""
    return round(float(np.abs(np.fft.rfft(item)).argmax()) * 10)


def order(engine):
    return [heard(item) for batch in engine.batches for item in batch]


def stats(batcher):
    (only,) = batcher.stats()
    return only
