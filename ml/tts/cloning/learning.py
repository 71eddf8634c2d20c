"""From a sample to a voice: which engine learns it, what it learns, and how near it comes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import soxr

from ml import errors, runtime
from ml.audio.decode import SAMPLE_RATE
from ml.tts import pipeline, registry
from ml.tts.cloning import adaptation, speakers, texts
from ml.tts.cloning.profile import SpeakerProfile, measure
from ml.tts.cloning.sample import Sample
from ml.tts.engines import espeak
from ml.tts.engines.base import Adaptation, Likeness
from ml.tts.own import OwnVoice
from ml.types import AudioChunk, Caller, PcmSamples, Samples, SynthesisOptions, Voice

Method = Literal["cloned", "adapted"]


@dataclass(frozen=True, slots=True)
class Learned:
    """A voice that was learned, and what is known of it."""

    own: OwnVoice
    method: Method
    profile: SpeakerProfile  # of the speaker
    preview: AudioChunk
    similarity: dict[str, Any]  # `score`, `told_by`; of an adapted voice `unadapted`, the score of the plain one


def choose(language: str) -> tuple[Voice, Method]:
    """The model's voice that a new voice of `language` is made from. Raises `LanguageNotSupported`."""
    for model in registry.models():
        if model.capabilities.cloning:
            voice = registry.for_language(language, model.name)
            if voice is not None:
                return voice, "cloned"
    voice = espeak.for_language(language)
    if voice is None:
        raise errors.LanguageNotSupported(f"The language {language[:40]!r} is not spoken.", param="language")
    return voice, "adapted"


def learn(
    sample: Sample,
    *,
    voice_id: str,
    name: str,
    language: str,
    caller: Caller,
    text: str = "",
    cancel: threading.Event | None = None,
) -> Learned:
    """Learns a voice, and speaks its preview. text: what is said in the sample, where that is known.

    Raises `SampleUnsuitable`, `LanguageNotSupported`, `Cancelled`, `EngineFailed` and `EngineUnavailable`.
    """
    base, method = choose(language)
    profile = measure(speakers.to_float(sample.samples))
    if profile is None:
        raise errors.SampleUnsuitable(
            "There is too little voiced speech in the recording: speak up, and do not whisper.",
            reason="sample_too_short",
        )
    speaking = _Speaking(voice_id, name, base, caller, cancel)
    likeness: Likeness
    if method == "cloned":
        likeness = _learned_by_engine(base, sample, text, cancel)
    else:
        say = texts.calibration(base.language)
        likeness = adaptation.fit(profile, lambda tried: speaking.measured(tried, say), cancel=cancel).adaptation
    own = speaking.own(likeness)
    preview = speaking.said(likeness, texts.greeting(base.language))
    return Learned(own, method, profile, preview, _similarity(sample, preview, speaking, method))


def _learned_by_engine(base: Voice, sample: Sample, text: str, cancel: threading.Event | None) -> Likeness:
    with runtime.pool.acquire(runtime.model_id(registry.TASK, base.model), cancel=cancel) as engine:
        heard: Likeness = engine.learn(speakers.to_float(sample.samples), SAMPLE_RATE, text=text, cancel=cancel)
        return heard


def _similarity(sample: Sample, preview: AudioChunk, speaking: _Speaking, method: Method) -> dict[str, Any]:
    match = speakers.compare(sample.samples, _at_16_khz(preview))
    if match is None:
        return {}
    found: dict[str, Any] = {"score": match.score, "told_by": match.told_by}
    if method == "adapted":
        plain = speakers.compare(sample.samples, _at_16_khz(speaking.said(None, preview.text)))
        found["unadapted"] = plain.score if plain else None
    return found


@dataclass(frozen=True, slots=True)
class _Speaking:
    """Says things in the voice that is being made."""

    voice_id: str
    name: str
    base: Voice
    caller: Caller
    cancel: threading.Event | None

    def own(self, likeness: Likeness) -> OwnVoice:
        voice = replace(self.base, id=self.voice_id, name=self.name, gender=None)
        return OwnVoice(voice, self.base.id, likeness)

    def said(self, likeness: Likeness | None, text: str) -> AudioChunk:
        """The whole text, in the plain voice where there is no likeness."""
        options = SynthesisOptions(voice=self.base.id)
        if likeness is not None:
            options = SynthesisOptions(voice=self.voice_id, own_voices=(self.own(likeness),))
        chunks = list(pipeline.synthesize(text, options, caller=self.caller, cancel=self.cancel))
        return AudioChunk(np.concatenate([chunk.samples for chunk in chunks]), chunks[0].sample_rate, text)

    def measured(self, tried: Adaptation, text: str) -> Samples:
        """The text as it is measured."""
        return speakers.to_float(_at_16_khz(self.said(tried, text)))


def at_rate(chunk: AudioChunk, rate: int) -> list[AudioChunk]:
    """The chunk at `rate` hertz, as encoders take it."""
    return [AudioChunk(np.asarray(soxr.resample(chunk.samples, chunk.sample_rate, rate)), rate, chunk.text)]


def _at_16_khz(chunk: AudioChunk) -> PcmSamples:
    return at_rate(chunk, SAMPLE_RATE)[0].samples
