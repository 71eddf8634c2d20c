"""One transcription from file to transcript.

    decode → find speech → recognise → (text stages) → score

Each stage takes and returns its own frozen type, and its name goes into `Transcript.stages`, its seconds into
`timings`. What is to come has its place: audio clean-up and language identification between finding speech and
recognising, rescoring, punctuation, truecasing and inverse normalisation in `TEXT_STAGES`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ml import errors
from ml.audio.decode import MAX_DURATION_SECONDS, SAMPLE_RATE, DecodedAudio, decode
from ml.stt import registry, vad
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.quality import score_quality
from ml.stt.recognition import Heard, recognise
from ml.types import Caller, Segment, Transcript, TranscriptionOptions, Word

Progress = Callable[[float, str], None]
"""Called with the share done, 0–1 and never falling, and the name of the stage under way."""

_DECODED_SHARE, _HEARD_SHARE = 0.05, 0.1  # of the whole work; recognition is the rest


@dataclass(frozen=True, slots=True)
class Speech:
    """Where there is speech, and what was measured to find it."""

    windows: tuple[vad.SpeechSpan, ...]
    activity: vad.SpeechActivity


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was said; segments carry their words, times are those of the whole audio."""

    segments: tuple[Segment, ...]
    language: str  # BCP-47
    language_confidence: float


class TextStage(Protocol):
    """A stage that works on recognised text, such as punctuation."""

    name: str

    def applies(self, capabilities: EngineCapabilities, options: TranscriptionOptions) -> bool:
        """False where the engine did this already, or the caller does not want it."""
        ...

    def run(self, recognition: Recognition, options: TranscriptionOptions) -> Recognition: ...


TEXT_STAGES: tuple[TextStage, ...] = ()


def transcribe(
    path: str | os.PathLike[str],
    options: TranscriptionOptions | None = None,
    *,
    caller: Caller = Caller(),  # noqa: B008  frozen
    max_duration_seconds: float = MAX_DURATION_SECONDS,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
) -> Transcript:
    """Transcribes a media file of any common format.

    A segment's confidence is the mean of its words' posterior probabilities, weighted by their durations; the
    transcript's is the same mean over all of them, 0 where nothing was said. It compares results of one model only.

    Raises, before any computing, what `registry.resolve` raises; then `AudioUndecodable`, `AudioEmpty`, `AudioTooLong`,
    `Cancelled` (the work stops within a second), `EngineFailed`, `EngineUnavailable`.
    """
    options = options or TranscriptionOptions()
    resolution = registry.resolve(options)
    run = _Run(cancel, progress)
    with run.stage("decode"):
        audio = decode(path, max_duration_seconds=max_duration_seconds, cancel=cancel)
    with audio:
        run.report(_DECODED_SHARE, "vad")
        with run.stage("vad"):
            speech = _find_speech(audio, resolution, cancel)
        run.report(_HEARD_SHARE, "recognise")
        with run.stage("recognise"):
            heard = _recognise(audio, speech, resolution, options, caller, run)
            recognition = _to_recognition(speech, heard)
        for stage in TEXT_STAGES:
            if stage.applies(heard.model.capabilities, options):
                with run.stage(stage.name):
                    recognition = stage.run(recognition, options)
        with run.stage("score"):
            quality = score_quality(speech.activity, audio.source.clipping_ratio)
        run.report(1.0, "score")
        segments = recognition.segments
        return Transcript(
            text=" ".join(segment.text for segment in segments),
            segments=segments if options.word_timestamps else tuple(replace(s, words=()) for s in segments),
            language=recognition.language,
            language_confidence=recognition.language_confidence,
            confidence=_mean_confidence(segments),
            duration_seconds=audio.duration_seconds,
            model_used=heard.model.name,
            quality=quality,
            stages=tuple(run.timings),
            timings=run.timings,
            fallback_reason=heard.fallback_reason,
        )


@dataclass
class _Run:
    """The clock, the cancellation and the progress of one transcription."""

    cancel: threading.Event | None
    progress: Progress | None
    timings: dict[str, float] = field(default_factory=dict)
    share: float = 0.0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.check()
        started = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - started

    def report(self, share: float, stage: str) -> None:
        self.share = max(self.share, share)  # another model that takes over begins anew
        if self.progress is not None:
            self.progress(self.share, stage)

    def check(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")


def _find_speech(audio: DecodedAudio, resolution: registry.Resolution, cancel: threading.Event | None) -> Speech:
    """In windows that every candidate can take, so that falling back does not cut anew."""
    activity = vad.measure_activity(audio, cancel=cancel)
    longest = min(model.capabilities.max_window_seconds for model in (resolution.model, *resolution.candidates))
    options = vad.VadOptions(max_window_seconds=min(20.0, longest))
    return Speech(vad.find_windows(activity, options), activity)


def _recognise(
    audio: DecodedAudio,
    speech: Speech,
    resolution: registry.Resolution,
    options: TranscriptionOptions,
    caller: Caller,
    run: _Run,
) -> Heard:
    ends = [0.0]  # the share of speech up to the end of each window
    for span in speech.windows:
        ends.append(ends[-1] + span.duration_seconds)

    def on_window(number: int) -> None:
        share = min(0.99, ends[number + 1] / ends[-1])
        run.report(_HEARD_SHARE + (1 - _HEARD_SHARE) * share, "recognise")
        audio.release_pages()

    windows = _windows(audio, speech, resolution, options)
    return recognise(windows, resolution, caller=caller, cancel=run.cancel, on_window=on_window)


def _to_recognition(speech: Speech, heard: Heard) -> Recognition:
    spoken = zip(speech.windows, heard.hypotheses, strict=True)
    segments = tuple(_segment(span, hypothesis) for span, hypothesis in spoken if hypothesis.text)
    return Recognition(segments, heard.language, heard.language_confidence)


def _windows(
    audio: DecodedAudio, speech: Speech, resolution: registry.Resolution, options: TranscriptionOptions
) -> list[Window]:
    """Views of the mapped audio: an hour of windows costs no memory."""
    language = registry.primary_language(resolution.language) if resolution.language_confidence else None
    return [
        Window(
            audio.samples[round(span.start * SAMPLE_RATE) : round(span.end * SAMPLE_RATE)],
            language=language,
            task=options.task,
            prompt=options.prompt,
            hotwords=options.hotwords,
        )
        for span in speech.windows
    ]


def _segment(span: vad.SpeechSpan, hypothesis: Hypothesis) -> Segment:
    """Moves words from the window's time to the audio's; the segment lasts from its first word to its last."""
    words = tuple(
        Word(
            word.text,
            round(min(span.end, span.start + word.start), 3),
            round(min(span.end, span.start + word.end), 3),
            round(word.confidence, 4),
        )
        for word in hypothesis.words
    )
    start, end = (words[0].start, words[-1].end) if words else (round(span.start, 3), round(span.end, 3))
    return Segment(start, end, hypothesis.text, round(hypothesis.confidence, 4), words)


def _mean_confidence(segments: Sequence[Segment]) -> float:
    seconds = sum(segment.end - segment.start for segment in segments)
    if not seconds:
        return 0.0
    return round(sum(segment.confidence * (segment.end - segment.start) for segment in segments) / seconds, 4)
