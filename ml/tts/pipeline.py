"""Text in, speech out: verify, cut into sentences, speak each in its turn, and make the sound what was asked for."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ml import errors
from ml.tts import delivery, languages, own, registry, scripts, ssml, timing
from ml.tts import text as plain
from ml.tts.edges import trimmed
from ml.tts.engines import espeak
from ml.tts.engines.base import SpeechRequest, SynthesizerCapabilities
from ml.tts.listening import Listener
from ml.tts.resampling import resampled
from ml.tts.script import Mark, Pause, Run, Style, Utterance
from ml.tts.sentences import Item, Part, utterances
from ml.tts.timing import Sound
from ml.types import (
    MOST_VOICE_CHARACTERS,
    AudioChunk,
    Caller,
    SpokenMark,
    SpokenWord,
    SynthesisOptions,
    Voice,
)

if TYPE_CHECKING:
    pass

MAX_CHARACTERS = 1_000_000
"""In one text; the markup of SSML counts."""

MAX_WARNINGS = 20

_RANGES = {"speed": (0.25, 4.0), "pitch": (-12.0, 12.0), "volume": (0.0, 2.0)}
_SAMPLE_RATES = (8_000, 48_000)


_ANYONE = Caller()


def synthesize(
    text: str,
    options: SynthesisOptions,
    *,
    caller: Caller = _ANYONE,
    cancel: threading.Event | None = None,
    streaming: bool = False,
) -> Speech:
    """Speaks `text`: one chunk a sentence, at `output_sample_rate(options)`, each made when it is asked for.

    caller: in whose turn the engines compute. streaming: somebody listens meanwhile, so the first chunks are clauses,
    and go before other work while he would have to wait for them.

    Raises at once `InvalidRequest` (with `param`; `SsmlInvalid`, `UnknownVoice`, `UnknownModel`,
    `LanguageNotSupported`) and `EngineUnavailable`. While iterated: `EngineFailed`, `EngineUnavailable`, `Cancelled`
    soon after `cancel` is set, and `InvalidRequest` at the end of a text that the voice turned out to have no sounds
    for. Nothing is held between two chunks, so an iterator may be dropped at any time.
    """
    voice = resolve(options)
    verify(text, options)
    items: list[Item] = [Run(plain.clean(text), Style(voice.id))]
    if options.ssml:
        items = _parsed(text, voice, options)
    if not any(isinstance(item, Run) and (item.style.phonemes or plain.is_speakable(item.text)) for item in items):
        raise errors.InvalidRequest("The text has nothing to speak.", param="text")
    warnings = _verify_styles(items, options)
    rate = registry.model(voice.model).capabilities.sample_rate
    parts = utterances(items, functools.partial(shaped, options), plain.OPENING if streaming else ())
    listener = Listener(caller) if streaming else None
    chunks = resampled(_chunks(parts, rate, options, caller, listener, cancel), options.sample_rate or rate)
    return Speech(trimmed(chunks) if options.trim_silence else chunks, warnings)


class Speech(Iterator[AudioChunk]):
    """Chunks as they are made, and what of the request could not be done."""

    def __init__(self, chunks: Iterator[AudioChunk], warnings: tuple[str, ...]) -> None:
        self._chunks = chunks
        self.warnings = warnings

    def __next__(self) -> AudioChunk:
        return next(self._chunks)

    def close(self) -> None:
        """Makes no more of them."""
        close = getattr(self._chunks, "close", lambda: None)
        close()


def resolve(options: SynthesisOptions) -> Voice:
    """The voice that `options` ask for, over all installed models.

    Raises `UnknownModel`, `UnknownVoice`, `LanguageNotSupported`, `VoiceMixInvalid` or `VoiceMixUnsupported`.
    """
    if options.voice is None:
        return _default_voice(options)
    voice = _named(options.voice, options)
    if len(voice.id) > MOST_VOICE_CHARACTERS and "+" in voice.id:
        raise errors.VoiceMixInvalid(
            f"The name of a mix has at most {MOST_VOICE_CHARACTERS} characters, its languages included.", param="voice"
        )
    return voice


def _named(voice_id: str, options: SynthesisOptions) -> Voice:
    """In the language of `options`, where they have one."""
    voice = own.find(voice_id, options)
    if voice is None:
        raise errors.UnknownVoice(f"There is no voice {voice_id[:80]!r}.", param="voice")
    if options.model is not None and registry.model(options.model).name != voice.model:
        raise errors.UnknownVoice(f"The model {options.model} has no voice {voice.id}.", param="voice")
    if options.language is None:
        return voice
    spoken = own.in_language(voice, options.language, options) or registry.in_language(voice, options.language)
    if spoken is None:
        message = f"The voice {voice.id} speaks {voice.language}, not {options.language[:40]!r}."
        raise errors.LanguageNotSupported(message, param="language")
    return spoken


def voices() -> tuple[Voice, ...]:
    """The voices that can speak now, the preferred model's first. Loads no model."""
    return registry.voices()


def variants() -> tuple[espeak.Variant, ...]:
    """The timbres of espeak's voices: "espeak:en-us" with the variant "f2" is the voice "espeak:en-us+f2"."""
    return espeak.variants()


def output_sample_rate(options: SynthesisOptions) -> int:
    """Hertz; of every chunk that `synthesize` makes with these options. Raises as `resolve`."""
    return options.sample_rate or registry.model(resolve(options).model).capabilities.sample_rate


# ── Verifying ───────────────────────────────────────────────────────────────────────────────────────────────────────


def verify(text: str, options: SynthesisOptions) -> None:
    """Raises `InvalidRequest` for values out of their ranges."""
    for name, (least, most) in _RANGES.items():
        value = getattr(options, name)
        if not (math.isfinite(value) and least <= value <= most):
            raise errors.InvalidRequest(f"{name} is from {least:g} to {most:g}.", param=name)
    least_rate, most_rate = _SAMPLE_RATES
    if options.sample_rate is not None and not least_rate <= options.sample_rate <= most_rate:
        raise errors.InvalidRequest(f"sample_rate is from {least_rate} to {most_rate} hertz.", param="sample_rate")
    if len(text) > MAX_CHARACTERS:
        raise errors.InvalidRequest(f"The text has more than {MAX_CHARACTERS:,} characters.", param="text")


def _parsed(document: str, voice: Voice, options: SynthesisOptions) -> list[Item]:
    return ssml.parse(
        document,
        voice=voice,
        chosen=options.voice is not None,
        find_voice=functools.partial(_find_ssml_voice, options),
        get_voice=lambda voice_id: _known(voice_id, options),
    )


def _verify_styles(items: Iterable[Item], options: SynthesisOptions) -> tuple[str, ...]:
    """That each voice can do what is asked of it, before the first sentence is spoken; what it will leave out."""
    warnings: dict[str, None] = {}
    for item in items:
        if not isinstance(item, Run):
            continue
        voice = own.base_of(_known(item.style.voice, options), options)
        capabilities = registry.model(voice.model).capabilities
        for warning in (delivery.check(item, voice, capabilities), _unspoken(item, voice, capabilities, options)):
            if warning:
                warnings[warning] = None
    return tuple(warnings)[:MAX_WARNINGS]


def _unspoken(run: Run, voice: Voice, capabilities: SynthesizerCapabilities, options: SynthesisOptions) -> str | None:
    """Which entries of the lexicon the voice cannot follow."""
    if options.lexicon is None or capabilities.phonemes or run.style.phonemes or run.style.say_as:
        return None
    found = {hit.entry.grapheme: None for hit in options.lexicon.find(run.text, voice.language) if hit.entry.ipa}
    if not found:
        return None
    listed = ", ".join(list(found)[:5]) + (", …" if len(found) > 5 else "")
    return f"The voice {voice.id} takes no phonemes: the lexicon's IPA was not applied to {listed}. An alias would be."


def _known(voice_id: str, options: SynthesisOptions) -> Voice:
    voice = own.find(voice_id, options)
    if voice is None:  # its model was taken away
        raise errors.UnknownVoice(f"There is no voice {voice_id[:80]!r}.", param="voice")
    return voice


def _of_everybody(voice_id: str) -> Voice:
    return _known(voice_id, SynthesisOptions())


# ── Choosing voices ─────────────────────────────────────────────────────────────────────────────────────────────────


def _default_voice(options: SynthesisOptions) -> Voice:
    if options.language is None and options.model is not None and registry.model(options.model).voices:
        return registry.model(options.model).voices[0]
    return _voice_for(languages.DEFAULT if options.language is None else options.language, options.model)


def _voice_for(language: str, model: str | None = None) -> Voice:
    voice = registry.for_language(language, model)
    if voice is None:
        raise errors.LanguageNotSupported(f"The language {language[:40]!r} is not spoken.", param="language")
    return voice


def _find_ssml_voice(
    options: SynthesisOptions, name: str | None, language: str | None, gender: str | None, current: str
) -> str:
    """The voice of an SSML element. A change of language keeps the timbre, as SSML 1.1 section 3.2.1 asks."""
    if name is not None:
        return resolve(SynthesisOptions(voice=name, language=language, own_voices=options.own_voices)).id
    if gender not in (None, "male", "female", "neutral"):
        raise errors.InvalidRequest("The gender is male, female or neutral.")
    voice = _known(current, options)
    if language is not None:
        voice = own.in_language(voice, language, options) or _speaking(own.base_of(voice, options), language)
    return voice.id if gender is None else _of_gender(own.base_of(voice, options), gender).id


def _speaking(voice: Voice, language: str) -> Voice:
    spoken = _voice_for(language) if _takes_timbres(voice) else registry.in_language(voice, language)
    if spoken is None:
        return _voice_for(language)
    timbre = voice.id.partition("+")[2]
    return _of_everybody(f"{spoken.id}+{timbre}") if timbre and _takes_timbres(spoken) else spoken


def _takes_timbres(voice: Voice) -> bool:
    return registry.model(voice.model).capabilities.timbres


def _of_gender(voice: Voice, gender: str) -> Voice:
    if _takes_timbres(voice):
        base = voice.id.partition("+")[0]
        return _of_everybody(f"{base}+f2" if gender == "female" else base)
    for other in (voice, *registry.model(voice.model).voices):
        if other.gender == gender and languages.primary(other.language) == languages.primary(voice.language):
            return other
    raise errors.InvalidRequest(f"The model {voice.model} has no {gender} voice for {voice.language}.")


# ── Speaking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def shaped(options: SynthesisOptions, run: Run) -> list[Run]:
    """A sentence as it is spoken: words of a foreign script by who can, and words of the lexicon as that says."""
    runs = _by_script(run, options)
    if not options.lexicon:
        return runs
    lexicon = options.lexicon
    return [said for part in runs for said in lexicon.applied(part, _known(part.style.voice, options).language)]


def _by_script(run: Run, options: SynthesisOptions) -> list[Run]:
    """espeak-ng changes its language within a sentence itself."""
    chosen = _known(run.style.voice, options)
    voice = own.base_of(chosen, options)
    if registry.model(voice.model).capabilities.ssml:
        return [run]
    parts = []
    for text, language in scripts.segments(run.text, voice.language):
        same = own.in_language(chosen, language, options) if language else None
        speaker = same.id if same else None if language is None else _speaker_of(voice, language)
        parts.append(replace(run, text=text, style=replace(run.style, voice=speaker or run.style.voice)))
    return parts


def _speaker_of(voice: Voice, language: str) -> str | None:
    """The same speaker where he speaks the language, else whoever does; None: nobody."""
    try:
        return _speaking(voice, language).id
    except errors.LanguageNotSupported:
        return None


def _chunks(
    parts: Iterable[Part],
    rate: int,
    options: SynthesisOptions,
    caller: Caller,
    listener: Listener | None,
    cancel: threading.Event | None,
) -> Iterator[AudioChunk]:
    """Each at its engine's rate, pauses at that of the sound before them, or `rate`.

    A call to an engine lasts for a sentence, so a slow reader keeps nobody waiting.
    """
    heard = False
    for part in parts:
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        if not isinstance(part, Utterance):
            yield from _silent(part, rate)
            continue
        sound, rate = speak_utterance(part, options, listener.turn() if listener else caller, cancel)
        if listener is not None:
            listener.gets(len(sound.samples) / rate)
        chunk = as_chunk(part, sound, rate, options)
        heard = heard or len(chunk.samples) > 0
        if len(chunk.samples) or chunk.marks:
            yield chunk
    if not heard:
        raise errors.InvalidRequest("The voice has no sounds for this text.", param="text")


def _silent(part: Pause | Mark, rate: int) -> Iterator[AudioChunk]:
    nothing = np.zeros(0, dtype=np.int16)
    if isinstance(part, Mark):
        yield AudioChunk(nothing, rate, "", marks=(SpokenMark(part.name, 0.0),))
    elif part.seconds:
        yield AudioChunk(np.zeros(round(part.seconds * rate), dtype=np.int16), rate, "")


def speak_utterance(
    utterance: Utterance, options: SynthesisOptions, caller: Caller, cancel: threading.Event | None
) -> tuple[Sound, int]:
    """By the engine of the utterance's voice: its sound, and the rate of that in hertz."""
    utterance, voice, likeness = own.as_model_speaks(utterance, options)
    capabilities = registry.model(voice.model).capabilities
    timed = options.timestamps or any(run.mark for run in utterance.runs)
    if not capabilities.ssml if options.normalize is None else options.normalize:
        utterance = delivery.normalised(utterance, voice)

    def native(part: Utterance, speed: float, pitch: float) -> Sound:
        request = SpeechRequest(part, speed, pitch, likeness, timed=timed)
        return registry.speak(request, voice=voice, caller=caller, cancel=cancel)

    if capabilities.ssml:
        return native(utterance, options.speed, options.pitch), capabilities.sample_rate
    sound = delivery.speak(
        utterance, capabilities, native, speed=options.speed, pitch=options.pitch, cancel=cancel, timed=timed
    )
    return sound, capabilities.sample_rate


def as_chunk(utterance: Utterance, sound: Sound, rate: int, options: SynthesisOptions) -> AudioChunk:
    """An utterance's sound with its text and times. Without samples where the engine has no sounds for it: espeak makes
    a few zeros then."""
    source, samples = utterance.source, sound.samples
    if not samples.any():
        samples, sound = samples[:0], Sound(samples[:0])
    words = tuple(SpokenWord(timing.bare(source[slice(*word.span)]), word.start, word.end) for word in sound.words)
    marks, position = [], 0
    for run in utterance.runs:
        if run.mark:
            reached = next((word.start for word in sound.words if word.span[0] >= position), len(samples) / rate)
            marks.append(SpokenMark(run.mark, reached))
        position += len(run.text)
    return AudioChunk(
        delivery.with_volume(samples, options.volume),
        rate,
        utterance.text,
        words if options.timestamps else (),
        tuple(marks),
        sound.estimated,
    )
