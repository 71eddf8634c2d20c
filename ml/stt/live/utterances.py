"""The utterances of a live session: each is heard on its own, and all are told in the order in which they were spoken.

Touched by one thread at a time: the one that works through the session's inbox.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace

from ml import errors, runtime
from ml.audio.decode import SAMPLE_RATE
from ml.stt import recognition, registry
from ml.stt.engines.base import Hypothesis, Window
from ml.stt.live.agreement import Agreement
from ml.stt.live.events import Final, LiveEvent, Partial, SpeechEnded, SpeechStarted, UtteranceEnd
from ml.stt.live.hearing import Hearing, Work, open_hearing
from ml.stt.live.options import LiveOptions
from ml.stt.live.tape import Tape
from ml.stt.live.writing import LiveWriter, masked
from ml.stt.stages import wanted
from ml.stt.text.rescoring import alternatives_wanted
from ml.stt.vad import SpeechSpan
from ml.types import NO_SOUND, Caller, PcmSamples

log = logging.getLogger(__name__)

_UNWRITTEN = 4  # that have ended and are not final yet, before no more sound is heard
_BACKLOG_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What the session lends its utterances."""

    options: LiveOptions
    caller: Caller
    cancel: threading.Event
    loaders: Executor
    tape: Tape
    post: Callable[[Callable[[], None]], None]  # has a step done by the session's thread
    emit: Callable[[LiveEvent], None]


@dataclass(eq=False)
class _Utterance:
    number: int
    start: int  # of its window, in samples of the session
    end: int  # up to where the hearing has been given it
    model: registry.ModelInfo
    resolution: registry.Resolution
    window: Window  # without its sound
    agreement: Agreement
    hearing: Hearing | None = None
    cut: bool = False
    done: bool = False
    events: list[LiveEvent] = field(default_factory=list)  # until those before it are final


@dataclass(eq=False)
class _Marker:
    """A place among the utterances."""

    reached: Callable[[], None]


class Utterances:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._options = desk.options.transcription
        self._writer = LiveWriter(self._options)
        self._queue: deque[_Utterance | _Marker] = deque()
        self._current: _Utterance | None = None
        self._count = 0
        self._last_word_end: float | None = None  # that `UtteranceEnd` has still to be told of
        # With `redact`, nothing is shown before it is known to be no number or address.
        self._tells_partials = desk.options.interim_results and not wanted("redact", self._options)

    @property
    def stages(self) -> set[str]:
        """The names of the text stages that ran."""
        return self._writer.stages

    @property
    def behind(self) -> bool:
        """Whether what was heard has to be understood before more is heard."""
        hearing = self._current.hearing if self._current else None
        if hearing is not None and hearing.backlog_seconds > _BACKLOG_SECONDS:
            return True
        return self._unwritten > _UNWRITTEN

    @property
    def _unwritten(self) -> int:
        return sum(isinstance(each, _Utterance) for each in self._queue)

    # ── From the first sound to the last ────────────────────────────────────────────────────────────────────────────

    def start(self, window_start: int, speech_start: int) -> None:
        """Somebody speaks: an utterance begins. In samples of the session. Raises what `registry.resolve` raises."""
        resolution = registry.resolve(self._options)
        model = _serving(resolution)
        window = self._window(resolution, model)
        settled = model.capabilities.settled_seconds
        agreement = Agreement(settled_seconds=settled, final_may_differ=bool(window.alternatives))
        utterance = _Utterance(self._count, window_start, window_start, model, resolution, window, agreement)
        self._count += 1
        self._current = utterance
        self._queue.append(utterance)
        self._last_word_end = None
        self._tell(utterance, SpeechStarted(utterance.number, _seconds(speech_start)))
        utterance.hearing = open_hearing(self._work(utterance, self._before(model, window_start, speech_start)))

    def give(self, end: int) -> None:
        """The window of the utterance under way reaches up to `end`."""
        utterance = self._current
        if utterance is not None and utterance.hearing is not None and end > utterance.end:
            sound = self._desk.tape.read(utterance.end, end)
            utterance.end += len(sound)
            utterance.hearing.hear(sound)

    def complete(self) -> None:
        """Probably all of it has been given: the speaker has paused."""
        if self._current is not None and self._current.hearing is not None:
            self._current.hearing.complete()

    def finish(self, speech_end: int, *, cut: bool) -> None:
        """The utterance under way has ended, or was cut where the speaker goes on."""
        utterance, self._current = self._current, None
        if utterance is None or utterance.hearing is None:
            return
        utterance.cut = cut
        self._tell(utterance, SpeechEnded(utterance.number, _seconds(speech_end), cut))
        self._desk.tape.keep(utterance.number, utterance.start)  # should another model have to hear it
        utterance.hearing.end()

    def drop(self) -> None:
        """The utterance under way is not wanted."""
        utterance, self._current = self._current, None
        if utterance is None or utterance.hearing is None:
            return
        utterance.hearing.close()
        at, resolution = _seconds(utterance.start), utterance.resolution
        nothing = Final(utterance.number, "", at, at, 0.0, (), resolution.language, 0.0, utterance.model.name)
        self._tell(utterance, nothing)
        utterance.done = True
        self._advance()

    def mark(self, reached: Callable[[], None]) -> None:
        """Has `reached` called when all that began before is final."""
        self._queue.append(_Marker(reached))
        self._advance()

    def close(self) -> None:
        for each in self._queue:
            if isinstance(each, _Utterance) and each.hearing is not None:
                each.hearing.close()
        self._queue.clear()
        self._current = None

    # ── What is understood ──────────────────────────────────────────────────────────────────────────────────────────

    def _window(self, resolution: registry.Resolution, model: registry.ModelInfo) -> Window:
        options = self._options
        language = registry.primary_language(resolution.language)
        return Window(
            NO_SOUND,
            language=language if resolution.language_confidence else None,
            task=options.task,
            prompt=options.prompt,
            hotwords=options.hotwords,
            alternatives=alternatives_wanted(model.capabilities, language, options),
        )

    def _before(self, model: registry.ModelInfo, window_start: int, speech_start: int) -> PcmSamples | None:
        lead = round(model.capabilities.lead_seconds * SAMPLE_RATE)
        if speech_start < lead / 2:  # of the session: what little there was before tells nothing
            return None
        return self._desk.tape.read(speech_start - lead, window_start)

    def _work(self, utterance: _Utterance, before: PcmSamples | None) -> Work:
        def on_partial(hypothesis: Hypothesis, seconds: float) -> None:
            self._partial(utterance, hypothesis, seconds)

        return Work(
            model=utterance.model,
            window=utterance.window,
            before=before,
            caller=self._desk.caller,
            cancel=self._desk.cancel,
            loaders=self._desk.loaders,
            post=self._desk.post,
            on_partial=on_partial if self._tells_partials else None,
            on_final=lambda outcome: self._final(utterance, outcome),
        )

    def _partial(self, utterance: _Utterance, hypothesis: Hypothesis, heard_seconds: float) -> None:
        agreed = utterance.agreement.update(hypothesis, heard_seconds)
        if not agreed.text or utterance.done:
            return
        language, start = utterance.resolution.language, _seconds(utterance.start)
        words = tuple(
            replace(word, start=round(start + word.start, 3), end=round(start + word.end, 3)) for word in agreed.words
        )
        partial = Partial(
            segment=utterance.number,
            text=masked(agreed.text, language, self._options),
            stable=masked(agreed.stable, language, self._options),
            start=words[0].start if words else start,
            end=words[-1].end if words else round(start + heard_seconds, 3),
            words=words,
        )
        self._tell(utterance, partial)

    def _final(self, utterance: _Utterance, outcome: Hypothesis | Exception) -> None:
        if isinstance(outcome, Exception):
            self._hear_otherwise(utterance, outcome)
            return
        window = replace(utterance.window, samples=self._sound_of(utterance))
        settled = utterance.agreement.settle(outcome)
        self._write(utterance, recognition.heard_in(window, settled, utterance.resolution, utterance.model))

    def _hear_otherwise(self, utterance: _Utterance, error: Exception) -> None:
        """An engine broke: the whole utterance is recognised as a recording is, by whichever model can."""
        if not isinstance(error, errors.EngineFailed | errors.EngineUnavailable):
            raise error
        log.warning("live recogniser failed", extra={"model": utterance.model.label, "error": str(error)})
        window = replace(utterance.window, samples=self._sound_of(utterance))
        again = self._desk.loaders.submit(
            recognition.recognise,
            [window],
            utterance.resolution,
            caller=self._desk.caller,
            cancel=self._desk.cancel,
        )
        again.add_done_callback(lambda done: self._desk.post(lambda: self._heard_otherwise(utterance, done)))

    def _heard_otherwise(self, utterance: _Utterance, done: Future[recognition.Heard]) -> None:
        heard = done.result()
        settled = tuple(utterance.agreement.settle(hypothesis) for hypothesis in heard.hypotheses)
        self._write(utterance, replace(heard, hypotheses=settled))

    def _sound_of(self, utterance: _Utterance) -> PcmSamples:
        return self._desk.tape.read(utterance.start, utterance.end)

    def _write(self, utterance: _Utterance, heard: recognition.Heard) -> None:
        start, end = _seconds(utterance.start), _seconds(utterance.end)
        segment = self._writer.write(SpeechSpan(start, end), heard, cut=utterance.cut)
        self._desk.tape.release(utterance.number)
        final = Final(
            segment=utterance.number,
            text=segment.text if segment else "",
            start=segment.start if segment else start,
            end=segment.end if segment else end,
            confidence=segment.confidence if segment else 0.0,
            words=segment.words if segment else (),
            language=heard.language,
            language_confidence=heard.language_confidence,
            model=heard.model.name,
            fallback_reason=heard.fallback_reason,
        )
        self._tell(utterance, final)
        if segment is not None:
            self._last_word_end = segment.end
        utterance.done = True
        self._advance()

    # ── Telling, in order ───────────────────────────────────────────────────────────────────────────────────────────

    def tell_utterance_end(self) -> None:
        """`UtteranceEnd`, where it is wanted and its time has come."""
        wait, last = self._desk.options.endpointing.utterance_end_seconds, self._last_word_end
        if wait is None or last is None or self._unwritten:
            return
        if self._desk.tape.end / SAMPLE_RATE - last >= wait:
            self._last_word_end = None
            self._desk.emit(UtteranceEnd(last))

    def _tell(self, utterance: _Utterance, event: LiveEvent) -> None:
        if self._queue and self._queue[0] is utterance:
            self._desk.emit(event)
        else:
            utterance.events.append(event)

    def _advance(self) -> None:
        while self._queue:
            first = self._queue[0]
            if isinstance(first, _Marker):
                self._queue.popleft()
                self.tell_utterance_end()
                first.reached()
                continue
            for event in first.events:
                self._desk.emit(event)
            first.events = []
            if not first.done:
                return
            self._queue.popleft()
        self.tell_utterance_end()


def _serving(resolution: registry.Resolution) -> registry.ModelInfo:
    """The first candidate that has not just failed to load."""
    for model in resolution.candidates:
        try:
            if runtime.pool.state(model.id).status != "failed":
                return model
        except errors.UnknownModel:
            continue
    return resolution.model


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 3)
