"""One live session: sound in, events out.

A session is an actor: whatever happens to it (sound, commands, results of engines) waits in its inbox, and one thread
of the recogniser's at a time works through it, so that nothing below needs a lock but the inbox. It holds a model only
while somebody speaks; a silent session costs voice activity detection and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ml import errors, runtime
from ml.audio.decode import SAMPLE_RATE
from ml.audio.stream import StreamDecoder, bytes_per_second, open_stream
from ml.stt import recognition, registry
from ml.stt.engines.base import Hypothesis, Window
from ml.stt.live.agreement import Agreement
from ml.stt.live.endpointing import Endpointer
from ml.stt.live.events import (
    Closed,
    CloseReason,
    Failed,
    Final,
    Finalized,
    LiveEvent,
    Partial,
    Ready,
    SpeechEnded,
    SpeechStarted,
    UtteranceEnd,
)
from ml.stt.live.hearing import Hearing, Work, open_hearing
from ml.stt.live.options import LiveOptions
from ml.stt.live.tape import Tape
from ml.stt.live.writing import LiveWriter, masked
from ml.stt.stages import STAGES, wanted
from ml.stt.text.rescoring import alternatives_wanted
from ml.stt.vad import FRAME_SAMPLES, SpeechDetector, SpeechSpan
from ml.types import Caller, PcmSamples

if TYPE_CHECKING:
    from ml.stt.live.recogniser import LiveRecognizer

log = logging.getLogger(__name__)

PUSH_SECONDS = 10.0
"""A session that makes no room for so long is too far behind."""

_BLOCK_SECONDS = 0.25  # of sound that is heard at a time: other work comes between
_UNWRITTEN_UTTERANCES = 4  # that have ended and are not final yet, before no more sound is heard
_BACKLOG_SECONDS = 1.0
_ITEMS_A_TURN = 8
"""So many items, and the thread goes on to the next session."""


class _Refused(Exception):
    """`on_heard` does not allow more."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(eq=False)
class _Utterance:
    number: int
    window_start: int  # samples of the session
    model: registry.ModelInfo
    resolution: registry.Resolution
    agreement: Agreement
    window: Window  # without its sound
    hearing: Hearing | None = None
    given: int = 0  # samples of the session: up to where the hearing has been given them
    window_end: int = 0
    cut: bool = False
    done: bool = False
    events: list[LiveEvent] = field(default_factory=list)  # until those before it are final


@dataclass(eq=False)
class _Marker:
    """A place in the queue of utterances: `finalize`, or the end."""

    reached: Callable[[], None]


class LiveSession:
    """Started by `LiveRecognizer.start`. All methods may be called from any thread, also from `on_event`.

    `on_event` is called from the recogniser's threads, one event at a time; it must not wait for this session.
    """

    def __init__(
        self,
        recogniser: LiveRecognizer,
        options: LiveOptions,
        resolution: registry.Resolution,
        *,
        caller: Caller,
        on_event: Callable[[LiveEvent], None],
        on_heard: Callable[[float], None] | None,
    ) -> None:
        self.options = options
        self.resolution = resolution
        self._recogniser = recogniser
        self._caller = replace(caller, priority="realtime")
        self._on_event = on_event
        self._on_heard = on_heard
        self._cancel = threading.Event()
        self.closed = threading.Event()
        self.loading = True  # until `Ready`
        self._changed = threading.Lock()
        self._inbox: deque[Callable[[], None]] = deque()  # commands and results
        self._sound: deque[bytes | Callable[[], None]] = deque()  # in order with the commands that follow it
        self._sound_bytes = 0
        self._taken = False  # by a thread, or about to be
        self._stopping = False  # nothing more is taken in
        self._room_wanted: list[Callable[[], None]] = []
        bytes_a_second = bytes_per_second(options.encoding, options.sample_rate)
        self._most_bytes = round(options.buffer_seconds * bytes_a_second)
        self._block_bytes = max(8, round(_BLOCK_SECONDS * bytes_a_second) // 8 * 8)
        # What follows is touched by the thread that has taken the session only.
        self._decoder: StreamDecoder | None = None
        self._detector = SpeechDetector()
        longest = min(options.endpointing.max_utterance_seconds, resolution.model.capabilities.max_window_seconds)
        self._endpointer = Endpointer(options.endpointing, max_seconds=longest)
        self._tape = Tape()
        self._writer = LiveWriter(options.transcription)
        self._current: _Utterance | None = None
        self._queue: deque[_Utterance | _Marker] = deque()
        self._numbers = 0
        self._last_word_end: float | None = None  # that `UtteranceEnd` has still to be told of
        self._reason: CloseReason | None = None
        # With `redact`, nothing is shown before it is known to be no number or address.
        self._tells_partials = options.interim_results and not wanted("redact", options.transcription)

    # ── From any thread ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def audio_seconds(self) -> float:
        """Heard so far."""
        return self._tape.end / SAMPLE_RATE

    @property
    def waiting_seconds(self) -> float:
        """Of sound that was pushed and waits to be heard (of Opus: about)."""
        return self._sound_bytes / bytes_per_second(self.options.encoding, self.options.sample_rate)

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages that ran, in order."""
        ran = {"decode", "vad", "recognise", *self._writer.stages}
        return tuple(name for name in STAGES if name in ran)

    def offer(self, data: bytes, *, when_room: Callable[[], None] | None = None) -> bool:
        """Takes sound without waiting; False where there is no room, and then `when_room` is called once there is.

        A session that is stopping or has closed takes everything and hears nothing of it.
        """
        with self._changed:
            if self._stopping or not data:
                return True
            if self._sound_bytes and self._sound_bytes + len(data) > self._most_bytes:
                if when_room is not None:
                    self._room_wanted.append(when_room)
                return False
            for start in range(0, len(data), self._block_bytes):
                self._sound.append(bytes(data[start : start + self._block_bytes]))
            self._sound_bytes += len(data)
            self._take()
            return True

    def push(self, data: bytes, *, timeout: float = PUSH_SECONDS) -> None:
        """Takes sound; waits for room. Raises `TooFarBehind` where there is none for `timeout` seconds."""
        room = threading.Event()
        while not self.offer(data, when_room=room.set):
            if not room.wait(timeout) and not self.loading:
                raise too_far_behind()
            room.clear()

    def finalize(self) -> None:
        """Ends the utterance under way, if there is one; `Finalized` is told when its final has been."""
        self._command(self._finalize)

    def stop(self) -> None:
        """Hears what was pushed, tells the last finals, and closes."""
        self._command(lambda: self._finish("stopped"), last=True)

    def abort(self) -> None:
        """Closes now: what is being computed is dropped."""
        with self._changed:
            self._stopping = True
            self._cancel.set()
        self._post(lambda: self._close("aborted"))

    def fail(self, error: Exception) -> None:
        """Ends with what was heard until now, and tells `Failed`."""
        with self._changed:
            self._stopping = True
            self._sound.clear()
            self._sound_bytes = 0
        self._post(lambda: self._fail(error))

    # ── The inbox ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _command(self, command: Callable[[], None], *, last: bool = False) -> None:
        with self._changed:
            if not self._stopping:
                self._sound.append(command)
                self._stopping = last
                self._take()

    def _post(self, item: Callable[[], None]) -> None:
        with self._changed:
            self._inbox.append(item)
            self._take()

    def _take(self) -> None:
        """Under the lock: has a thread come by."""
        if not self._taken:
            self._taken = self._recogniser.run(self._work)

    def _work(self) -> None:
        for _ in range(_ITEMS_A_TURN):
            item = self._next()
            if item is None:
                return
            self._do(item)
        with self._changed:
            self._taken = self._recogniser.run(self._work)

    def _do(self, item: bytes | Callable[[], None]) -> None:
        """Sound that cannot be heard ends the session in good order; anything else that fails, at once."""
        try:
            if not isinstance(item, bytes):
                item()
                return
            try:
                self._hear_bytes(item)
            except (_Refused, errors.MlError) as error:
                self._fail(error.why if isinstance(error, _Refused) else error)
        except Exception as error:
            if not isinstance(error, errors.MlError):
                log.exception("live session failed")
            self._tell_failure(error)

    def _next(self) -> bytes | Callable[[], None] | None:
        with self._changed:
            if self._inbox:
                return self._inbox.popleft()
            if self._sound and not self._is_behind():
                item = self._sound.popleft()
                if isinstance(item, bytes):
                    self._sound_bytes -= len(item)
                    self._tell_room()
                return item
            self._taken = False
            return None

    def _is_behind(self) -> bool:
        """Whether the model has to be loaded, or what was heard understood, before more is heard."""
        if self.loading:
            return True
        current = self._current
        if current is not None and current.hearing is not None and current.hearing.backlog_seconds > _BACKLOG_SECONDS:
            return True
        return sum(isinstance(each, _Utterance) for each in self._queue) > _UNWRITTEN_UTTERANCES

    def _tell_room(self) -> None:
        wanted, self._room_wanted = self._room_wanted, []
        for callback in wanted:
            callback()

    # ── Sound ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Called once, by the recogniser: loads the model, so that the first word need not wait for it."""
        loading = self._recogniser.loaders.submit(self._warm)
        loading.add_done_callback(lambda done: self._post(lambda: self._warmed(done)))

    def _warm(self) -> registry.ModelInfo:
        failure: errors.MlError | None = None
        for model in self.resolution.candidates or (self.resolution.model,):
            try:
                with runtime.pool.acquire(model.id, cancel=self._cancel) as engine:
                    if model.capabilities.streaming:
                        utterance = engine.open_utterance()
                        try:
                            utterance.advance(np.zeros(SAMPLE_RATE // 10, np.int16)).result(timeout=60)
                        finally:
                            utterance.close()
                return model
            except (errors.EngineFailed, errors.EngineUnavailable) as error:
                failure = failure or error
        raise failure or errors.EngineUnavailable("No model can hear this.")

    def _warmed(self, loading: Future[registry.ModelInfo]) -> None:
        error = loading.exception()
        if self._reason is not None:
            return
        if error is not None:
            raise error
        self.loading = False
        self._emit(Ready(loading.result().name, self.resolution.language))

    def _hear_bytes(self, data: bytes) -> None:
        if self._reason is not None:
            return
        if self._decoder is None:
            options = self.options
            self._decoder = open_stream(options.encoding, options.sample_rate, tenant=self._caller.tenant)
        self._hear(self._decoder.feed(data))

    def _hear(self, samples: PcmSamples) -> None:
        most = self.options.max_seconds
        left = None if most is None else max(0, round(most * SAMPLE_RATE) - self._tape.end)
        too_long = left is not None and len(samples) > left
        samples = samples[:left] if too_long else samples
        if len(samples) and self._on_heard is not None:
            try:
                self._on_heard((self._tape.end + len(samples)) / SAMPLE_RATE)
            except Exception as error:
                raise _Refused(error) from error
        self._tape.append(samples)
        self._detect(self._detector.push(samples))
        if too_long:
            self._finish("too_long")

    def _detect(self, probabilities: Any) -> None:
        endpointer = self._endpointer
        for probability in probabilities:
            change = endpointer.push(float(probability))
            if change == "started":
                self._start_utterance()
            elif change == "quiet" and self._current is not None:
                self._give()
                if self._current.hearing is not None:
                    self._current.hearing.complete()
            elif change == "ended":
                self._end_utterance()
        if self._current is not None:
            self._give()
        needed = endpointer.frame if endpointer.start is None else endpointer.window_start
        self._tape.forget(before=needed * FRAME_SAMPLES)
        self._tell_utterance_end()

    # ── Utterances ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_utterance(self) -> None:
        resolution = registry.resolve(self.options.transcription)
        model = _serving(resolution)
        options = self.options.transcription
        language = registry.primary_language(resolution.language)
        window = Window(
            np.zeros(0, np.int16),
            language=language if resolution.language_confidence else None,
            task=options.task,
            prompt=options.prompt,
            hotwords=options.hotwords,
            alternatives=alternatives_wanted(model.capabilities, language, options),
        )
        start = self._endpointer.window_start * FRAME_SAMPLES
        utterance = _Utterance(
            self._numbers, start, model, resolution, Agreement(final_may_differ=bool(window.alternatives)), window,
            given=start,
        )  # fmt: skip
        self._numbers += 1
        self._current = utterance
        self._queue.append(utterance)
        self._last_word_end = None
        self._tell(utterance, SpeechStarted(utterance.number, _seconds((self._endpointer.start or 0) * FRAME_SAMPLES)))
        work = Work(
            model=model,
            window=window,
            caller=self._caller,
            cancel=self._cancel,
            loaders=self._recogniser.loaders,
            post=self._post,
            on_partial=(lambda hypothesis, seconds: self._partial(utterance, hypothesis, seconds))
            if self._tells_partials
            else None,
            on_final=lambda outcome: self._final(utterance, outcome),
        )
        utterance.hearing = open_hearing(work)

    def _give(self) -> None:
        """Gives the hearing what it has not been given of the utterance's window."""
        utterance = self._current
        if utterance is None or utterance.hearing is None:
            return
        end = min(self._tape.end, self._endpointer.window_end * FRAME_SAMPLES)
        if end > utterance.given:
            utterance.hearing.hear(self._tape.read(utterance.given, end))
            utterance.given = end

    def _end_utterance(self, *, wanted: bool = False) -> None:
        """wanted: somebody says that it ends here, whatever it sounds like."""
        utterance = self._current
        if utterance is None or utterance.hearing is None:
            return
        self._give()
        span = self._endpointer.take()
        self._current = None
        utterance.window_end, utterance.cut = utterance.given, span.cut and not wanted
        self._tell(utterance, SpeechEnded(utterance.number, _seconds(span.end * FRAME_SAMPLES), utterance.cut))
        self._tape.keep(
            utterance.number, utterance.window_start
        )  # until its final, should another model have to hear it
        utterance.hearing.end()

    def _partial(self, utterance: _Utterance, hypothesis: Hypothesis, heard_seconds: float) -> None:
        agreed = utterance.agreement.update(hypothesis, heard_seconds)
        if not agreed.text or utterance.done:
            return
        language = utterance.resolution.language
        options = self.options.transcription
        start = _seconds(utterance.window_start)
        words = tuple(
            replace(word, start=round(start + word.start, 3), end=round(start + word.end, 3)) for word in agreed.words
        )
        self._tell(
            utterance,
            Partial(
                segment=utterance.number,
                text=masked(agreed.text, language, options),
                stable=masked(agreed.stable, language, options),
                start=words[0].start if words else start,
                end=words[-1].end if words else round(start + heard_seconds, 3),
                words=words,
            ),
        )

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
        log.warning("live recogniser failed", extra={"model": utterance.model.name, "error": str(error)})
        window = replace(utterance.window, samples=self._sound_of(utterance))
        again = self._recogniser.loaders.submit(
            recognition.recognise, [window], utterance.resolution, caller=self._caller, cancel=self._cancel
        )
        again.add_done_callback(lambda done: self._post(lambda: self._write(utterance, _settled(utterance, done))))

    def _sound_of(self, utterance: _Utterance) -> PcmSamples:
        return self._tape.read(utterance.window_start, utterance.window_end)

    def _write(self, utterance: _Utterance, heard: recognition.Heard) -> None:
        start, end = _seconds(utterance.window_start), _seconds(utterance.window_end)
        segment = self._writer.write(SpeechSpan(start, end), heard, cut=utterance.cut)
        self._tape.release(utterance.number)
        self._tell(
            utterance,
            Final(
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
            ),
        )
        if segment is not None:
            self._last_word_end = segment.end
        utterance.done = True
        self._advance_queue()
        self._tell_utterance_end()

    # ── Telling, in order ───────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, utterance: _Utterance, event: LiveEvent) -> None:
        if self._queue and self._queue[0] is utterance:
            self._emit(event)
        else:
            utterance.events.append(event)

    def _advance_queue(self) -> None:
        while self._queue:
            first = self._queue[0]
            if isinstance(first, _Marker):
                self._queue.popleft()
                self._tell_utterance_end()
                first.reached()
                continue
            for event in first.events:
                self._emit(event)
            first.events = []
            if not first.done:
                return
            self._queue.popleft()

    def _tell_utterance_end(self) -> None:
        wait = self.options.endpointing.utterance_end_seconds
        last = self._last_word_end
        if wait is None or last is None or self._endpointer.speaking:
            return
        if any(isinstance(each, _Utterance) for each in self._queue):
            return
        if self.audio_seconds - last >= wait:
            self._last_word_end = None
            self._emit(UtteranceEnd(last))

    def _emit(self, event: LiveEvent) -> None:
        if self.closed.is_set():
            return
        try:
            self._on_event(event)
        except Exception:
            log.exception("nobody could be told of a live event")
            self.abort()

    # ── Ends ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _finalize(self) -> None:
        if self._reason is not None:
            return
        if self._endpointer.speaking:
            self._end_utterance(wanted=True)
        self._queue.append(_Marker(lambda: self._emit(Finalized(self.audio_seconds))))
        self._advance_queue()

    def _finish(self, reason: CloseReason) -> None:
        """Hears the rest, and closes when the last final has been told."""
        if self._reason is not None:
            return
        if reason == "stopped" and self._decoder is not None:
            self._hear(self._decoder.finish())
            self._detect(self._detector.flush())
        if self._reason is not None:  # the rest was too long
            return
        self._end(reason, lambda: self._close(reason))

    def _fail(self, error: Exception) -> None:
        """Tells what was heard until now, and that it was the end."""
        if self._reason is not None:
            # It was ending anyway, and now not even that works.
            self._tell_failure(error)
            return
        self._end("failed", lambda: self._tell_failure(error))

    def _end(self, reason: CloseReason, then: Callable[[], None]) -> None:
        self._reason = reason
        with self._changed:
            self._stopping = True
            self._sound.clear()
            self._sound_bytes = 0
            self._tell_room()
        if self._endpointer.speaking:
            self._end_utterance(wanted=True)
        self._queue.append(_Marker(then))
        self._advance_queue()

    def _tell_failure(self, error: Exception) -> None:
        self._emit(Failed(error))
        self._close("failed")

    def _close(self, reason: CloseReason) -> None:
        if self.closed.is_set():
            return
        self._reason = self._reason or reason
        self._cancel.set()
        for each in self._queue:
            if isinstance(each, _Utterance) and each.hearing is not None:
                each.hearing.close()
        self._queue.clear()
        self._current = None
        if self._decoder is not None:
            self._decoder.close()
        with self._changed:
            self._stopping = True
            self._sound.clear()
            self._sound_bytes = 0
            self._tell_room()
        self._recogniser.forget(self)
        self._emit(Closed(reason, round(self.audio_seconds, 3)))
        self.closed.set()


def too_far_behind() -> errors.TooFarBehind:
    return errors.TooFarBehind("The sound comes faster than it can be recognised now; send it slower or try later.")


def _settled(utterance: _Utterance, done: Future[recognition.Heard]) -> recognition.Heard:
    heard = done.result()
    hypotheses = tuple(utterance.agreement.settle(hypothesis) for hypothesis in heard.hypotheses)
    return replace(heard, hypotheses=hypotheses)


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
