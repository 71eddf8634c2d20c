"""Text in, speech out: verify, cut into sentences, speak each in its turn, and make the sound what was asked for."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ml import errors
from ml.tts import languages, ssml
from ml.tts import text as plain
from ml.tts.engines import espeak
from ml.tts.script import Pause, Run, Style, Utterance
from ml.types import AudioChunk, PcmSamples, SynthesisOptions, Voice

if TYPE_CHECKING:
    import soxr

MAX_CHARACTERS = 1_000_000
"""In one text; the markup of SSML counts."""

_RANGES = {"speed": (0.25, 4.0), "pitch": (-12.0, 12.0), "volume": (0.0, 2.0)}
_SAMPLE_RATES = (8_000, 48_000)


def synthesize(text: str, options: SynthesisOptions, *, cancel: threading.Event | None = None) -> Iterator[AudioChunk]:
    """Speaks `text`: one chunk a sentence, at `output_sample_rate(options)`, each made when it is asked for.

    Raises at once `InvalidRequest` (with `param`; `SsmlInvalid`, `UnknownVoice`, `UnknownModel`,
    `LanguageNotSupported`) and `EngineUnavailable`. While iterated: `EngineFailed`, `Cancelled` soon after `cancel` is
    set, and `InvalidRequest` at the end of a text that the voice turned out to have no sounds for. Nothing is held
    between two chunks, so an iterator may be dropped at any time.
    """
    voice = resolve(options)
    _verify(text, options)
    if options.ssml:
        chosen = options.voice is not None
        items: list[Run | Pause] = ssml.parse(text, voice=voice, chosen=chosen, find_voice=_find_ssml_voice)
    else:
        items = [Run(plain.clean(text), Style(voice.id))]
    if not any(isinstance(item, Run) and (item.style.phonemes or plain.is_speakable(item.text)) for item in items):
        raise errors.InvalidRequest("The text has nothing to speak.", param="text")
    return _resampled(_chunks(items, options, cancel), options)


def resolve(options: SynthesisOptions) -> Voice:
    """The voice that `options` ask for. Raises `UnknownModel`, `UnknownVoice` or `LanguageNotSupported`."""
    if options.model is not None and options.model != espeak.MODEL:
        raise errors.UnknownModel(f"There is no model {options.model[:80]!r} for speech.", param="model")
    if options.voice is None:
        return _voice_for(languages.DEFAULT if options.language is None else options.language)
    voice = espeak.find(options.voice)
    if voice is None:
        raise errors.UnknownVoice(f"There is no voice {options.voice[:80]!r}.", param="voice")
    if options.language is not None and languages.primary(options.language) != languages.primary(voice.language):
        message = f"The voice {voice.id} speaks {voice.language}, not {options.language[:40]!r}."
        raise errors.LanguageNotSupported(message, param="language")
    return voice


def voices() -> tuple[Voice, ...]:
    """The voices that can speak now, in the order of their languages' names. Asks the engine once, then is free."""
    return espeak.voices()


def variants() -> tuple[espeak.Variant, ...]:
    """The timbres of espeak's voices: "espeak:en-us" with the variant "f2" is the voice "espeak:en-us+f2"."""
    return espeak.variants()


def output_sample_rate(options: SynthesisOptions) -> int:
    """Hertz; of every chunk that `synthesize` makes with these options."""
    return options.sample_rate or espeak.sample_rate()


# ── Verifying ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _verify(text: str, options: SynthesisOptions) -> None:
    for name, (least, most) in _RANGES.items():
        value = getattr(options, name)
        if not (math.isfinite(value) and least <= value <= most):
            raise errors.InvalidRequest(f"{name} is from {least:g} to {most:g}.", param=name)
    least_rate, most_rate = _SAMPLE_RATES
    if options.sample_rate is not None and not least_rate <= options.sample_rate <= most_rate:
        raise errors.InvalidRequest(f"sample_rate is from {least_rate} to {most_rate} hertz.", param="sample_rate")
    if len(text) > MAX_CHARACTERS:
        raise errors.InvalidRequest(f"The text has more than {MAX_CHARACTERS:,} characters.", param="text")


def _voice_for(language: str) -> Voice:
    voice = espeak.for_language(language)
    if voice is None:
        raise errors.LanguageNotSupported(f"The language {language[:40]!r} is not spoken.", param="language")
    return voice


def _find_ssml_voice(name: str | None, language: str | None, gender: str | None, current: str) -> str:
    """The voice of an SSML element. A change of language keeps the timbre, as SSML 1.1 section 3.2.1 asks."""
    if name is not None:
        return resolve(SynthesisOptions(voice=name, language=language)).id
    base, _, timbre = current.partition("+")
    if language is not None:
        base = _voice_for(language).id
    if gender is not None:
        if gender not in ("male", "female", "neutral"):
            raise errors.InvalidRequest("The gender is male, female or neutral.")
        timbre = "f2" if gender == "female" else ""
    return f"{base}+{timbre}" if timbre else base


# ── Speaking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def utterances(items: Iterable[Run | Pause]) -> Iterator[Utterance | Pause]:
    """Puts runs together to sentences: what is spoken in one breath, and in one voice, goes to the engine at once."""
    pending: list[Run] = []
    weight = 0
    for item in _fragments(items):
        if pending and (_leaves(pending[-1], item) or weight > plain.MAX_WEIGHT):
            yield from _whole(pending)
            pending, weight = [], 0
        if isinstance(item, Pause):
            yield item
            continue
        pending.append(item)
        weight += plain.weight(item.text)
    yield from _whole(pending)


def _fragments(items: Iterable[Run | Pause]) -> Iterator[Run | Pause]:
    """Runs cut into sentences."""
    first = True
    for item in items:
        if isinstance(item, Pause) or item.style.phonemes or item.style.say_as:
            yield item
            continue
        for piece in plain.split(item.text, first_clause=plain.FIRST_CLAUSE if first else None):
            yield Run(piece, item.style)
        first = False


def _leaves(last: Run, item: Run | Pause) -> bool:
    """Whether `item` begins another utterance than the one that `last` is in."""
    if isinstance(item, Pause) or item.style.voice != last.style.voice:
        return True
    spoken_whole = last.style.phonemes or last.style.say_as
    return not spoken_whole and (item.style == last.style or plain.ends_sentence(last.text))


def _with_pauses(parts: Iterator[Utterance | Pause]) -> Iterator[Utterance | Pause]:
    """Lets an utterance end with a pause if another follows, unless it was cut in the middle of a sentence."""
    previous = next(parts, None)
    for part in parts:
        if isinstance(previous, Utterance) and isinstance(part, Utterance):
            previous = replace(previous, pause=_is_closed(previous.runs[-1].text))
        if previous is not None:
            yield previous
        previous = part
    if previous is not None:
        yield previous


def _is_closed(text: str) -> bool:
    stripped = text.rstrip()
    return "\n" in text[len(stripped) :] or not stripped[-1:].isalnum()


def _whole(runs: list[Run]) -> Iterator[Utterance]:
    if any(run.style.phonemes or plain.is_speakable(run.text) for run in runs):
        yield Utterance(tuple(runs))


def _chunks(
    items: Iterable[Run | Pause], options: SynthesisOptions, cancel: threading.Event | None
) -> Iterator[AudioChunk]:
    """At the engine's rate. A call to the engine lasts for a sentence, so a slow reader keeps no process waiting."""
    rate = espeak.sample_rate()
    heard = False
    for part in _with_pauses(utterances(items)):
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        if isinstance(part, Pause):
            if part.seconds:
                yield AudioChunk(np.zeros(round(part.seconds * rate), dtype=np.int16), rate, "")
            continue
        samples = espeak.speak(part, speed=options.speed, pitch=options.pitch, cancel=cancel)
        if samples.any():  # for what it cannot say, espeak makes a few zeros
            heard = True
            yield AudioChunk(_with_volume(samples, options.volume), rate, part.text)
    if not heard:
        raise errors.InvalidRequest("The voice has no sounds for this text.", param="text")


def _with_volume(samples: PcmSamples, volume: float) -> PcmSamples:
    """`samples` times `volume`; what would be too loud is cut at full scale instead of wrapping round."""
    if volume == 1.0:
        return samples
    return np.clip(np.rint(samples * np.float32(volume)), -32768, 32767).astype(np.int16)


def _resampled(chunks: Iterator[AudioChunk], options: SynthesisOptions) -> Iterator[AudioChunk]:
    rate = output_sample_rate(options)
    if rate == espeak.sample_rate():
        return chunks
    import soxr

    return _resample(chunks, soxr.ResampleStream(espeak.sample_rate(), rate, 1, dtype="int16"), rate)


def _resample(chunks: Iterator[AudioChunk], stream: soxr.ResampleStream, rate: int) -> Iterator[AudioChunk]:
    """One stream through all chunks, so that there is no click between two. It holds a few milliseconds back."""
    for chunk in chunks:
        samples = stream.resample_chunk(chunk.samples)
        if len(samples):
            yield AudioChunk(samples, rate, chunk.text)
    rest = stream.resample_chunk(np.zeros(0, dtype=np.int16), last=True)
    if len(rest):
        yield AudioChunk(rest, rate, "")
