"""PocketSphinx on live speech: decoders that hear as it comes, in processes of their own.

Each process holds several decoders, one an open utterance, which share one language model; a decoder takes some 60 MB
and a quarter of a second to make, and is kept for the next utterance. An utterance stays in one process.

The search is a fast one: a frame keeps at most `MAX_ACTIVE_PHONES` hypotheses, and there is no second pass over the
utterance: on 25 real clips that took 0.43 of the time, and an utterance of ten seconds is final some 20 ms after its
end instead of half a second. The cepstral mean begins between that of the 0.4 s before the speech and the usual one.
Where it went on from whoever spoke before, 7 of 14 clips were heard otherwise in another order, and 29 clips with 48.2
or 50.0 % of the words wrong; now they are heard the same in any order, with 46.1 %.

Other ways to save were measured on 29 clips (0.126 s of a processor for a second of speech, 45.1 %): every second
frame only (`ds`: 0.093 s, 46.1 %, but 79 % instead of 7 % on one of the repository's clips), fewer hypotheses (2,000:
0.104 s, 46.1 %), narrower beams (0.097 s, 51.7 %); limits on words a frame and fewer Gaussians save nothing. More
weight for the phones that come next saves a fifth: on 123 recordings 46.9 % of the words wrong, with the library's own
weight of 3 46.4 %. To look more than five frames ahead saves nothing more, and words come later by as much.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from ml import errors
from ml.stt.engines.base import Hypothesis
from ml.stt.engines.pocketsphinx import MEMORY_BYTES, Decoder, to_hypothesis, with_alternatives
from ml.stt.engines.streaming import Step, StepQueue, Urgency, not_urgent
from ml.types import PcmSamples, Word
from ml.workers import WorkerPool

log = logging.getLogger(__name__)

MAX_ACTIVE_PHONES = 3000
DECODERS_A_PROCESS = 24
"""Their memory stays under the process's limit; two cores cannot follow so many speakers anyway."""

STEPS_A_ROUND = 1
"""Decoders compute one after the other, some 15 ms each: whoever comes meanwhile would wait for all of a round, and the
round trip that it saves takes one."""

PREPARE_SECONDS = 0.5
"""So long a decoder for a session that opens gives way to those who speak."""

STEP_SECONDS = 60.0
"""A process that takes longer over one round hangs."""

LOOKAHEAD_WEIGHT = 5.0
"""Of the phones in the next five frames, by which words are not begun that they cannot be."""

LIVE_SEARCH = {"fwdflat": False, "maxhmmpf": MAX_ACTIVE_PHONES, "pl_weight": LOOKAHEAD_WEIGHT}


class SphinxStreams:
    """The live side of a loaded model: utterances spread over `processes`, started when first needed."""

    def __init__(self, *, processes: int, config: Mapping[str, Any]) -> None:
        self._lock = threading.Lock()
        self._processes = [_Process(config, number) for number in range(processes)]

    def open(self, before: PcmSamples | None) -> SphinxUtterance:
        """An utterance in the process that has the fewest. Raises `EngineUnavailable`."""
        with self._lock:
            process = min(self._processes, key=lambda each: each.utterances)
            if process.utterances >= DECODERS_A_PROCESS:
                raise errors.EngineUnavailable("Too many people are speaking at once; try again later.")
            process.utterances += 1
            process.numbers += 1
            return SphinxUtterance(self, process, process.numbers, before)

    def prepare(self, speakers: int) -> None:
        """Has one decoder more made, where fewer than the speakers need are there.

        One in each process is spare: a speaker may go on while the final of what was said before is still searched.
        """
        wanted = min(DECODERS_A_PROCESS, -(-speakers // len(self._processes)) + 1)
        with self._lock:
            process = min(self._processes, key=lambda each: each.decoders)
            if process.decoders >= wanted:
                return
            process.decoders += 1
        due = time.monotonic() + PREPARE_SECONDS
        making = process.steps.submit(
            ["prepare", 0, wanted], urgency=lambda: Urgency.IDLE if time.monotonic() < due else Urgency.FIRST
        )
        making.result(STEP_SECONDS)

    def leave(self, process: _Process) -> None:
        with self._lock:
            process.utterances -= 1

    def close(self) -> None:
        for process in self._processes:
            process.close()

    def memory_bytes(self) -> int:
        """Resident memory of its processes."""
        return sum(process.pool.memory_bytes() for process in self._processes)

    def pids(self) -> list[int]:
        """The idle processes' ids; for tests and diagnostics."""
        return [pid for process in self._processes for pid in process.pool.pids()]


class _Process:
    def __init__(self, config: Mapping[str, Any], number: int) -> None:
        options = {"config": {**config, **LIVE_SEARCH}}
        self.pool = WorkerPool("ml.stt.engines.pocketsphinx_live:Decoders", options, size=1, memory_bytes=MEMORY_BYTES)
        self.steps = StepQueue(self._compute, name=f"sphinx-live-{number}", width=STEPS_A_ROUND)
        self.utterances = 0  # open ones
        self.decoders = 0  # that it was asked to make; the first is there with the process
        self.numbers = 0  # given to utterances so far

    def close(self) -> None:
        self.pool.close()
        self.steps.close()

    def _compute(self, steps: list[Step]) -> None:
        """One round trip for all that waits."""
        answers = self.pool.call("run", [step.item for step in steps], timeout_seconds=STEP_SECONDS)
        for step, (answer, error) in zip(steps, answers, strict=True):
            if error is not None:
                step.future.set_exception(errors.from_code(*error))
            else:
                step.future.set_result(answer)


class SphinxUtterance:
    """See `ml.stt.engines.streaming.Utterance`."""

    def __init__(self, streams: SphinxStreams, process: _Process, number: int, before: PcmSamples | None) -> None:
        self._streams: SphinxStreams | None = streams
        self._process = process
        self._number = number
        self._before = None if before is None else np.ascontiguousarray(before).tobytes()
        self._begun = False

    def advance(self, samples: PcmSamples, *, urgency: Callable[[], Urgency] = not_urgent) -> Future[Hypothesis]:
        pcm = np.ascontiguousarray(samples).tobytes()
        if self._begun:
            return self._submit("advance", pcm, urgency)
        self._begun = True
        return self._submit("begin", [self._before, pcm], urgency)

    def finish(self, *, alternatives: int = 0) -> Future[Hypothesis]:
        if not self._begun:
            nothing: Future[Hypothesis] = Future()
            nothing.set_result(Hypothesis("", (), 0.0))
            return nothing
        return self._submit("finish", alternatives, lambda: Urgency.LAST)

    def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is None:
            return
        try:
            closing = self._process.steps.submit(["close", self._number, None])
        except errors.EngineUnavailable:  # the engine is being closed, and its processes with it
            streams.leave(self._process)
        else:
            closing.add_done_callback(lambda _: streams.leave(self._process))

    def _submit(self, method: str, argument: Any, urgency: Callable[[], Urgency]) -> Future[Hypothesis]:
        answered: Future[Hypothesis] = Future()
        answered.set_running_or_notify_cancel()

        def pass_on(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None:
                answered.set_exception(error)
            else:
                answered.set_result(_hypothesis(*done.result()))

        step = [method, self._number, argument]
        self._process.steps.submit(step, urgency=urgency).add_done_callback(pass_on)
        return answered


def _hypothesis(words: Sequence[Sequence[Any]], others: Sequence[Sequence[Any]]) -> Hypothesis:
    heard = to_hypothesis([Word(text, start, end, confidence) for text, start, end, confidence in words])
    return with_alternatives(heard, others)


# ── In the child ────────────────────────────────────────────────────────────────────────────────────────────────────


class Decoders:
    """What runs in the process: decoders by the number of their utterance."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._shared: Any = None  # the language model of the first decoder
        self._busy: dict[int, Decoder] = {}
        self._free: list[Decoder] = [self._make()]

    def run(self, steps: Sequence[Sequence[Any]]) -> list[tuple[Any, Any]]:
        """(result, None) or (None, error) of each [method, utterance, argument], in order."""
        return [self._outcome(*step) for step in steps]

    def _outcome(self, method: str, number: int, argument: Any) -> tuple[Any, Any]:
        try:
            return getattr(self, f"_{method}")(number, argument), None
        except errors.MlError as error:
            return None, [error.code, error.message, error.param]
        except Exception as error:  # one session's fault is not another's
            log.exception("a live step failed", extra={"step": method})
            return None, ["engine_failed", f"{type(error).__name__}: {error}", None]

    def _prepare(self, _: int, count: int) -> None:
        """Has at least so many decoders."""
        while len(self._free) + len(self._busy) < count:
            self._free.append(self._make())

    def _begin(self, number: int, sound: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        before, pcm = sound
        self._busy[number] = self._free.pop() if self._free else self._make()
        return self._decoder(number).hear(pcm, before=before), []

    def _advance(self, number: int, pcm: bytes) -> tuple[list[Any], list[Any]]:
        return self._decoder(number).hear(pcm), []

    def _finish(self, number: int, alternatives: int) -> tuple[list[Any], list[Any]]:
        decoder = self._decoder(number)
        del self._busy[number]
        self._free.append(decoder)
        return decoder.end(alternatives)

    def _decoder(self, number: int) -> Decoder:
        if number not in self._busy:  # the process that heard it died, and this is its successor
            raise errors.EngineFailed("The engine's process died; the utterance has to be heard again.")
        return self._busy[number]

    def _close(self, number: int, _: None) -> None:
        decoder = self._busy.pop(number, None)
        if decoder is not None:
            decoder.end(0)
            self._free.append(decoder)

    def _make(self) -> Decoder:
        decoder = Decoder(self._config, language_model=self._shared)
        if self._shared is None:
            self._shared = decoder.language_model
        return decoder
