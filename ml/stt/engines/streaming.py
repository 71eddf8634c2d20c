"""Live recognition inside an engine: an utterance is heard while it is spoken.

    utterance = engine.open_utterance(hotwords=("Rivver",))
    partial = utterance.advance(samples).result()     # what is understood so far
    final = utterance.finish().result()               # when it has ended
    utterance.close()                                 # always, finished or not

An engine whose capabilities say `streaming` offers `open_utterance`. Utterances of all sessions are computed together:
a `StepQueue` has one thread, which takes what waits into one call; while that computes, the next gathers.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from ml import errors
from ml.stt.engines.base import Hypothesis
from ml.types import NO_SOUND, PcmSamples

log = logging.getLogger(__name__)


class Urgency(IntEnum):
    """How much somebody waits for the result of a step."""

    IDLE = -1  # when nothing else waits
    NONE = 0  # one partial of many: of a moment more or less nobody takes note
    LAST = 1  # who has stopped waits for the final, and part of it is computed before the pause is long enough
    FIRST = 2  # who begins to speak waits for a sign of being heard


def not_urgent() -> Urgency:
    return Urgency.NONE


class Utterance(Protocol):
    """One utterance. One call is under way at a time; times count from its first sample."""

    def advance(self, samples: PcmSamples, *, urgency: Callable[[], Urgency] = not_urgent) -> Future[Hypothesis]:
        """Hears (n,) int16 at 16 kHz more; the future is what is understood so far. It raises `EngineFailed`.

        urgency: asked, in any thread, by an engine that cannot compute all utterances at once: it may grow meanwhile.
        """
        ...

    def finish(self, *, alternatives: int = 0) -> Future[Hypothesis]:
        """Ends it; the future is the final hypothesis. It raises `EngineFailed`. Nothing is heard after it."""
        ...

    def close(self) -> None:
        """Frees what it holds; may be called more than once, and with a call under way."""
        ...


class StreamingRecognizer(Protocol):
    """What a recogniser with the capability `streaming` offers besides `recognise`."""

    def open_utterance(self, *, hotwords: Sequence[str] = (), before: PcmSamples | None = NO_SOUND) -> Utterance:
        """Raises `EngineFailed`, `EngineUnavailable` where no more can be heard at once.

        before: (n,) int16 at 16 kHz that led to the utterance and belong to the one before it, by which to know the
        channel; not to be recognised. None: the first sound of all was speech already.
        """
        ...

    def prepare_utterance(self, speakers: int) -> None:
        """Makes ready what the next utterance needs, so that its first word need not wait; blocks meanwhile.

        speakers: how many may soon speak at the same time.
        """
        ...


@dataclass(eq=False, slots=True)
class Step:
    """Work on one utterance, and the future of its result."""

    item: Any
    urgency: Callable[[], Urgency] = not_urgent
    future: Future[Any] = field(default_factory=Future)


class StepQueue:
    """Steps of many utterances, computed together by one thread, which lives while there are users.

    compute: sets the future of each step that it is given; what it raises is the outcome of those that it left.
    width: so many at most are computed together, urgent ones by themselves; who comes meanwhile waits for all of them.
    """

    def __init__(self, compute: Callable[[list[Step]], None], *, name: str, width: int = 64) -> None:
        self._compute = compute
        self._name = name
        self._width = width
        self._changed = threading.Condition()
        self._waiting: list[Step] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, item: Any, *, urgency: Callable[[], Urgency] = not_urgent) -> Future[Any]:
        """urgency: asked whenever the next is chosen. Raises `EngineUnavailable` once closed."""
        step = Step(item, urgency)
        with self._changed:
            if self._closed:
                raise _shutting_down()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._waiting.append(step)
            self._changed.notify()
        return step.future

    def close(self) -> None:
        """Fails what waits; returns when the step under way has ended."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while steps := self._next():
            self._settle(steps)
        for step in self._waiting:  # nobody adds to it any more
            step.future.set_exception(_shutting_down())
        self._waiting.clear()

    def _next(self) -> list[Step]:
        """Waits for some; none once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return []
            urgencies = [step.urgency() for step in self._waiting]
            most = max(urgencies)
            width = self._width if most is Urgency.NONE else 1  # who waits for it need not wait for others' too
            both = zip(self._waiting, urgencies, strict=True)
            chosen = [step for step, urgency in both if urgency is most][:width]
            for step in chosen:
                self._waiting.remove(step)
            return chosen

    def _settle(self, steps: list[Step]) -> None:
        started = [step for step in steps if step.future.set_running_or_notify_cancel()]
        failure: BaseException = errors.EngineFailed("The engine gave no result.")
        try:
            if started:
                self._compute(started)
        except BaseException as error:
            if not isinstance(error, errors.MlError):
                log.exception("live step failed")
                error = errors.EngineFailed(f"{type(error).__name__}: {error}")
            failure = error
        for step in started:
            if not step.future.done():
                with contextlib.suppress(InvalidStateError):
                    step.future.set_exception(failure)


def _shutting_down() -> errors.EngineUnavailable:
    return errors.EngineUnavailable("The engine is shutting down.")
