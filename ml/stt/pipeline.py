"""One transcription from file to transcript.

    decode → high-pass, echo cancellation → find speech → noise suppression → identify the language → recognise
      → rescore → punctuate, truecase, inverse normalisation, mask, redact → score

Each stage takes and returns its own frozen type, and its name goes into `Transcript.stages`, its seconds into
`timings`, if it ran; `ml.stt.stages` names them and docs/pipeline.md describes them. Noise suppression comes after
finding speech because it is decided for each utterance, by the noise in the pauses around it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ml import errors
from ml.audio.decode import MAX_DURATION_SECONDS, SAMPLE_RATE, DecodedAudio, decode
from ml.stt import frontend, language, registry, vad
from ml.stt.confidence import calibrate_segment, without_noise_words
from ml.stt.engines.base import Hypothesis, Window
from ml.stt.quality import score_quality
from ml.stt.recognition import Heard, recognise
from ml.stt.stages import Recognition, check_switches
from ml.stt.text import TEXT_STAGES
from ml.stt.text.rescoring import alternatives_wanted, rescore
from ml.types import Caller, Segment, Transcript, TranscriptionOptions, Word

Observe = Callable[[str, dict[str, Any]], None]
"""Called with a stage's name and what it gave, as plain data."""

Progress = Callable[[float, str], None]
"""Called with the share done, 0–1 and never falling, and the name of the stage under way."""

_DECODED_SHARE, _HEARD_SHARE = 0.05, 0.1  # of the whole work; recognition is the rest


@dataclass(frozen=True, slots=True)
class Speech:
    """Where there is speech, and what was measured to find it."""

    windows: tuple[vad.SpeechSpan, ...]
    activity: vad.SpeechActivity


def transcribe(
    path: str | os.PathLike[str],
    options: TranscriptionOptions | None = None,
    *,
    caller: Caller = Caller(),  # noqa: B008  frozen
    max_duration_seconds: float = MAX_DURATION_SECONDS,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
    on_duration: Callable[[float], None] | None = None,
    observe: Observe | None = None,
) -> Transcript:
    """Transcribes a media file of any common format.

    on_duration: called with the audio's seconds once it is decoded; what it raises ends the work before recognition.
    observe: called with what each stage that ran gave; for operators who look into one transcription.

    A segment's confidence is the mean of its words', weighted by their durations; the transcript's is the same mean
    over all of them, 0 where nothing was said. It compares results of one model only (see `ml.stt.confidence`).

    Raises, before any computing, what `registry.resolve` raises, and `InvalidRequest` for stages that cannot be
    switched and for a far end's signal that cannot be used; then `AudioUndecodable`, `AudioEmpty`, `AudioTooLong`,
    `Cancelled` (the work stops within a second), `EngineFailed`, `EngineUnavailable`.
    """
    options = options or TranscriptionOptions()
    check_switches(options)
    resolution = registry.resolve(options)
    frontend.check_reference(options)
    run = _Run(cancel, progress, observe)
    with run.stage("decode"):
        audio = decode(path, max_duration_seconds=max_duration_seconds, cancel=cancel)
    with audio:
        run.show("decode", **asdict(audio.source), duration_seconds=audio.duration_seconds)
        if on_duration is not None:
            on_duration(audio.duration_seconds)
        run.report(_DECODED_SHARE, "vad")
        audio = frontend.clean_before_vad(audio, options, run.stage, cancel=cancel)
        with run.stage("vad"):
            speech = _find_speech(audio, resolution, cancel)
        run.show("vad", windows=_spans(speech.windows))
        if noisy := frontend.noisy_spans(speech.windows, speech.activity, options):
            with run.stage("noise_suppression"):
                audio = frontend.suppress_noise(audio, noisy, cancel=cancel)
            run.show("noise_suppression", windows=_spans(noisy))
        if speech.windows and language.applies(options):
            with run.stage("language"):
                spoken = [window.samples for window in _windows(audio, speech, resolution, options)]
                resolution = language.identify(spoken, resolution, options)
            run.show("language", language=resolution.language, confidence=resolution.language_confidence)
        run.report(_HEARD_SHARE, "recognise")
        with run.stage("recognise"):
            heard = _recognise(audio, speech, resolution, options, caller, run)
        run.show("recognise", model=heard.model.name, texts=_texts(heard.hypotheses))
        if any(hypothesis.alternatives for hypothesis in heard.hypotheses):
            with run.stage("rescore"):
                heard = _rescore(heard, options)
            run.show("rescore", texts=_texts(heard.hypotheses))
        recognition = _to_recognition(speech, heard, frozenset(noisy))
        for stage in TEXT_STAGES:
            if stage.applies(heard.model.capabilities, options):
                with run.stage(stage.name):
                    recognition = stage.run(recognition, options)
                run.show(stage.name, texts=_texts(recognition.segments))
        with run.stage("score"):
            quality = score_quality(speech.activity, audio.source.clipping_ratio)
        run.show("score", **asdict(quality))
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
    observe: Observe | None = None
    timings: dict[str, float] = field(default_factory=dict)
    share: float = 0.0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.check()
        started = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - started

    def show(self, stage: str, **output: Any) -> None:
        if self.observe is not None:
            self.observe(stage, output)

    def report(self, share: float, stage: str) -> None:
        self.share = max(self.share, share)  # another model that takes over begins anew
        if self.progress is not None:
            self.progress(self.share, stage)

    def check(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")


def _texts(spoken: Iterable[Hypothesis | Segment]) -> list[str]:
    return [item.text for item in spoken]


def _spans(windows: Iterable[vad.SpeechSpan]) -> list[dict[str, float]]:
    return [{"start": round(span.start, 3), "end": round(span.end, 3)} for span in windows]


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


def _to_recognition(speech: Speech, heard: Heard, noisy: frozenset[vad.SpeechSpan]) -> Recognition:
    able = heard.model.capabilities
    segments = []
    for span, hypothesis in zip(speech.windows, heard.hypotheses, strict=True):
        kept = without_noise_words(hypothesis, able) if span in noisy else hypothesis
        if kept.text:
            segments.append(calibrate_segment(_segment(span, kept), able))
    return Recognition(tuple(segments), heard.language, heard.language_confidence)


def _rescore(heard: Heard, options: TranscriptionOptions) -> Heard:
    spoken = registry.primary_language(heard.language)
    return replace(heard, hypotheses=rescore(heard.hypotheses, spoken, options, heard.model.capabilities))


def _windows(
    audio: DecodedAudio, speech: Speech, resolution: registry.Resolution, options: TranscriptionOptions
) -> list[Window]:
    """Views of the mapped audio: an hour of windows costs no memory."""
    spoken = registry.primary_language(resolution.language)
    alternatives = alternatives_wanted(resolution.model.capabilities, spoken, options)
    return [
        Window(
            audio.samples[round(span.start * SAMPLE_RATE) : round(span.end * SAMPLE_RATE)],
            language=spoken if resolution.language_confidence else None,
            task=options.task,
            prompt=options.prompt,
            hotwords=options.hotwords,
            alternatives=alternatives,
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
