"""What every speech engine offers: its capabilities, its voices, and an utterance in, samples out.

An engine knows nothing of requests, formats or rates: the pipeline cuts the text, and decides by
`SynthesizerCapabilities` alone what it has to do itself (tempo, pitch, pauses, styles within a sentence).

A model folder names its voices in `model.json`, so that they can be listed without loading anything:

    "settings": {
      "speakers": [
        {"id": "ana", "speaker": 0, "name": "Ana", "gender": "female", "language": "en-US"},
        {"id": "ben", "speaker": "p226"}          a number or a name, in the engine's words; default: the position
      ],
      "default_speaker": "ana"                    default: the first
    }

The voice's id is `<model name>:<speaker id>`, `default` where the model has one speaker. A speaker without a language
speaks all of the model's: the id alone means the first, `<model name>:<speaker id>@<language>` another.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ml.artifacts import ModelFolder, ModelManifest
from ml.errors import ModelInvalid
from ml.tts import languages
from ml.tts.script import Utterance
from ml.tts.timing import Sound
from ml.types import PcmSamples, Samples, Voice

Gender = Literal["male", "female", "neutral"]
GENDERS = ("male", "female", "neutral")

_SPEAKER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TAG = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
_SPEAKER_KEYS = {"id", "speaker", "name", "gender", "language"}


@dataclass(frozen=True, slots=True)
class SynthesizerCapabilities:
    languages: tuple[str, ...]  # BCP-47
    sample_rate: int  # hertz, of what `speak` returns
    ssml: bool = False  # speaks runs of several styles, say-as and phonemes in one utterance, and its closing pause
    speed: bool = False  # changes its tempo itself
    pitch: bool = False  # changes its pitch itself
    phonemes: bool = False  # speaks runs that bring their IPA among its words; known from the folder (`takes_phonemes`)
    word_times: bool = False  # tells when it says each word: `speak_timed`
    timbres: bool = False  # its voices take variants of timbre: "<voice>+<variant>"
    cloning: bool = False  # clones voices: a `CloningSynthesizer`
    voice_mixing: bool = False  # speaks with a `Mixture` of its voices; known from the folder (`mixes_voices`)
    adapting: bool = False  # speaks with an `Adaptation`
    max_batch: int = 1  # utterances that one call computes together
    concurrency: int = 1  # calls that run side by side; others wait their turn
    device: str = "cpu"  # or "cuda:<n>"


@dataclass(frozen=True, slots=True)
class SpeakerLatents:
    """What a model that clones voices heard in a recording; it fits that model alone."""

    conditioning: NDArray[np.float32]  # (1, frames, channels): manner and prosody
    embedding: NDArray[np.float32]  # (1, channels, 1): timbre


@dataclass(frozen=True, slots=True)
class Reference:
    """A recording that a zero-shot model hears each time before it speaks."""

    samples: PcmSamples  # (T,)
    sample_rate: int  # hertz


EQUALISER_HZ = tuple(float(hertz) for hertz in (
    125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000,
))  # fmt: skip
"""The centres of a third of an octave each (IEC 61260)."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How a synthesiser by rules is made to sound like somebody, as far as it can be."""

    lowest_hz: float  # of the pitch, at the end of a plain statement
    highest_hz: float  # at its peak
    formants: float  # times the frequencies of the resonances: those of a short vocal tract are high
    speed: float  # times the normal tempo
    equaliser_db: tuple[float, ...]  # gains at `EQUALISER_HZ`


@dataclass(frozen=True, slots=True)
class MixedSpeaker:
    """One of a mixture's."""

    voice: str  # the id of a voice of the model
    weight: float  # more than 0; all of a mixture make 1
    likeness: SpeakerLatents | None = None  # of whom that voice is made to sound like


@dataclass(frozen=True, slots=True)
class Mixture:
    """A speaker in between several: the weighted mean of the vectors that the model knows them by."""

    speakers: tuple[MixedSpeaker, ...]


Likeness = SpeakerLatents | Reference | Adaptation | Mixture
"""What makes a voice of a model sound like somebody."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A sentence, and how it is to be said."""

    utterance: Utterance
    speed: float = 1.0  # times normal
    pitch: float = 0.0  # semitones up
    likeness: Likeness | None = None  # of a kind that the engine's capabilities promise
    timed: bool = False  # tell when each word is said, where the engine can


@runtime_checkable
class Synthesizer(Protocol):
    """A loaded engine. Safe to call from several threads; calls that overlap do not influence one another."""

    @property
    def capabilities(self) -> SynthesizerCapabilities: ...

    def voices(self) -> tuple[Voice, ...]:
        """The default one first."""
        ...

    def speak(self, request: SpeechRequest, *, cancel: threading.Event | None = None) -> PcmSamples:
        """Speaks a sentence: shape (samples,), int16, at the engine's rate; empty where it has no sounds for it.

        Without the capability `ssml` the utterance is one run of plain text, or with `phonemes` several of which some
        have `style.ipa`; `pause` is not looked at, and a speed or pitch is only asked for where the engine changes them
        itself. Raises `EngineFailed`, `EngineUnavailable` or `Cancelled`.
        """
        ...

    def close(self) -> None:
        """Frees what the engine holds. No call is under way, and none follows."""
        ...


class TimingSynthesizer(Synthesizer, Protocol):
    """An engine with the capability `word_times`."""

    def speak_timed(self, request: SpeechRequest, *, cancel: threading.Event | None = None) -> Sound:
        """As `speak`, with the times of the words in the utterance's text."""
        ...


@runtime_checkable
class CloningSynthesizer(Synthesizer, Protocol):
    """An engine with the capability `cloning`."""

    def learn(
        self, samples: Samples, sample_rate: int, *, text: str = "", cancel: threading.Event | None = None
    ) -> Likeness:
        """Listens to a recording. samples: shape (T,), float32; text: what is said in it, where that is known.

        Raises `AudioEmpty` for one that is too short.
        """
        ...


# ── Voices of a model folder ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice, and how the engine is asked for it."""

    voice: Voice
    key: int | str  # in the engine's words


def speakers(manifest: ModelManifest) -> dict[str, Speaker]:
    """By voice id, the default first. Loads nothing. Raises `ModelInvalid`."""
    if not manifest.languages:
        raise ModelInvalid(f"{manifest.id}: languages must name what the voices speak.")
    for language in manifest.languages:
        _check_tag(manifest, language)
    listed = manifest.settings.get("speakers", [{"id": "default", "name": manifest.name}])
    if not isinstance(listed, list) or not listed:
        raise ModelInvalid(f"{manifest.id}: settings.speakers must be a list with at least one speaker.")
    found: dict[str, dict[str, Speaker]] = {}
    for position, entry in enumerate(listed):
        speaker_id = _speaker_id(manifest, entry)
        if speaker_id in found:
            raise ModelInvalid(f"{manifest.id}: the speaker {speaker_id!r} is listed twice.")
        found[speaker_id] = _speaker(manifest, speaker_id, entry, position)
    first = manifest.settings.get("default_speaker", next(iter(found)))
    if first not in found:
        raise ModelInvalid(f"{manifest.id}: default_speaker {first!r} is not one of the speakers.")
    ordered = dict(found[first])
    for of_speaker in found.values():
        ordered.update(of_speaker)
    return ordered


def voices(manifest: ModelManifest) -> tuple[Voice, ...]:
    """The voices that a model will have, the default one first. Loads nothing. Raises `ModelInvalid`."""
    return tuple(speaker.voice for speaker in speakers(manifest).values())


def _speaker(manifest: ModelManifest, speaker_id: str, entry: dict[str, Any], position: int) -> dict[str, Speaker]:
    key = entry.get("speaker", position)
    gender = entry.get("gender")
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise ModelInvalid(f"{manifest.id}: the speaker of {speaker_id!r} must be a number or a name.")
    if gender is not None and gender not in GENDERS:
        raise ModelInvalid(f"{manifest.id}: the gender of {speaker_id!r} is one of {', '.join(GENDERS)}.")
    own = entry.get("language")
    spoken = manifest.languages if own is None else (_check_tag(manifest, own),)
    made = {}
    for number, language in enumerate(spoken):
        tag = languages.with_case(language)
        voice_id = f"{manifest.name}:{speaker_id}" + (f"@{tag}" if number else "")
        name = str(entry.get("name", speaker_id))
        voice = Voice(voice_id, name, tag, cast("Gender | None", gender), manifest.engine, manifest.name)
        made[voice_id] = Speaker(voice, key)
    return made


def _speaker_id(manifest: ModelManifest, entry: Any) -> str:
    if not isinstance(entry, dict) or not _SPEAKER_ID.fullmatch(str(entry.get("id", ""))):
        raise ModelInvalid(f"{manifest.id}: each speaker needs an id of letters, digits, '.', '_' and '-'.")
    unknown = sorted(set(entry) - _SPEAKER_KEYS)
    if unknown:
        raise ModelInvalid(f"{manifest.id}: the speaker {entry['id']!r} has the unknown field {unknown[0]!r}.")
    return str(entry["id"])


def _check_tag(manifest: ModelManifest, language: Any) -> str:
    if not isinstance(language, str) or not _TAG.fullmatch(language):
        raise ModelInvalid(f"{manifest.id}: {language!r} is not a language tag.")
    return language


# ── Settings of a model folder ──────────────────────────────────────────────────────────────────────────────────────


VOICE_SETTINGS: Mapping[str, tuple[type, ...]] = {"speakers": (list,), "default_speaker": (str,)}


class Settings:
    """`manifest.settings`, checked: an unknown name or a wrong type is an error, never ignored."""

    def __init__(self, manifest: ModelManifest, known: Mapping[str, tuple[type, ...]]) -> None:
        self.manifest = manifest
        for name, value in manifest.settings.items():
            types = known.get(name) or VOICE_SETTINGS.get(name)
            if types is None:
                raise ModelInvalid(f"{manifest.id}: the setting {name!r} is not known to {manifest.engine}.")
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                wanted = " or ".join(kind.__name__ for kind in types)
                raise ModelInvalid(f"{manifest.id}: the setting {name!r} must be a {wanted}.")

    def get(self, name: str, default: Any) -> Any:
        return self.manifest.settings.get(name, default)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        value = float(self.get(name, default))
        if not least <= value <= most:
            raise ModelInvalid(f"{self.manifest.id}: the setting {name!r} is from {least:g} to {most:g}.")
        return value


def existing_file(folder: ModelFolder, name: str) -> str:
    """The path of a file that the manifest lists and that is there, and no link. Raises `ModelInvalid`."""
    path = folder.file(name)
    if not path.is_file() or not path.resolve().is_relative_to(folder.path.resolve()):
        raise ModelInvalid(f"{folder.manifest.id}: the file {name!r} is missing.")
    return str(path)


def to_pcm(samples: NDArray[np.floating[Any]]) -> PcmSamples:
    """float, shape (T,) → int16; what is not finite is silence, what is too loud is cut at full scale."""
    finite = np.nan_to_num(np.asarray(samples, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return cast(PcmSamples, (np.clip(finite, -1.0, 1.0) * 32767).astype(np.int16))
