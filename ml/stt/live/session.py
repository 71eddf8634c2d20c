"""One live session: sound in, events out.

A session is an actor: whatever happens to it waits in its inbox, and one thread of the recogniser's at a time works
through that. It holds a model only while somebody speaks; a silent session costs voice activity detection and nothing
else.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml import errors, runtime
from ml.audio.decode import SAMPLE_RATE
from ml.audio.stream import StreamDecoder, bytes_per_second, open_stream
from ml.stt import registry
from ml.stt.live.endpointing import Endpointer
from ml.stt.live.events import Cleared, Closed, CloseReason, Failed, Finalized, LiveEvent, Ready
from ml.stt.live.inbox import Inbox
from ml.stt.live.options import LiveOptions
from ml.stt.live.tape import Tape
from ml.stt.live.utterances import Desk, Utterances
from ml.stt.quality import QualityMeter
from ml.stt.stages import STAGES
from ml.stt.vad import FRAME_SAMPLES, FRAMES_PER_SECOND, SpeechDetector, frame_powers
from ml.types import AudioQuality, Caller, PcmSamples

if TYPE_CHECKING:
    from ml.stt.live.recogniser import LiveRecognizer

log = logging.getLogger(__name__)

PUSH_SECONDS = 10.0
"""A session that makes no room for so long is too far behind."""


class _Refused(Exception):
    """`on_heard` does not allow more."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


class LiveSession:
    """Started by `LiveRecognizer.start`. Its methods may be called from any thread, also from `on_event`.

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
        self.closed = threading.Event()
        self.loading = True  # until `Ready`
        self._recogniser = recogniser
        self._caller = replace(caller, priority="realtime")
        self._on_event = on_event
        self._on_heard = on_heard
        self._cancel = threading.Event()
        self._reason: CloseReason | None = None  # why it is ending, or has ended
        opener = contextvars.copy_context()  # whose work the threads' log lines and traces tell of
        self._inbox = Inbox(
            lend=lambda step: recogniser.run(functools.partial(opener.copy().run, step)),
            hear=self._hear_bytes,
            do=self._do,
            behind=lambda: self.loading or self._utterances.behind,
            bytes_a_second=bytes_per_second(options.encoding, options.sample_rate),
            buffer_seconds=options.buffer_seconds,
        )
        # What follows is touched by the inbox's thread only.
        self._decoder: StreamDecoder | None = None
        self._detector = SpeechDetector()
        able = resolution.model.capabilities
        self._endpointer = Endpointer(
            options.endpointing,
            max_seconds=min(options.endpointing.max_utterance_seconds, able.max_window_seconds),
            lead_seconds=able.lead_seconds,
        )
        self._quality = QualityMeter()
        self._tape = Tape()
        self._utterances = Utterances(
            Desk(options, self._caller, self._cancel, recogniser.loaders, self._tape, self._inbox.post, self._emit)
        )

    # ── From any thread ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def audio_seconds(self) -> float:
        """Heard so far."""
        return self._tape.end / SAMPLE_RATE

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages that ran, in order."""
        ran = {"decode", "vad", "recognise", "score", *self._utterances.stages}
        return tuple(name for name in STAGES if name in ran)

    @property
    def quality(self) -> AudioQuality:
        """Of the sound so far."""
        return self._quality.score(self._endpointer.speech_frames / FRAMES_PER_SECOND, self.audio_seconds)

    def offer(self, data: bytes, *, when_room: Callable[[], None] | None = None) -> bool:
        """Takes sound without waiting; False where there is no room, and then `when_room` is called once there is.

        A session that is stopping or has closed takes everything and hears nothing of it.
        """
        return self._inbox.offer(data, when_room)

    def push(self, data: bytes, *, timeout: float = PUSH_SECONDS) -> None:
        """Takes sound; waits for room. Raises `TooFarBehind` where there is none for `timeout` seconds."""
        room = threading.Event()
        while not self.offer(data, when_room=room.set):
            if not room.wait(timeout) and not self.loading:
                raise too_far_behind()
            room.clear()

    def finalize(self) -> None:
        """Ends the utterance under way, if there is one; `Finalized` is told when its final has been."""
        self._inbox.command(self._finalize)

    def clear(self) -> None:
        """Forgets the utterance under way, whose `Final` is empty, and what was pushed and not heard yet; `Cleared` is
        told when all finals before it have been."""
        self._inbox.forget_sound()
        self._inbox.command(self._clear)

    def stop(self) -> None:
        """Hears what was pushed, tells the last finals, and closes."""
        self._inbox.command(lambda: self._finish("stopped"), last=True)

    def abort(self) -> None:
        """Closes now: what is being computed is dropped."""
        self._inbox.shut(drop=False)
        self._cancel.set()
        self._inbox.post(lambda: self._close("aborted"))

    def fail(self, error: Exception) -> None:
        """Ends with what was heard until now, and tells `Failed`."""
        self._inbox.shut(drop=True)
        self._inbox.post(lambda: self._fail(error))

    # ── Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Called once, by the recogniser: loads the model, so that the first word need not wait for it."""
        loading = self._recogniser.loaders.submit(self._warm)
        loading.add_done_callback(lambda done: self._inbox.post(lambda: self._warmed(done)))

    def _warm(self) -> registry.ModelInfo:
        failure: errors.MlError | None = None
        for model in self.resolution.candidates or (self.resolution.model,):
            try:
                with runtime.pool.acquire(model.id, cancel=self._cancel) as engine:
                    if model.capabilities.streaming:
                        engine.prepare_utterance(self._recogniser.sessions)
                return model
            except (errors.EngineFailed, errors.EngineUnavailable) as error:
                failure = failure or error
        raise failure or errors.EngineUnavailable("No model can hear this.")

    def _warmed(self, loading: Future[registry.ModelInfo]) -> None:
        if self._reason is None:
            model = loading.result()
            self.loading = False
            self._emit(Ready(model.name, self.resolution.language))

    # ── Sound ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _do(self, step: Callable[[], None]) -> None:
        """What fails here cannot be mended: the session ends at once."""
        try:
            step()
        except Exception as error:
            if not isinstance(error, errors.MlError):
                log.exception("live session failed")
            self._tell_failure(error)

    def _hear_bytes(self, data: bytes) -> None:
        """Sound that cannot or may not be heard ends the session in good order."""

        def hear() -> None:
            try:
                if self._reason is None:
                    self._hear(self._opened().feed(data))
            except _Refused as refused:
                self._fail(refused.why)
            except errors.MlError as error:
                self._fail(error)

        self._do(hear)

    def _opened(self) -> StreamDecoder:
        if self._decoder is None:
            options = self.options
            self._decoder = open_stream(options.encoding, options.sample_rate, tenant=self._caller.tenant)
        return self._decoder

    def _hear(self, samples: PcmSamples) -> None:
        most = self.options.max_seconds
        left = None if most is None else max(0, round(most * SAMPLE_RATE) - self._tape.end)
        too_long = left is not None and len(samples) > left
        samples = samples[:left] if too_long else samples
        if len(samples):
            self._ask((self._tape.end + len(samples)) / SAMPLE_RATE)
            self._tape.append(samples)
            self._quality.count(samples)
            self._detect(self._detector.push(samples))
        if too_long:
            self._finish("too_long")

    def _ask(self, seconds: float) -> None:
        if self._on_heard is not None:
            try:
                self._on_heard(seconds)
            except Exception as error:
                raise _Refused(error) from error

    def _detect(self, probabilities: NDArray[np.float32]) -> None:
        """What each frame changes: an utterance begins, is probably complete, ends."""
        endpointer, first = self._endpointer, self._endpointer.frame
        for probability in probabilities:
            change = endpointer.push(float(probability))
            if change == "started":
                start = endpointer.start or 0
                self._utterances.start(endpointer.window_start * FRAME_SAMPLES, start * FRAME_SAMPLES)
            elif change == "quiet":
                self._give()
                self._utterances.complete()
            elif change == "ended":
                self._end_utterance()
        heard = self._tape.read(first * FRAME_SAMPLES, endpointer.frame * FRAME_SAMPLES)
        self._quality.add(probabilities[: -(-len(heard) // FRAME_SAMPLES)], frame_powers(heard))
        self._give()
        needed = endpointer.frame if endpointer.start is None else endpointer.window_start
        self._tape.forget(before=needed * FRAME_SAMPLES)
        self._utterances.tell_utterance_end()

    def _give(self) -> None:
        self._utterances.give(min(self._tape.end, self._endpointer.window_end * FRAME_SAMPLES))

    def _end_utterance(self, *, wanted: bool = False) -> None:
        """wanted: somebody says that it ends here, whatever it sounds like."""
        self._give()
        span = self._endpointer.take()
        self._utterances.finish(span.end * FRAME_SAMPLES, cut=span.cut and not wanted)

    # ── Ends ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _finalize(self) -> None:
        if self._reason is None:
            if self._endpointer.speaking:
                self._end_utterance(wanted=True)
            self._utterances.mark(lambda: self._emit(Finalized(round(self.audio_seconds, 3))))

    def _clear(self) -> None:
        if self._reason is None:
            self._endpointer.forget()
            self._utterances.drop()
            self._utterances.mark(lambda: self._emit(Cleared(round(self.audio_seconds, 3))))

    def _finish(self, reason: CloseReason) -> None:
        """Hears the rest, and closes when the last final has been told."""
        if self._reason is None and reason == "stopped" and self._decoder is not None:
            try:
                self._hear(self._decoder.finish())
                self._detect(self._detector.flush())
            except _Refused as refused:
                self._fail(refused.why)
            except errors.MlError as error:
                self._fail(error)
        if self._reason is None:  # the rest may have been too long
            self._end(reason, lambda: self._close(reason))

    def _fail(self, error: Exception) -> None:
        """Tells what was heard until now, and that it was the end."""
        if self._reason is None:
            self._end("failed", lambda: self._tell_failure(error))
        else:  # it was ending anyway, and now not even that works
            self._tell_failure(error)

    def _end(self, reason: CloseReason, then: Callable[[], None]) -> None:
        self._reason = reason
        self._inbox.shut(drop=True)
        if self._endpointer.speaking:
            self._end_utterance(wanted=True)
        self._utterances.mark(then)

    def _tell_failure(self, error: Exception) -> None:
        self._emit(Failed(error))
        self._close("failed")

    def _close(self, reason: CloseReason) -> None:
        if self.closed.is_set():
            return
        self._reason = self._reason or reason
        self._cancel.set()
        self._utterances.close()
        if self._decoder is not None:
            self._decoder.close()
        self._inbox.shut(drop=True)
        self._recogniser.forget(self)
        self._emit(Closed(reason, round(self.audio_seconds, 3)))
        self.closed.set()

    def _emit(self, event: LiveEvent) -> None:
        if self.closed.is_set():
            return
        try:
            self._on_event(event)
        except Exception:
            log.exception("nobody could be told of a live event")
            self.abort()


def too_far_behind() -> errors.TooFarBehind:
    return errors.TooFarBehind("The sound comes faster than it can be recognised now; send it slower or try later.")
