"""The values of SSML's attributes, as numbers. https://www.w3.org/TR/speech-synthesis11/#S3.2.4"""

from __future__ import annotations

import math

import regex

MAX_BREAK_SECONDS = 10.0

_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.4, "x-fast": 2.0}
_PITCHES = {"x-low": -6.0, "low": -3.0, "medium": 0.0, "default": 0.0, "high": 3.0, "x-high": 6.0}
_RANGES = {"x-low": 0.2, "low": 0.5, "medium": 1.0, "default": 1.0, "high": 1.4, "x-high": 1.8}
_VOLUMES = {"silent": 0.0, "x-soft": 0.3, "soft": 0.6, "medium": 1.0, "default": 1.0, "loud": 1.5, "x-loud": 2.0}
_TYPICAL_HERTZ = {"male": 110.0, "female": 200.0}
"""What a pitch in hertz is compared with; 150 for other voices."""

_NUMBER = regex.compile(r"[+-]?(?:\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})")


class BadValue(ValueError):
    """Says what the attribute takes."""


def rate(value: str) -> float:
    """Times the rate so far: a name, a percentage ("80%", "+20%") or a bare factor ("1.5")."""
    return _factor("rate", value, _RATES, 0.1, 8.0)


def pitch_range(value: str) -> float:
    """Times the intonation's range so far."""
    return _factor("range", value, _RANGES, 0.0, 4.0)


def pitch(value: str, now: float, gender: str | None) -> float:
    """Semitones in all, of which there are `now` so far. gender: the voice's, for a pitch in hertz."""
    value = value.strip()
    if not value.endswith("Hz"):
        return now + _semitones(value)
    hertz = _number("pitch", value[:-2])
    usual = _TYPICAL_HERTZ.get(gender or "", 150.0)
    wanted = usual * 2 ** (now / 12) + hertz if value[0] in "+-" else hertz
    if not usual / 4 <= wanted <= usual * 4:
        raise BadValue(f"The pitch of this voice is from {usual / 4:.0f}Hz to {usual * 4:.0f}Hz")
    return 12 * math.log2(wanted / usual)


def gain(value: str) -> float:
    """Linear: a name, decibels ("-6dB", as SSML 1.1 has it), a percentage, or a number up to 100 as in SSML 1.0."""
    value = value.strip()
    if value.endswith("dB"):
        return min(3.0, 10 ** (min(20.0, _number("volume", value[:-2])) / 20))
    if value not in _VOLUMES and not value.endswith("%"):
        value += "%"
    return _factor("volume", value, _VOLUMES, 0.0, 3.0)


def break_seconds(value: str) -> float:
    value = value.strip()
    unit = 0.001 if value.endswith("ms") else 1.0
    if not value.endswith("s"):
        raise BadValue('The time of <break> is like "500ms" or "1.5s"')
    seconds = _number("time", value.removesuffix("s").removesuffix("m")) * unit
    if not 0 <= seconds <= MAX_BREAK_SECONDS:
        raise BadValue(f"The time of <break> is from 0 to {MAX_BREAK_SECONDS:g} seconds")
    return seconds


def _factor(name: str, value: str, named: dict[str, float], least: float, most: float) -> float:
    value = value.strip()
    if value in named:
        return named[value]
    number = _number(name, value.removesuffix("%"))
    if value.endswith("%"):
        number = (100 + number if value[0] in "+-" else number) / 100
    if not least <= number <= most:
        raise BadValue(f"The {name} of <prosody> is from {least:.0%} to {most:.0%}")
    return number


def _semitones(value: str) -> float:
    """A name, semitones ("+2st"), or a relative percentage ("-10%")."""
    if value in _PITCHES:
        return _PITCHES[value]
    if value.endswith("st"):
        number = _number("pitch", value[:-2])
    elif value.endswith("%") and value[0] in "+-":
        number = 12 * math.log2(max(0.01, 1 + _number("pitch", value[:-1]) / 100))
    else:
        raise BadValue('The pitch of <prosody> is a name, "+2st", "+10%", "+20Hz" or "180Hz"')
    if not -24 <= number <= 24:
        raise BadValue("The pitch of <prosody> is within two octaves")
    return number


def _number(name: str, value: str) -> float:
    if not _NUMBER.fullmatch(value):
        raise BadValue(f"The {name} {value[:40]!r} is not a number with a known unit")
    return float(value)
