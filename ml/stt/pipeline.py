"""One transcription from file to transcript.

    decode → high-pass, echo cancellation → find speech → noise suppression → tell speakers apart
      → identify the language → recognise → rescore → punctuate, truecase, inverse normalisation, mask, redact → score

Where each channel is a speaker's own, each goes this way, and the transcripts are put together by time.

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

from ml import errors, observe
from ml.audio.decode import MAX_DURATION_SECONDS, SAMPLE_RATE, DecodedAudio, decode
from ml.stt import diarization, frontend, language, registry, trials, vad
from ml.stt.engines.base import Hypothesis, Window
from ml.stt.quality import mean_quality, score_quality
from ml.stt.recognition import Heard, recognise
from ml.stt.stages import STAGES, check_switches
from ml.stt.text.rescoring import alternatives_wanted
from ml.stt.writing import OnSegment, Writer, without_words
from ml.types import AudioQuality, Caller, Segment, Transcript, TranscriptionOptions

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
    on_segment: OnSegment | None = None,
    trial: str | None = None,
) -> Transcript:
    """Transcribes a media file of any common format.

    on_duration: called with the audio's seconds, of all channels that are to be recognised, once it is decoded; what it
    raises ends the work before recognition.
    observe: called with what each stage that ran gave; for operators who look into one transcription.
    on_segment: called with each finished segment while the rest is still being recognised; with its words, whether
    they are asked for or not. Where channels are recognised separately, or a model may be unsure, at the end.

    trial: a version of the chosen model that `ml.stt.trials` installed; it is asked first.

    A segment's confidence is the mean of its words', weighted by their durations; the transcript's is the same mean
    over all of them, 0 where nothing was said. It compares results of one model only (see `ml.stt.confidence`).

    Raises, before any computing, what `registry.resolve` raises, and `InvalidRequest` for stages that cannot be
    switched and for a far end's signal that cannot be used; then `AudioUndecodable`, `AudioEmpty`, `AudioTooLong`,
    `ChannelsUnsuitable`, `Cancelled` (the work stops within a second), `EngineFailed`, `EngineUnavailable`.
    """
    options = options or TranscriptionOptions()
    check_switches(options)
    resolution = registry.resolve(options)
    frontend.check_reference(options)
    run = _Run(cancel, progress, observe, trial)
    with contextlib.ExitStack() as files:
        tracks = _decode(path, options, files, run, max_duration_seconds)
        seconds = tracks[0].duration_seconds
        run.show("decode", **asdict(tracks[0].source), duration_seconds=seconds)
        if on_duration is not None:
            on_duration(seconds * len(tracks))
        at_once = on_segment if len(tracks) == 1 else None
        parts = []
        for run.track, track in enumerate(tracks):
            run.share, run.tracks = 0.0, len(tracks)
            parts.append(_transcribe_track(track, resolution, options, caller, run, at_once))
    part = parts[0] if len(parts) == 1 else _joined(parts)
    if on_segment is not None and at_once is None:
        for segment in part.segments:
            on_segment(segment)
    return _transcript(part, run, seconds, words=options.word_timestamps)


@dataclass(frozen=True, slots=True)
class _Part:
    """What was made of one track of the recording, or of all of them."""

    segments: tuple[Segment, ...]
    heard: Heard
    quality: AudioQuality


def _transcript(part: _Part, run: _Run, seconds: float, *, words: bool) -> Transcript:
    return Transcript(
        text=" ".join(segment.text for segment in part.segments),
        segments=part.segments if words else without_words(part.segments),
        language=part.heard.language,
        language_confidence=part.heard.language_confidence,
        confidence=_mean_confidence(part.segments),
        duration_seconds=seconds,
        model_used=part.heard.model.name,
        quality=part.quality,
        stages=run.stages,
        timings={name: run.timings[name] for name in run.stages},
        fallback_reason=part.heard.fallback_reason,
        channels=run.tracks,
        version_used=part.heard.model.version,
        version_tried=run.tried,
    )


def _decode(
    path: str | os.PathLike[str],
    options: TranscriptionOptions,
    files: contextlib.ExitStack,
    run: _Run,
    max_duration_seconds: float,
) -> list[DecodedAudio]:
    """All channels mixed, or each by itself; `files` closes them."""
    separate = options.channels == "separate"

    def one(channel: int | None) -> DecodedAudio:
        return files.enter_context(
            decode(path, max_duration_seconds=max_duration_seconds, cancel=run.cancel, channel=channel)
        )

    with run.stage("decode"):
        tracks = [one(0 if separate else None)]
        if separate:
            count = tracks[0].source.channels
            diarization.check_channels(count)
            tracks += [one(channel) for channel in range(1, count)]
            diarization.check_difference(tracks)
    return tracks


def _transcribe_track(
    audio: DecodedAudio,
    resolution: registry.Resolution,
    options: TranscriptionOptions,
    caller: Caller,
    run: _Run,
    on_segment: OnSegment | None,
) -> _Part:
    """From sound to written segments. on_segment: told of each while the rest is being recognised."""
    source = audio.source
    resolution = trials.resolve(resolution, options, run.trial)
    run.report(_DECODED_SHARE, "vad")
    audio = frontend.clean_before_vad(audio, options, run.stage, cancel=run.cancel)
    with run.stage("vad"):
        speech = _find_speech(audio, resolution, run.cancel)
    run.show("vad", windows=_spans(speech.windows))
    if noisy := frontend.noisy_spans(speech.windows, speech.activity, options):
        with run.stage("noise_suppression"):
            audio = frontend.suppress_noise(audio, noisy, cancel=run.cancel)
        run.show("noise_suppression", windows=_spans(noisy))
    speakers = _tell_apart(audio, options, run) if speech.windows else None
    if speech.windows and language.applies(options):
        with run.stage("language"):
            spoken = [window.samples for window in _windows(audio, speech, resolution, options)]
            resolution = trials.resolve(language.identify(spoken, resolution, options), options, run.trial)
        run.show("language", language=resolution.language, confidence=resolution.language_confidence)
    run.report(_HEARD_SHARE, "recognise")
    run.tried = resolution.model.version if resolution.model.on_trial and speech.windows else run.tried
    writer = Writer(speech.windows, frozenset(noisy), options, run, on_segment, speakers)
    with run.stage("recognise"):
        heard = _recognise(audio, speech, resolution, options, caller, run, writer if on_segment else None)
    run.show("recognise", model=heard.model.name, texts=_texts(heard.hypotheses))
    if on_segment is None:
        writer.hear(0, heard)
    segments = writer.finish(heard)
    with run.stage("score"):
        quality = score_quality(speech.activity, source.clipping_ratio)
    run.show("score", **asdict(quality))
    run.report(1.0, "score")
    return _Part(segments, heard, quality)


def _tell_apart(audio: DecodedAudio, options: TranscriptionOptions, run: _Run) -> diarization.Speakers | None:
    if not options.diarize or options.channels == "separate":
        return None
    run.report(_DECODED_SHARE, "diarize")
    with run.stage("diarize"):
        speakers = diarization.find_turns(audio, options, cancel=run.cancel)
    run.show("diarize", turns=[asdict(turn) for turn in speakers.turns])
    return speakers


def _joined(parts: Sequence[_Part]) -> _Part:
    """Tracks of one speaker each, by time; language and model are those of whoever speaks most."""
    named = [
        replace(segment, speaker=diarization.speaker_name(number))
        for number, part in enumerate(parts)
        for segment in part.segments
    ]
    main = max(parts, key=lambda part: part.quality.speech_ratio)
    reasons = dict.fromkeys(part.heard.fallback_reason for part in parts if part.heard.fallback_reason)
    heard = replace(main.heard, fallback_reason=" ".join(reasons) or None)
    return _Part(
        tuple(sorted(named, key=lambda segment: segment.start)), heard, mean_quality([p.quality for p in parts])
    )


@dataclass
class _Run:
    """The clock, the cancellation and the progress of one transcription."""

    cancel: threading.Event | None
    progress: Progress | None
    observe: Observe | None = None
    trial: str | None = None  # a version to be asked first
    tried: str = ""  # that version, where it was
    timings: dict[str, float] = field(default_factory=dict)
    share: float = 0.0  # of the track under way
    track: int = 0
    tracks: int = 1
    _within: float = 0.0  # seconds of the stages that ran within the one under way

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of those that ran, in order."""
        return tuple(name for name in STAGES if name in self.timings)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage, which may run several times, and within another one: each second counts once."""
        self.check()
        started, outside = time.perf_counter(), self._within
        self._within = 0.0
        with observe.activity(name):
            yield
        seconds = time.perf_counter() - started
        self.timings[name] = self.timings.get(name, 0.0) + seconds - self._within
        self._within = outside + seconds

    def show(self, stage: str, **output: Any) -> None:
        if self.observe is not None:
            self.observe(stage, output)

    def report(self, share: float, stage: str) -> None:
        self.share = max(self.share, share)  # another model that takes over begins anew
        if self.progress is not None:
            self.progress((self.track + self.share) / self.tracks, stage)

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
    writer: Writer | None,
) -> Heard:
    """writer: writes down windows as they are heard."""
    ends = [0.0]  # the share of speech up to the end of each window
    for span in speech.windows:
        ends.append(ends[-1] + span.duration_seconds)

    def on_window(number: int) -> None:
        share = min(0.99, ends[number + 1] / ends[-1])
        run.report(_HEARD_SHARE + (1 - _HEARD_SHARE) * share, "recognise")
        audio.release_pages()

    windows = _windows(audio, speech, resolution, options)
    return recognise(
        windows,
        resolution,
        caller=caller,
        cancel=run.cancel,
        on_window=on_window,
        on_heard=writer.hear if writer else None,
    )


def _windows(
    audio: DecodedAudio, speech: Speech, resolution: registry.Resolution, options: TranscriptionOptions
) -> list[Window]:
    """Views of the mapped audio: an hour of windows costs no memory."""
    spoken = registry.primary_language(resolution.language)
    models = (resolution.model, *resolution.candidates)  # any of them may come to recognise this
    alternatives = max(alternatives_wanted(model.capabilities, spoken, options) for model in models)
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


def _mean_confidence(segments: Sequence[Segment]) -> float:
    seconds = sum(segment.end - segment.start for segment in segments)
    if not seconds:
        return 0.0
    return round(sum(segment.confidence * (segment.end - segment.start) for segment in segments) / seconds, 4)
