"""A small engine that really computes, for what the pool and the batcher do with any engine."""

import threading
from dataclasses import dataclass, field

import numpy as np

from ml import errors
from ml.residency import ModelSpec
from ml.stt.engines.base import EngineCapabilities
from tests.ml.stt_support import tone

WAIT = 10.0
"""Seconds; what a test waits for comes at once, or never."""


@dataclass
class PitchMeter:
    """Tells the loudest frequency of each item; `gate`, where given, holds a call until it is opened."""

    version: str = "1"
    memory: int = 100
    max_batch: int = 1
    concurrency: int = 1
    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    batches: list = field(default_factory=list)  # the items of each call
    cancels: list = field(default_factory=list)
    closed: int = 0

    @property
    def capabilities(self):
        return EngineCapabilities(frozenset({"en"}), max_batch=self.max_batch, concurrency=self.concurrency)

    def memory_bytes(self):
        return self.memory

    def measure(self, items, cancel=None):
        """[(n,) float32 at 16 kHz or an exception to raise] → [hertz]."""
        assert not self.closed
        self.batches.append(list(items))
        self.cancels.append(cancel)
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(WAIT)
        for item in items:
            if isinstance(item, BaseException):
                raise item
        length = max(map(len, items))
        spectra = np.abs(np.fft.rfft(np.stack([np.pad(item, (0, length - len(item))) for item in items])))
        return [float(hertz) for hertz in spectra.argmax(axis=1) * 16_000 / length]

    def close(self):
        assert not self.closed
        self.closed += 1


def measure(engine, items, cancel):
    return engine.measure(items, cancel)


def tones(*hertz):
    return [tone(each, 0.1, 16_000) for each in hertz]


def spec(name, load, *, version="1", estimated_bytes=100, **options):
    return ModelSpec(f"stt/{name}", "stt", name, version, "pitch", load, estimated_bytes=estimated_bytes, **options)


class Loader:
    """Makes engines when called, counts them, and fails while `failure` is set."""

    def __init__(self, *, held=False, **options):
        self.options = options
        self.engines = []
        self.failure = None
        self.started = threading.Event()
        self.gate = threading.Event()
        if not held:
            self.gate.set()

    def __call__(self):
        self.started.set()
        assert self.gate.wait(WAIT)
        if self.failure is not None:
            raise self.failure
        engine = PitchMeter(**self.options)
        self.engines.append(engine)
        return engine

    @property
    def engine(self):
        return self.engines[-1]


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def outcome(work):
    """What `work` returned or raised."""
    try:
        return work()
    except errors.MlError as error:
        return error
