"""Voices that belong to whoever asks: a model's voice, made to sound like somebody.

They are in no registry, because nobody else may find them: a request brings those that it may use in
`SynthesisOptions.own_voices`. Such a voice speaks every language that its model speaks; `<id>@<language>` is it in
another one than its own.

A mix of voices (`ml.tts.mixing`) is one too: a model's voice, made to sound like several.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ml import errors
from ml.tts import languages, mixing, registry
from ml.tts.engines.base import Likeness
from ml.tts.script import Utterance
from ml.types import Voice

if TYPE_CHECKING:
    from ml.types import SynthesisOptions


@dataclass(frozen=True, slots=True)
class OwnVoice:
    """A voice of the caller's."""

    voice: Voice  # with its own id, and the engine and model that speak it
    base: str  # the id of the model's voice that is made to sound like it
    likeness: Likeness


def find(voice_id: str, options: SynthesisOptions) -> Voice | None:
    """The voice with this id, of the caller's or of everybody's, or the mix; None: there is none for him.

    Raises `UnknownVoice`, `VoiceMixInvalid` or `VoiceMixUnsupported` for a mix that cannot be.
    """
    own = _find_own(voice_id, options)
    return registry.find(voice_id) if own is None else own.voice


def base_of(voice: Voice, options: SynthesisOptions) -> Voice:
    """The model's voice behind an own one; any other voice is its own. Raises `UnknownVoice`."""
    own = _find_own(voice.id, options)
    return voice if own is None else _known_base(own)


def in_language(voice: Voice, language: str, options: SynthesisOptions) -> Voice | None:
    """An own voice in another language; None: it is nobody's own, or its model does not speak that."""
    own = _find_own(voice.id, options)
    if own is None:
        return None
    if languages.primary(language) == languages.primary(own.voice.language):
        return own.voice
    if _is_mix(voice.id):
        return _mix_in_language(voice.id, language, options)
    translated = _translated(own, language)
    return translated.voice if translated else None


def as_model_speaks(utterance: Utterance, options: SynthesisOptions) -> tuple[Utterance, Voice, Likeness | None]:
    """What the engine is given for an utterance: in its own voice's name, and like whom that is to sound."""
    own = _find_own(utterance.voice, options)
    if own is None:
        voice = registry.find(utterance.voice)
        if voice is None:  # its model was taken away
            raise errors.UnknownVoice(f"There is no voice {utterance.voice[:80]!r}.", param="voice")
        return utterance, voice, None
    base = _known_base(own)
    runs = tuple(replace(run, style=replace(run.style, voice=base.id)) for run in utterance.runs)
    return replace(utterance, runs=runs), base, own.likeness


def _find_own(voice_id: str, options: SynthesisOptions) -> OwnVoice | None:
    """None: it is a model's voice, or none."""
    if "+" not in voice_id:
        return _of_the_caller(voice_id, options.own_voices)
    return _mixed(voice_id, options) if _is_mix(voice_id) else None


def _of_the_caller(voice_id: str, own_voices: Sequence[OwnVoice]) -> OwnVoice | None:
    name, _, language = voice_id.partition("@")
    for own in own_voices:
        if own.voice.id == name:
            return _translated(own, language) if language else own
    return None


def _translated(own: OwnVoice, language: str) -> OwnVoice | None:
    """The same voice speaking `language`; None: its model has no voice for that, or is not installed."""
    try:
        base = registry.for_language(language, own.voice.model)
    except errors.UnknownModel:
        return None
    if base is None:
        return None
    voice = replace(own.voice, id=f"{own.voice.id}@{base.language}", language=base.language)
    return replace(own, voice=voice, base=base.id)


def _known_base(own: OwnVoice) -> Voice:
    base = registry.find(own.base)
    if base is None:
        raise errors.UnknownVoice(
            f"The voice {own.voice.id} needs the model {own.voice.model}, which is not installed.", param="voice"
        )
    return base


# ── Mixes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _is_mix(voice_id: str) -> bool:
    """Whether it can be read as one only: "espeak:en-us+f2" is a voice."""
    return "+" in voice_id and registry.find(voice_id) is None


def _mixed(name: str, options: SynthesisOptions) -> OwnVoice | None:
    parts = mixing.read(name, functools.partial(_part, options))
    if parts is None:
        return None
    return OwnVoice(mixing.voice_of(name, parts), parts[0].base, mixing.likeness_of(parts))


def _part(options: SynthesisOptions, voice_id: str) -> mixing.Part | None:
    own = _of_the_caller(voice_id, options.own_voices)
    if own is not None:
        return mixing.Part(own.voice, _known_base(own).id, own.likeness)
    voice = registry.find(voice_id)
    return None if voice is None else mixing.Part(voice, voice.id)


def _mix_in_language(name: str, language: str, options: SynthesisOptions) -> Voice | None:
    """The mix of the same speakers; None: one of them does not speak the language."""
    parts = mixing.read(name, functools.partial(_part, options)) or ()
    spoken = []
    for part in parts:
        same = in_language(part.voice, language, options) or registry.in_language(part.voice, language)
        if same is None:
            return None
        spoken.append(same)
    return find(mixing.written(spoken, parts), options)
