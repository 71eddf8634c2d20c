"""How an utterance is spoken by an engine that knows nothing of styles: run by run, and what it lacks made up for.

Tempo and pitch that an engine cannot change itself are changed in the finished sound, with Sonic; volume, emphasis and
pauses always are. What nobody can do to finished sound (the range of the intonation, phonemes where the model knows but
letters) is left out, and said beforehand.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import regex

from ml import errors, grammars
from ml.tts import normalise
from ml.tts import text as plain
from ml.tts.engines import espeak
from ml.tts.engines.base import SynthesizerCapabilities
from ml.tts.languages import primary
from ml.tts.script import Run, Style, Utterance
from ml.tts.timing import Sound, TimedWord, estimate, weigh
from ml.types import PcmSamples, Voice

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
"""Between sentences at normal speed; neural voices end with next to no silence."""

_HAS_NUMBERS = regex.compile(r"[\p{Nd}\p{Sc}]")

_EMPHASIS = {
    None: (1.0, 0.0, 1.0), "none": (1.0, 0.0, 1.0), "reduced": (1.05, 0.0, 0.75), "moderate": (0.95, 0.5, 1.1),
    "strong": (0.88, 1.0, 1.3),
}  # fmt: skip
"""Times the tempo, semitones up, times the amplitude."""

_SILENCE = 0.003  # of the loudest sample: −50 dB
_EDGE_SECONDS, _FADE_SECONDS = 0.03, 0.005
_RATES = (0.1, 8.0)
_SEMITONES = (-24.0, 24.0)

SpeakNative = Callable[[Utterance, float, float], Sound]
"""(an utterance of plain runs, speed, semitones) → samples, by the voice's engine"""


def check(item: Run, voice: Voice, capabilities: SynthesizerCapabilities) -> str | None:
    """What of a style the voice's engine leaves out, in a sentence; None: nothing.

    Raises `InvalidRequest` for phonemes that it cannot speak and that no words stand for.
    """
    if capabilities.ssml:
        return None
    if item.style.phonemes and not _speaks_phonemes(item, capabilities):
        if not plain.is_speakable(item.text):
            raise errors.InvalidRequest(f"The voice {voice.id} cannot be given phonemes.", param="text")
        return f"The voice {voice.id} cannot be given these phonemes: it read the text for which they stand."
    if item.style.pitch_range != 1.0:
        return f"The voice {voice.id} has no range of pitch that could be changed."
    return None


def _speaks_phonemes(run: Run, capabilities: SynthesizerCapabilities) -> bool:
    return capabilities.ssml or (capabilities.phonemes and run.style.ipa is not None)


def speak(
    utterance: Utterance,
    capabilities: SynthesizerCapabilities,
    native: SpeakNative,
    *,
    speed: float,
    pitch: float,
    cancel: threading.Event | None,
    timed: bool = False,
) -> Sound:
    """The whole utterance at the engine's rate; without samples where it has no sounds for it."""
    rate = capabilities.sample_rate
    made, words = [np.zeros(0, dtype=np.int16)], []
    position, seconds = 0, 0.0
    for _, group in itertools.groupby(utterance.runs, key=_sound):
        stretch = Utterance(tuple(group))
        samples = _speak_stretch(stretch, capabilities, native, speed, pitch, cancel)
        if timed:
            for word in estimate(samples, rate, weigh(stretch)):
                span = (word.span[0] + position, word.span[1] + position)
                words.append(TimedWord(span, word.start + seconds, word.end + seconds))
        position += len(stretch.source)
        seconds += len(samples) / rate
        made.append(samples)
    whole, cut = _without_edges(np.concatenate(made), rate)
    if utterance.pause and whole.any():
        whole = np.concatenate([whole, np.zeros(round(PAUSE_SECONDS * rate / speed), dtype=np.int16)])
    return Sound(whole, tuple(_earlier(word, cut, len(whole) / rate) for word in words), estimated=True)


def _speak_stretch(
    stretch: Utterance,
    capabilities: SynthesizerCapabilities,
    native: SpeakNative,
    speed: float,
    pitch: float,
    cancel: threading.Event | None,
) -> PcmSamples:
    """Runs that sound alike."""
    style = stretch.runs[0].style
    tempo_of, semitones_of, gain = _EMPHASIS[style.emphasis]
    tempo = min(_RATES[1], max(_RATES[0], speed * style.rate * tempo_of))
    semitones = min(_SEMITONES[1], max(_SEMITONES[0], pitch + style.pitch + semitones_of))
    part = Utterance(tuple(_plain_runs(stretch.runs, capabilities)))
    if not any(run.style.ipa or plain.is_speakable(run.text) for run in part.runs):
        return np.zeros(0, dtype=np.int16)
    made = native(part, tempo if capabilities.speed else 1.0, semitones if capabilities.pitch else 0.0).samples
    tempo, semitones = 1.0 if capabilities.speed else tempo, 0.0 if capabilities.pitch else semitones
    if made.any() and (tempo != 1.0 or semitones):
        made = espeak.reshape(made, capabilities.sample_rate, tempo=tempo, semitones=semitones, cancel=cancel)
    return with_volume(made, style.volume * gain)


def _plain_runs(runs: Iterable[Run], capabilities: SynthesizerCapabilities) -> Iterator[Run]:
    """What the engine is given: neighbouring words as one run, and those that bring phonemes which it speaks."""
    words = ""
    voice = ""
    for run in runs:
        voice = run.style.voice
        if run.style.phonemes and _speaks_phonemes(run, capabilities):
            if words:
                yield Run(words, Style(voice))
            yield Run(run.text, Style(voice, ipa=run.style.ipa))
            words = ""
        else:
            words += run.said
    if words or not voice:
        yield Run(words, Style(voice))


def _sound(run: Run) -> tuple[object, ...]:
    """So that a sentence is cut no oftener than it must be."""
    return run.style.rate, run.style.pitch, run.style.volume, run.style.emphasis


def _earlier(word: TimedWord, seconds: float, last: float) -> TimedWord:
    start, end = (min(last, max(0.0, moment - seconds)) for moment in (word.start, word.end))
    return TimedWord(word.span, start, end)


# ── What is said ────────────────────────────────────────────────────────────────────────────────────────────────────


def normalised(utterance: Utterance, voice: Voice) -> Utterance:
    """With the words that stand for numbers, dates, addresses, signs and spelt letters: the one place where text is
    normalised for neural voices."""
    return replace(utterance, runs=tuple(part for run in utterance.runs for part in _said(run, voice.language)))


def _said(run: Run, language: str) -> list[Run]:
    if run.style.phonemes or not run.text:
        return [run]
    if run.style.say_as:
        letters = ", ".join(character for character in run.text if plain.is_speakable(character))
        return [replace(run, spoken=f" {normalise.spoken(letters, language)} ")]
    by_grammar = _by_grammar(run.said, primary(language))
    if by_grammar is not None or run.spoken is not None:
        return [replace(run, spoken=normalise.spoken(by_grammar or run.said, language))]
    parts, position = [], 0
    for rewrite in normalise.rewrites(run.text, language):
        parts.append(replace(run, text=run.text[position : rewrite.start]))
        parts.append(replace(run, text=run.text[rewrite.start : rewrite.end], spoken=rewrite.spoken))
        position = rewrite.end
    return [part for part in (*parts, replace(run, text=run.text[position:])) if part.text]


def _by_grammar(text: str, language: str) -> str | None:
    """Numbers and amounts as words, where the grammars for it are wanted and ready."""
    grammar = grammars.ready("tn", language) if _HAS_NUMBERS.search(text) else None
    if grammar is None:
        return None
    try:
        (spoken,) = grammar.write([text.strip()])
    except (errors.EngineFailed, errors.EngineUnavailable) as error:
        log.warning("grammar failed", extra={"error": str(error)})
        return None
    return text[: len(text) - len(text.lstrip())] + spoken + text[len(text.rstrip()) :]


# ── Samples ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _without_edges(samples: PcmSamples, rate: int) -> tuple[PcmSamples, float]:
    """Without the silence that a model puts around a sentence, which differs from one to the next; and how many seconds
    are gone at the beginning."""
    first, last = heard(samples)
    keep = round(_EDGE_SECONDS * rate)
    first, last = max(0, first - keep), min(len(samples), last + keep)
    if (first, last) == (0, len(samples)):
        return samples, 0.0
    kept = samples[first:last].copy()
    fade = min(round(_FADE_SECONDS * rate), len(kept) // 2)
    if fade:
        slope = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        kept[:fade] = kept[:fade] * slope
        kept[-fade:] = kept[-fade:] * slope[::-1]
    return kept, first / rate


def heard(samples: PcmSamples) -> tuple[int, int]:
    """The first sample that is not silent, and that behind the last; all of it where all is silent."""
    if not samples.any():
        return 0, len(samples)
    loud = np.abs(samples.astype(np.int32))
    above = np.flatnonzero(loud > max(8, int(loud.max() * _SILENCE)))
    return int(above[0]), int(above[-1]) + 1


def with_volume(samples: PcmSamples, volume: float) -> PcmSamples:
    """`samples` times `volume`; what would be too loud is cut at full scale instead of wrapping round."""
    if volume == 1.0:
        return samples
    return np.clip(np.rint(samples * np.float32(volume)), -32768, 32767).astype(np.int16)
