"""Several voices in one: "<voice>+<voice>", with weights "<voice>(2)+<voice>(1)", as Kokoro-FastAPI writes them.

A part may leave out the model that the first one names: "vctk:p225+p226". Ids of voices may have a plus themselves
("espeak:en-us+f2"), so a name that a voice has is never read as a mix.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

from ml import errors
from ml.tts import registry
from ml.tts.engines.base import Adaptation, Likeness, MixedSpeaker, Mixture, SpeakerLatents
from ml.types import Voice

MOST_PARTS = 8

_WEIGHT = re.compile(r"\(([0-9]{1,6}(?:\.[0-9]{1,6})?)\)")


@dataclass(frozen=True, slots=True)
class Part:
    """A voice of a mix."""

    voice: Voice
    base: str  # the id of the model's voice behind it
    likeness: Likeness | None = None  # of an own voice
    weight: Fraction = Fraction(1)  # 0 or more
    written: str = ""  # the weight as it stands in the name: "(2)"


def read(name: str, find: Callable[[str], Part | None]) -> tuple[Part, ...] | None:
    """The parts of a mix, in the order of its name; None: it is not the name of one.

    Raises `UnknownVoice` for a part that is no voice, `VoiceMixInvalid` for a weight or too many parts.
    """
    pieces = name.split("+")
    if len(pieces) < 2 or not all(pieces):
        return None
    parts: list[Part] = []
    while pieces and len(parts) <= MOST_PARTS:
        model = parts[0].base.partition(":")[0] if parts else ""
        part, number = _next_part(name, pieces, model, find)
        parts.append(part)
        pieces = pieces[number:]
    if len(parts) > MOST_PARTS:
        raise errors.VoiceMixInvalid(f"A mix has at most {MOST_PARTS} voices.", param="voice")
    if len(parts) > 1 and not any(part.weight for part in parts):
        raise errors.VoiceMixInvalid("One voice of a mix, at least, has a weight above 0.", param="voice")
    return tuple(parts) if len(parts) > 1 else None


def _next_part(name: str, pieces: Sequence[str], model: str, find: Callable[[str], Part | None]) -> tuple[Part, int]:
    """The part that `pieces` begin with, and how many of them it is: two where its id has a plus."""
    for number in range(min(2, len(pieces)), 0, -1):
        voice_id, bracket, rest = "+".join(pieces[:number]).partition("(")
        found = None if "+" in rest else find(voice_id) or find(f"{model}:{voice_id}")
        if found is not None:
            return replace(found, weight=_weight(bracket + rest), written=bracket + rest), number
    raise errors.UnknownVoice(f"There is no voice {name[:80]!r}: {pieces[0][:60]!r} is none.", param="voice")


def _weight(written: str) -> Fraction:
    """Exact, so that (2)+(1) and (0.2)+(0.1) are the same."""
    if not written:
        return Fraction(1)
    match = _WEIGHT.fullmatch(written)
    if match is None:
        raise errors.VoiceMixInvalid(
            f"The weight of a voice is a number of up to six digits, as in (2) or (0.5), not {written[:40]!r}.",
            param="voice",
        )
    return Fraction(match[1])


def written(voices: Sequence[Voice], parts: Sequence[Part]) -> str:
    """The name of a mix of `voices`, with the weights of `parts`."""
    model = parts[0].base.partition(":")[0] + ":"
    ids = [voices[0].id, *(voice.id.removeprefix(model) for voice in voices[1:])]
    return "+".join(voice_id + part.written for voice_id, part in zip(ids, parts, strict=True))


def voice_of(name: str, parts: Sequence[Part]) -> Voice:
    """The mix as a voice: it speaks the language of its first part."""
    first = parts[0].voice
    genders = {part.voice.gender for part in parts}
    gender = first.gender if len(genders) == 1 else None
    return replace(first, id=name, name=" + ".join(part.voice.name for part in parts), gender=gender)


def likeness_of(parts: Sequence[Part]) -> Likeness:
    """What makes the first part's base speak as all of them. The order of the parts makes no difference.

    Raises `VoiceMixInvalid` for voices of several models, `VoiceMixUnsupported` where the model cannot.
    """
    model = parts[0].voice.model
    for part in parts:
        if part.voice.model != model:
            raise errors.VoiceMixInvalid(
                f"The voices of a mix are of one model: {parts[0].voice.id} is of {model}, "
                f"{part.voice.id} of {part.voice.model}.",
                param="voice",
            )
    shares = _shares(parts)
    if all(isinstance(part.likeness, Adaptation) for part in parts):
        return _between([(cast(Adaptation, part.likeness), share) for part, share in shares])
    if not registry.model(model).capabilities.voice_mixing:
        raise errors.VoiceMixUnsupported(_refusal(model), param="voice")
    return Mixture(
        tuple(MixedSpeaker(part.base, share, cast("SpeakerLatents | None", part.likeness)) for part, share in shares)
    )


def _shares(parts: Sequence[Part]) -> list[tuple[Part, float]]:
    """What each part has of the whole, in an order of their own; without those that have nothing."""
    total = sum(part.weight for part in parts)
    ordered = sorted(parts, key=lambda part: (part.base, part.voice.id, part.weight))
    return [(part, float(part.weight / total)) for part in ordered if part.weight]


def _between(shares: Sequence[tuple[Adaptation, float]]) -> Adaptation:
    """Frequencies and tempo are averaged as they are heard, by their logarithms, and so are gains, in decibels."""

    def mean(values: Sequence[float]) -> float:
        return math.exp(sum(share * math.log(value) for value, (_, share) in zip(values, shares, strict=True)))

    gains = zip(*(adaptation.equaliser_db for adaptation, _ in shares), strict=True)
    return Adaptation(
        lowest_hz=mean([adaptation.lowest_hz for adaptation, _ in shares]),
        highest_hz=mean([adaptation.highest_hz for adaptation, _ in shares]),
        formants=mean([adaptation.formants for adaptation, _ in shares]),
        speed=mean([adaptation.speed for adaptation, _ in shares]),
        equaliser_db=tuple(sum(share * gain for gain, (_, share) in zip(band, shares, strict=True)) for band in gains),
    )


def _refusal(model: str) -> str:
    """Why not, and whose voices can be mixed instead."""
    able = [info.name for info in registry.models() if info.capabilities.voice_mixing]
    others = f"those of {', '.join(able)} can" if able else "no installed model's can"
    adapting = registry.model(model).capabilities.adapting
    own = f" Of {model} only your own voices can be mixed with one another." if adapting else ""
    return f"The voices of {model} cannot be mixed; {others}.{own}"
