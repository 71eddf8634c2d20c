"""How an utterance is spoken by an engine that knows nothing of styles: run by run, and what it lacks made up for.

Tempo and pitch that an engine cannot change itself are changed in the finished sound, with Sonic; volume, emphasis and
pauses always are. What nobody can do to finished sound (phonemes, the range of the intonation) is refused beforehand.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import regex

from ml import errors, grammars
from ml.tts import text as plain
from ml.tts.engines import espeak
from ml.tts.engines.base import SynthesizerCapabilities
from ml.tts.languages import primary
from ml.tts.script import Pause, Run, Style, Utterance
from ml.types import PcmSamples, Voice

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
"""Between sentences at normal speed; neural voices end with next to no silence."""

_HAS_NUMBERS = regex.compile(r"[\p{Nd}\p{Sc}]")

_EMPHASIS_VOLUME = {None: 1.0, "none": 1.0, "reduced": 0.75, "moderate": 1.1, "strong": 1.3}
_RATES = (0.1, 8.0)
_SEMITONES = (-24.0, 24.0)

SpeakNative = Callable[[Utterance, float, float], PcmSamples]
"""(an utterance of one plain run, speed, semitones) → samples, by the voice's engine"""


def check(item: Run | Pause, voice: Voice, capabilities: SynthesizerCapabilities) -> None:
    """Raises `InvalidRequest` for a style that the voice's engine cannot speak."""
    if capabilities.ssml or isinstance(item, Pause):
        return
    lacking = "phonemes" if item.style.phonemes else "a pitch range" if item.style.pitch_range != 1.0 else None
    if lacking:
        raise errors.InvalidRequest(f"The voice {voice.id} cannot be given {lacking}.", param="text")


def speak(
    utterance: Utterance,
    voice: Voice,
    capabilities: SynthesizerCapabilities,
    native: SpeakNative,
    *,
    speed: float,
    pitch: float,
    cancel: threading.Event | None,
) -> PcmSamples:
    """The whole utterance, shape (samples,), int16, at the engine's rate; empty where it has no sounds for it."""
    rate = capabilities.sample_rate
    spoken = []
    for style, text in _stretches(utterance.runs, voice):
        tempo = min(_RATES[1], max(_RATES[0], speed * style.rate))
        semitones = min(_SEMITONES[1], max(_SEMITONES[0], pitch + style.pitch))
        part = Utterance((Run(text, Style(utterance.voice)),))
        made = native(part, tempo if capabilities.speed else 1.0, semitones if capabilities.pitch else 0.0)
        tempo, semitones = 1.0 if capabilities.speed else tempo, 0.0 if capabilities.pitch else semitones
        if made.any() and (tempo != 1.0 or semitones):
            made = espeak.reshape(made, rate, tempo=tempo, semitones=semitones, cancel=cancel)
        spoken.append(with_volume(made, style.volume * _EMPHASIS_VOLUME[style.emphasis]))
    whole = np.concatenate(spoken) if spoken else np.zeros(0, dtype=np.int16)
    if utterance.pause and whole.any():
        whole = np.concatenate([whole, np.zeros(round(PAUSE_SECONDS * rate / speed), dtype=np.int16)])
    return whole


def spoken_form(run: Run, voice: Voice) -> str:
    """What the engine is given to say for a run: the one place where text is normalised for neural voices.

    What SSML's `say-as` asks for; else numbers and amounts as words, where the grammars for it are wanted and ready.
    """
    if run.style.say_as is None:
        return _in_words(run.text, primary(voice.language))
    characters = [character for character in run.text if plain.is_speakable(character)]
    return " " + ", ".join(characters) + " "


def _in_words(text: str, language: str) -> str:
    grammar = grammars.ready("tn", language) if _HAS_NUMBERS.search(text) else None
    if grammar is None:
        return text
    try:
        (spoken,) = grammar.write([text.strip()])
    except (errors.EngineFailed, errors.EngineUnavailable) as error:
        log.warning("grammar failed", extra={"error": str(error)})
        return text
    return text[: len(text) - len(text.lstrip())] + spoken + text[len(text.rstrip()) :]


def with_volume(samples: PcmSamples, volume: float) -> PcmSamples:
    """`samples` times `volume`; what would be too loud is cut at full scale instead of wrapping round."""
    if volume == 1.0:
        return samples
    return np.clip(np.rint(samples * np.float32(volume)), -32768, 32767).astype(np.int16)


def _stretches(runs: Iterable[Run], voice: Voice) -> Iterator[tuple[Style, str]]:
    """Neighbouring runs that sound alike, joined, so that a sentence is cut no oftener than it must be."""
    for _, group in itertools.groupby(runs, key=_sound):
        alike = list(group)
        text = "".join(spoken_form(run, voice) for run in alike)
        if plain.is_speakable(text):
            yield alike[0].style, text


def _sound(run: Run) -> tuple[object, ...]:
    return run.style.rate, run.style.pitch, run.style.volume, run.style.emphasis
