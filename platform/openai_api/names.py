"""From the names that OpenAI clients send to the platform's models and voices.

An organisation's own alias goes first, then the platform's setting, then OpenAI's well-known names, then the real names
of models and ids of voices. A well-known model name means whichever installed model serves the language; a well-known
voice name the voice of that name that the model has, or one like it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from django.conf import settings

from accounts.actors import Actor
from common.access import owned_by
from ml import tts as engine
from ml.types import SynthesisOptions, Voice
from openai_api.models import AliasKind, OpenAIAlias

TURN_MODELS = (
    "whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
)  # fmt: skip
"""In live sessions they tell what was said after a turn; others while somebody speaks."""
STT_MODELS = (*TURN_MODELS, "gpt-live-transcribe", "gpt-realtime-whisper")
TTS_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")


@dataclass(frozen=True, slots=True)
class _Likeness:
    """How to find a voice that is like one of OpenAI's."""

    gender: str
    espeak_variant: str  # empty: the plain voice


_VOICES: dict[str, _Likeness] = {
    "alloy": _Likeness("neutral", ""),
    "ash": _Likeness("male", "m3"),
    "ballad": _Likeness("male", "m2"),
    "cedar": _Likeness("male", "m1"),
    "coral": _Likeness("female", "f3"),
    "echo": _Likeness("male", "m4"),
    "fable": _Likeness("neutral", "m5"),
    "marin": _Likeness("female", "f4"),
    "nova": _Likeness("female", "f2"),
    "onyx": _Likeness("male", "m7"),
    "sage": _Likeness("female", "f5"),
    "shimmer": _Likeness("female", "f1"),
    "verse": _Likeness("male", "m6"),
}
VOICES = tuple(_VOICES)


def platform_aliases(kind: str) -> Mapping[str, str]:
    """Name → target for everyone: OpenAI's names, over which the settings go. An empty target is found by `resolve`."""
    known, configured = {
        AliasKind.STT: (STT_MODELS, settings.OPENAI_STT_MODELS),
        AliasKind.TTS: (TTS_MODELS, settings.OPENAI_TTS_MODELS),
        AliasKind.VOICE: (VOICES, settings.OPENAI_VOICES),
    }[AliasKind(kind)]
    return {**dict.fromkeys(known, ""), **configured}


def resolve_model(*, actor: Actor, kind: str, name: str) -> str | None:
    """The platform's name for a model; None: whichever serves. A name that is no alias is returned as it is."""
    target = _target(actor, kind, name)
    return name if target is None else target or None


def resolve_voice(*, actor: Actor, name: str, model: str | None, language: str | None) -> str:
    """The id of a voice. A name that is no alias is returned as it is.

    Raises what `ml.tts.resolve` raises where no voice of the model speaks the language.
    """
    target = _target(actor, AliasKind.VOICE, name)
    if target is None:
        return name
    return target or alike(name, engine.resolve(SynthesisOptions(model=model, language=language)))


def _target(actor: Actor, kind: str, name: str) -> str | None:
    """What the name stands for; None: it is no alias."""
    own = owned_by(actor, OpenAIAlias).filter(kind=kind, name=name).values_list("target", flat=True).first()
    return platform_aliases(kind).get(name) if own is None else own


def alike(name: str, default: Voice, voices: Callable[[], Iterable[Voice]] = engine.voices) -> str:
    """Of those that have the model and language of the default: the voice of that name, one of its gender, or it."""
    likeness = _VOICES.get(name)
    if likeness is None:
        return default.id
    if default.engine == "espeak":
        return f"{default.id}+{likeness.espeak_variant}" if likeness.espeak_variant else default.id
    others = [voice for voice in voices() if (voice.model, voice.language) == (default.model, default.language)]
    if namesake := next((voice for voice in others if name in _names(voice)), None):
        return namesake.id
    fitting = [voice for voice in others if voice.gender == likeness.gender]
    alike = [other for other, its in _VOICES.items() if its.gender == likeness.gender]
    return fitting[alike.index(name) % len(fitting)].id if fitting else default.id


def _names(voice: Voice) -> set[str]:
    """Kokoro's `af_nova` is called nova."""
    speaker = voice.id.partition(":")[2].partition("@")[0].lower()
    return {voice.name.lower(), speaker, re.split("[_-]", speaker)[-1]}
