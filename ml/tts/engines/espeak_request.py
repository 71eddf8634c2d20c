"""From an utterance, in our units, to what the espeak-ng library is asked for in its own."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import regex

from ml.tts.script import Run, Style, Utterance

FASTEST_NATIVE = 449
"""Words a minute; from 450 on the library speeds up with Sonic, which cannot change within a text."""

_RATES = np.array([85, 100, 120, 140, 175, 200, 250, 300, 350, 400, FASTEST_NATIVE], dtype=float)
_MEASURED_SPEEDS = np.array([0.49, 0.562, 0.678, 0.8, 1.0, 1.151, 1.442, 1.779, 2.13, 2.475, 2.781])
"""How much faster than at 175 words a minute speech really is: measured durations, English, spread over voices 3%."""

_SONIC_RATE = 178.5  # words a minute for each unit of speed, in the library's own fast speech (450 and more)
_FASTEST = 2.4  # times: from here on by the library's fast speech
_SLOWEST = 0.6  # times: below, espeak's own lengthening ends; Sonic stretches the rest

_PITCH_UP, _PITCH_DOWN = 0.837, 0.755
"""The part of a wanted shift, in semitones, that pitch and range together really give: measured over ten voices."""


def _rate(speed: float, timed: bool) -> tuple[int, float]:
    """Words a minute, and the tempo to reach the rest with. The library's fast speech tells no true times."""
    if speed > _FASTEST and not timed:
        return max(FASTEST_NATIVE + 1, round(speed * _SONIC_RATE)), 1.0
    native = min(_FASTEST, max(speed, _SLOWEST))
    return round(float(np.interp(native, _MEASURED_SPEEDS, _RATES))), speed / native


def _pitch(semitones: float) -> tuple[int, int, float]:
    """Pitch and range, 0–99, and what is left to transpose by, as a factor.

    espeak's pitch keeps the formants where they are, which sounds like another speaker rather than a faster tape, but
    does not reach an octave.
    """
    native = min(12.0, max(-12.0, semitones))
    value = min(99, max(0, round(50 + native * 50 / 12)))
    intonation = min(99, round(50 * 2 ** (native / 12)))
    got = native * (_PITCH_UP if native > 0 else _PITCH_DOWN)
    return value, intonation, 2 ** ((semitones - got) / 12)


@dataclass(frozen=True, slots=True)
class _Base:
    """What holds for a whole call, and what changes within its text start from."""

    rate: int  # words a minute
    speed: float  # that `rate` stands for
    pitch: float  # semitones that the request asks for
    transposed: float  # semitones of it that are done to the finished sound


@dataclass(frozen=True, slots=True)
class Marked:
    """What a run became in the text that the library is given."""

    start: int
    length: int
    source: int  # where the run stands in the utterance's text
    source_length: int


def source_of(position: int, spans: Sequence[Marked]) -> int:
    """The character of the utterance's text that one of the marked text stands for."""
    index = max(0, bisect.bisect_right([span.start for span in spans], position) - 1)
    span = spans[index]
    along = min(max(0, position - span.start), span.length)
    if span.length != span.source_length:  # something else is said for it
        along = min(span.source_length - 1, along * span.source_length // max(1, span.length))
    return span.source + max(0, along)


def request(
    utterance: Utterance, voice: str, speed: float, pitch: float, spans: list[Marked] | None = None
) -> dict[str, Any]:
    """What `espeak_process.Synthesizer.speak` takes.

    voice: the library's file of it; speed: times the normal rate; pitch: semitones. spans: is filled with what became
    of the runs, where words' times are wanted.
    """
    first = utterance.runs[0].style
    rate, tempo = _rate(min(8.0, max(0.1, speed * first.rate)), spans is not None)
    value, intonation, transpose = _pitch(min(24.0, max(-24.0, pitch + first.pitch)))
    return {
        "voice": voice,
        "text": _marked(utterance, _Base(rate, first.rate, pitch, 12 * math.log2(transpose)), spans),
        "rate": rate,
        "volume": _volume(first),
        "pitch": value,
        "range": min(99, round(intonation * first.pitch_range)),
        "phonemes": any(run.style.phonemes for run in utterance.runs),
        "pause": utterance.pause,
        "tempo": tempo,
        "transpose": transpose,
    }


_EMPHASIS_VOLUME = {None: 1.0, "none": 1.0, "reduced": 0.75, "moderate": 1.1, "strong": 1.3}
_EMPHASIS_LEVEL = {None: 0, "none": 1, "reduced": 2, "moderate": 3, "strong": 4}
_SAY_AS = {"characters": 0x12}  # SAYAS_CHARS of espeak's synthesize.h
_SYMBOLS = regex.compile(r"((?:(?![\x20-\x7e])[\p{Emoji}\p{So}\p{Sk}\u200d\ufe0e\ufe0f\u20e3])+)")


def _volume(style: Style) -> int:
    """espeak's amplitude: 100 is the normal one."""
    return min(300, round(100 * style.volume * _EMPHASIS_VOLUME[style.emphasis]))


def _marked(utterance: Utterance, base: _Base, spans: list[Marked] | None) -> str:
    """The text with espeak's embedded commands where the style changes: 0x01, a number, a letter.

    Only we can write them: `text.clean` takes every 0x01 out of what the caller wrote.
    """
    escaped = any(run.style.phonemes for run in utterance.runs)
    previous = replace(utterance.runs[0].style, emphasis=None, say_as=None, phonemes=None)
    marked, source = "", 0
    for run in utterance.runs:
        marked += _changes(previous, run.style, base)
        words = _words(run, escaped)
        if spans is not None and run.text:
            spans.append(Marked(len(marked), len(words), source, len(run.text)))
        marked += words
        source += len(run.text)
        previous = run.style
    return marked


def _words(run: Run, escaped: bool) -> str:
    if run.style.phonemes:
        return f" [[{run.style.phonemes}]] "
    text = run.said.replace("[[", "[ [").replace("[[", "[ [") if escaped else run.said
    if run.style.say_as:
        return _spelt(text, f"\x01{_SAY_AS[run.style.say_as]}Y")
    return text


def _spelt(text: str, command: str) -> str:
    """Letter by letter, but for symbols, which are called by their names: the library copies a symbol's name into 40
    bytes when it spells it (`LookupLetter` in numbers.c), which most Indian languages' names of emoji overflow."""
    parts = (part.strip() for part in _SYMBOLS.split(text))
    return "".join(f" {part} " if _SYMBOLS.fullmatch(part) else f" {command}{part}\x01Y " for part in parts if part)


def _changes(before: Style, now: Style, base: _Base) -> str:
    commands = []
    if now.rate != before.rate:
        commands.append(f"\x01{_inline_rate(now, base)}S")
    if now.pitch != before.pitch or now.pitch_range != before.pitch_range:
        # The finished sound is transposed as a whole, so within it espeak's own range of pitches must do.
        wanted = base.pitch + now.pitch - base.transposed
        value, intonation, _ = _pitch(wanted / (_PITCH_UP if wanted > 0 else _PITCH_DOWN))
        commands.append(f"\x01{value}P\x01{min(99, round(intonation * now.pitch_range))}R")
    if _volume(now) != _volume(before):
        commands.append(f"\x01{_volume(now)}A")
    if now.emphasis != before.emphasis:
        commands.append(f"\x01{_EMPHASIS_LEVEL[now.emphasis]}F")
    return "".join(commands)


def _inline_rate(now: Style, base: _Base) -> int:
    """Words a minute, on the side of Sonic's threshold where the text began."""
    slowest, fastest = (80, FASTEST_NATIVE) if base.rate <= FASTEST_NATIVE else (FASTEST_NATIVE + 1, 700)
    return min(fastest, max(slowest, round(base.rate * now.rate / base.speed)))
