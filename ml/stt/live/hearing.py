"""How one utterance is recognised while it is spoken.

`Streamed`: by an engine that hears as it comes. `Redecoded`: by one that wants whole windows; the utterance so far is
given to it again and again, batched with the windows of others, and once more when it is complete. The sound is
complete a little before the pause is long enough to end the utterance, so that the last result is often there by then.

Both belong to a session, which calls them from one thread at a time and to which results are posted.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ml import errors, runtime
from ml.audio.decode import SAMPLE_RATE
from ml.stt import recognition, registry
from ml.stt.engines.base import Hypothesis, Window
from ml.stt.engines.streaming import Urgency, Utterance
from ml.types import Caller, PcmSamples

STEP_SECONDS = {Urgency.NONE: (0.19, 0.3), Urgency.FIRST: (0.09, 0.6), Urgency.LAST: (1 / SAMPLE_RATE, 0.6)}
"""Of sound that a streaming engine is given at a time, at least and at most. Less costs more round trips and caches
that are filled anew (with eight speakers a sixth of the search's time), more keeps others waiting. Until the first word
three frames of the voice activity detection are enough, which every tenth of a second brings."""

FIRST_WORD_SECONDS = 2.0
"""Of sound without a word, and it is hardly speech that somebody waits to see."""

AGAIN_SECONDS = 0.4
"""Of new sound before a window is recognised again, or as long as the last time took."""

LOAD_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Work:
    """What hearing an utterance needs to know."""

    model: registry.ModelInfo
    window: Window  # the request's hints; the sound is not in it
    before: PcmSamples | None  # what led to the speech and is not in the window; None: it was the first sound of all
    caller: Caller
    cancel: threading.Event
    loaders: Executor
    post: Callable[[Callable[[], None]], None]  # runs it in the session, one at a time
    on_partial: (
        Callable[[Hypothesis, float], None] | None
    )  # with the seconds of sound that it is made of; None: unwanted
    on_final: Callable[[Hypothesis | Exception], None]


class Hearing(Protocol):
    def hear(self, samples: PcmSamples) -> None: ...
    def complete(self) -> None:
        """Probably all has been heard: the speaker has paused."""
        ...

    def end(self) -> None:
        """All has been heard; `on_final` is called once."""
        ...

    def close(self) -> None:
        """Nothing is wanted any more; no call follows."""
        ...

    @property
    def backlog_seconds(self) -> float:
        """Of sound that the engine has not been given yet."""
        ...


def open_hearing(work: Work) -> Hearing:
    return Streamed(work) if work.model.capabilities.streaming else Redecoded(work)


class Streamed:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._pending: list[PcmSamples] = []
        self._pending_samples = 0
        self._given = 0  # samples
        self._utterance: Utterance | None = None
        self._lease: contextlib.ExitStack | None = None
        self._busy = True  # a call, or the opening, is under way
        self._ended = self._closed = False
        self._complete = False  # for all that is known: what waits for more sound need not wait
        self._understood = False  # a word of it
        self._error: Exception | None = None
        if _is_loaded(work.model):
            self._opened(_attempt(self._open))
        else:
            opening = work.loaders.submit(self._open)
            opening.add_done_callback(lambda done: work.post(lambda: self._opened(done)))

    @property
    def backlog_seconds(self) -> float:
        return 0.0 if self._error else self._pending_samples / SAMPLE_RATE

    def hear(self, samples: PcmSamples) -> None:
        if self._error is None:
            self._complete = False
            self._pending.append(samples)
            self._pending_samples += len(samples)
            self._pump()

    def complete(self) -> None:
        """The engine gets what is left now, so that there is little to do at the end."""
        self._complete = True
        self._pump()

    def end(self) -> None:
        self._ended = True
        if self._error is not None:
            self._work.on_final(self._error)
        self._pump()

    def close(self) -> None:
        self._closed = True
        utterance, lease = self._utterance, self._lease
        self._utterance = self._lease = None
        if utterance is not None:
            utterance.close()
        if lease is not None:
            lease.close()

    def _open(self) -> tuple[contextlib.ExitStack, Utterance]:
        """Takes the model for the length of the utterance: a version that is swapped in serves the next one."""
        with contextlib.ExitStack() as stack:
            work = self._work
            engine = stack.enter_context(runtime.pool.acquire(work.model.id, cancel=work.cancel, timeout=LOAD_SECONDS))
            utterance = engine.open_utterance(hotwords=work.window.hotwords, before=work.before)
            return stack.pop_all(), utterance

    def _opened(self, opening: Future[tuple[contextlib.ExitStack, Utterance]]) -> None:
        self._busy = False
        error = _error_of(opening)
        if error is not None:
            self._break(error)
            return
        self._lease, self._utterance = opening.result()
        if self._closed:
            self.close()
        self._pump()

    def _pump(self) -> None:
        if self._busy or self._utterance is None:
            return
        least, most = STEP_SECONDS[self._urgency()]
        if self._pending_samples >= least * SAMPLE_RATE:
            piece = self._next_piece(round(most * SAMPLE_RATE))
            self._call(lambda utterance: utterance.advance(piece, urgency=self._urgency), self._advanced)
        elif self._ended:
            alternatives = self._work.window.alternatives
            self._call(lambda utterance: utterance.finish(alternatives=alternatives), self._finished)

    def _urgency(self) -> Urgency:
        if self._ended or self._complete:
            return Urgency.LAST
        waits = not self._understood and self._given < FIRST_WORD_SECONDS * SAMPLE_RATE
        return Urgency.FIRST if waits else Urgency.NONE

    def _next_piece(self, most_samples: int) -> PcmSamples:
        samples = np.concatenate(self._pending)
        piece = samples[:most_samples]
        rest = samples[len(piece) :]
        self._pending = [rest] if len(rest) else []
        self._pending_samples = len(rest)
        self._given += len(piece)
        return piece

    def _call(
        self, call: Callable[[Utterance], Future[Hypothesis]], then: Callable[[Future[Hypothesis]], None]
    ) -> None:
        utterance = self._utterance
        if utterance is None:
            return
        self._busy = True
        try:
            future = call(utterance)
        except errors.MlError as error:
            self._break(error)
            return
        future.add_done_callback(lambda done: self._work.post(lambda: then(done)))

    def _advanced(self, done: Future[Hypothesis]) -> None:
        self._busy = False
        if self._closed:
            return
        error = _error_of(done)
        if error is not None:
            self._break(error)
            return
        hypothesis = done.result()
        self._understood = self._understood or bool(hypothesis.words)
        if self._work.on_partial is not None and not self._ended:
            self._work.on_partial(hypothesis, self._given / SAMPLE_RATE)
        self._pump()

    def _finished(self, done: Future[Hypothesis]) -> None:
        if self._closed:
            return
        self.close()
        self._work.on_final(_error_of(done) or done.result())

    def _break(self, error: Exception) -> None:
        self._error, self._busy = error, True  # nothing more is given to it
        self._pending, self._pending_samples = [], 0
        closed = self._closed
        self.close()
        if self._ended and not closed:
            self._work.on_final(error)


class Redecoded:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._sound: list[PcmSamples] = []
        self._samples = 0
        self._under_way: Future[Hypothesis] | None = None
        self._under_way_samples = 0
        self._began = 0.0
        self._took = 0.0  # seconds, the last time
        self._recognised_samples = 0  # in the newest result
        self._newest: Hypothesis | None = None
        self._ended = self._closed = False

    @property
    def backlog_seconds(self) -> float:
        return 0.0

    def hear(self, samples: PcmSamples) -> None:
        self._sound.append(samples)
        self._samples += len(samples)
        new = (self._samples - max(self._recognised_samples, self._under_way_samples)) / SAMPLE_RATE
        if self._work.on_partial is not None and self._under_way is None and new >= max(AGAIN_SECONDS, self._took):
            self._recognise()

    def complete(self) -> None:
        if self._under_way is not None and self._under_way_samples < self._samples:
            self._under_way.cancel()  # if it still waits for its turn: nobody wants a partial any more
            self._under_way = None
        if self._under_way is None and self._recognised_samples < self._samples:
            self._recognise()

    def end(self) -> None:
        self._ended = True
        if self._recognised_samples == self._samples and self._newest is not None:
            self._finish(self._newest)
        else:
            self.complete()

    def close(self) -> None:
        self._closed = True
        if self._under_way is not None:
            self._under_way.cancel()

    def _recognise(self) -> None:
        sound = np.concatenate(self._sound)
        self._sound = [sound]
        try:
            future = recognition.submit(
                replace(self._work.window, samples=sound),
                self._work.model,
                caller=self._work.caller,
                cancel=self._work.cancel,
            )
        except errors.EngineUnavailable as error:
            if self._ended:
                self._finish(error)
            return
        self._under_way, self._under_way_samples, self._began = future, len(sound), time.monotonic()
        future.add_done_callback(lambda done: self._work.post(lambda: self._recognised(done)))

    def _recognised(self, done: Future[Hypothesis]) -> None:
        if done is not self._under_way or self._closed:  # it was dropped
            return
        samples, self._under_way = self._under_way_samples, None
        self._took = time.monotonic() - self._began
        error = _error_of(done)
        if error is None:
            self._newest, self._recognised_samples = done.result(), samples
        if not self._ended:
            if error is None and self._work.on_partial is not None:
                self._work.on_partial(done.result(), samples / SAMPLE_RATE)
        elif samples < self._samples:
            self._recognise()
        else:
            self._finish(error or done.result())

    def _finish(self, outcome: Hypothesis | Exception) -> None:
        self._closed = True
        self._work.on_final(outcome)


def _is_loaded(model: registry.ModelInfo) -> bool:
    try:
        return runtime.pool.state(model.id).status == "ready"
    except errors.UnknownModel:
        return True  # opening says so


def _attempt(function: Callable[[], Any]) -> Future[Any]:
    """What it returns or raises, as a future that is done."""
    done: Future[Any] = Future()
    try:
        done.set_result(function())
    except Exception as error:
        done.set_exception(error)
    return done


def _error_of(done: Future[Any]) -> Exception | None:
    try:
        error = done.exception()
    except CancelledError:
        return errors.Cancelled("The request was cancelled.")
    return error if isinstance(error, Exception) or error is None else errors.EngineFailed(str(error))
