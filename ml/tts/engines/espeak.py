"""The espeak-ng engine: more than a hundred languages, with nothing to download.

Voices are `espeak:<language>`, and `espeak:<language>+<variant>` with one of the timbres that `variants()` lists.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml import errors
from ml.tts import languages
from ml.tts import text as plain
from ml.tts.engines import espeak_request, timbre
from ml.tts.engines.base import Adaptation, Gender, SpeechRequest, SynthesizerCapabilities
from ml.tts.engines.espeak_process import SAMPLE_RATE
from ml.tts.engines.turns import Turns
from ml.tts.script import Utterance
from ml.tts.timing import Sound, from_events
from ml.types import PcmSamples, Voice
from ml.workers import WorkerPool

NAME = "espeak"
MODEL = "espeak-ng"

_MEMORY_BYTES = 2 << 30
_CALL_SECONDS = 30.0

_GENDERS: dict[int, Gender] = {1: "male", 2: "female"}


@dataclass(frozen=True, slots=True)
class Variant:
    """A timbre that any espeak voice can be given: voice id + "+" + variant id."""

    id: str
    name: str
    gender: Gender | None


@dataclass(frozen=True, slots=True)
class _Catalogue:
    voices: dict[str, Voice]  # by id
    variants: dict[str, Variant]  # by id
    files: dict[str, str]  # file by voice id, and by "+" and variant id
    by_language: dict[str, str]  # voice id by language in lower case: BCP-47 and espeak's own names


def sample_rate() -> int:
    """Hertz; of what `speak` returns."""
    return SAMPLE_RATE


def voices() -> tuple[Voice, ...]:
    """One voice a language; every one of them can be given a variant."""
    return tuple(_catalogue().voices.values())


def variants() -> tuple[Variant, ...]:
    return tuple(_catalogue().variants.values())


def find(voice_id: str) -> Voice | None:
    """The voice with this id, with or without a variant; None: there is none."""
    catalogue = _catalogue()
    base_id, plus, variant_id = voice_id.partition("+")
    voice = catalogue.voices.get(base_id)
    if voice is None or not plus:
        return voice
    variant = catalogue.variants.get(variant_id)
    if variant is None:
        return None
    return replace(voice, id=voice_id, name=f"{voice.name}, {variant.name}", gender=variant.gender or voice.gender)


def for_language(tag: str) -> Voice | None:
    """The voice of a BCP-47 language, or of the nearest region of the same language; None: it is not spoken."""
    catalogue = _catalogue()
    for candidate in languages.candidates(tag):
        voice_id = catalogue.by_language.get(candidate)
        if voice_id is not None:
            return catalogue.voices[voice_id]
    return None


def _call(method: str, request: dict[str, Any], cancel: threading.Event | None) -> Any:
    pool = _pool()
    with _turns().turn(cancel):
        return pool.call(method, request, cancel=cancel, timeout_seconds=_CALL_SECONDS, repeatable=True)


def _native_request(request: SpeechRequest, spans: list[espeak_request.Marked] | None = None) -> dict[str, Any]:
    adaptation = _adaptation(request)
    voice = _file(request.utterance.runs[0].style.voice)
    speed = request.speed * (adaptation.speed if adaptation else 1.0)
    made = espeak_request.request(request.utterance, voice, speed, request.pitch, spans)
    if adaptation is not None:
        made.update(variant=timbre.variant(adaptation), home=_home_of_variants())
    return made


def _sounding(pcm: bytes, adaptation: Adaptation | None) -> PcmSamples:
    samples = np.frombuffer(pcm, dtype=np.int16)
    return samples if adaptation is None else timbre.equalise(samples, SAMPLE_RATE, adaptation.equaliser_db)


def _adaptation(request: SpeechRequest) -> Adaptation | None:
    if not (request.likeness is None or isinstance(request.likeness, Adaptation)):
        raise errors.InvalidRequest("espeak-ng does not clone voices.", param="voice")
    return request.likeness


# ── What neural engines borrow ──────────────────────────────────────────────────────────────────────────────────────


def phonemize(text: str, language: str, *, cancel: threading.Event | None = None) -> str:
    """`text` in the IPA, with its punctuation, as the phoneme-based neural models learned it.

    language: BCP-47 or espeak's own name. Raises `LanguageNotSupported`, `EngineFailed` or `Cancelled`.
    """
    voice = for_language(language)
    if voice is None:
        raise errors.LanguageNotSupported(f"espeak-ng has no phonemes for {language[:40]!r}.", param="language")
    pool = _pool()
    with _turns().turn(cancel):
        clauses = pool.call(
            "phonemes", _file(voice.id), text, cancel=cancel, timeout_seconds=_CALL_SECONDS, repeatable=True
        )
    sources = _realigned([source for _, source in clauses])
    spoken = (_SWITCHES.sub("", ipa).strip() for ipa, _ in clauses)
    return " ".join(ipa + _closing(source) for ipa, source in zip(spoken, sources, strict=True) if ipa)


def phonemize_runs(utterance: Utterance, language: str, *, cancel: threading.Event | None = None) -> str:
    """An utterance in the IPA: its words by `phonemize`, but for runs that bring their own."""
    parts = []
    for brings, runs in itertools.groupby(utterance.runs, key=lambda run: run.style.ipa is not None):
        together = list(runs)
        if brings:
            parts += [run.style.ipa or "" for run in together]
        else:
            parts.append(phonemize("".join(run.said for run in together).strip(), language, cancel=cancel))
    return " ".join(filter(None, parts))


def reshape(
    samples: PcmSamples, sample_rate: int, *, tempo: float, semitones: float, cancel: threading.Event | None = None
) -> PcmSamples:
    """`samples` spoken `tempo` times faster and transposed by `semitones`, with Sonic; shape (samples,), int16."""
    pool = _pool()
    arguments = (np.ascontiguousarray(samples).tobytes(), sample_rate, tempo, 2 ** (semitones / 12))
    with _turns().turn(cancel):
        pcm = pool.call("reshape", *arguments, cancel=cancel, timeout_seconds=_CALL_SECONDS, repeatable=True)
    return np.frombuffer(pcm, dtype=np.int16)


_SWITCHES = re.compile(r"\([a-z-]+\)")  # "(en)fˈʊtbɔːl(fr)": where espeak changed the language within a text
_CLOSING = re.compile(r"([.,;:!?…—。！？，、；：।؟])[^\w]*$")
_ASCII_PUNCTUATION = str.maketrans("。！？，、；：।؟", ".!?,,;:.?")


def _realigned(clauses: list[str]) -> list[str]:
    """Gives back to each clause the first character that espeak read ahead of it, with the clause before."""
    ahead = ["", *(clause[-1:] for clause in clauses[:-1])]
    kept = [*(clause[:-1] for clause in clauses[:-1]), *clauses[-1:]]
    return [first + rest for first, rest in zip(ahead, kept, strict=False)]


def _closing(clause: str) -> str:
    """The punctuation that ends a clause, which espeak does not give; of an abbreviation, none."""
    found = _CLOSING.search(clause)
    if found is None or (found.group(1) == "." and not plain.ends_sentence(clause)):
        return ""
    return found.group(1).translate(_ASCII_PUNCTUATION)


@functools.cache
def _pool() -> WorkerPool:
    try:
        import espeakng_loader
    except ImportError as error:
        raise errors.EngineUnavailable("espeak-ng is not installed.") from error
    paths = {"library": espeakng_loader.get_library_path(), "data": espeakng_loader.get_data_path()}
    size = os.cpu_count() or 1
    return WorkerPool("ml.tts.engines.espeak_process:Synthesizer", paths, size=size, memory_bytes=_MEMORY_BYTES)


@functools.cache
def _home_of_variants() -> str:
    """A folder with the library's data, among which there is room for variants; for the time of this process."""
    import espeakng_loader

    data = Path(espeakng_loader.get_data_path())
    home = tempfile.mkdtemp(prefix="espeak-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    Path(home, data.name, "voices", "!v").mkdir(parents=True)
    for entry in data.iterdir():
        if entry.name != "voices":
            Path(home, data.name, entry.name).symlink_to(entry)
    return home


class Espeak:
    """The engine behind the interface that all have."""

    capabilities = SynthesizerCapabilities(
        languages=(),
        sample_rate=SAMPLE_RATE,
        ssml=True,
        speed=True,
        pitch=True,
        phonemes=True,
        word_times=True,
        timbres=True,
        adapting=True,
        concurrency=os.cpu_count() or 1,
    )

    def voices(self) -> tuple[Voice, ...]:
        return voices()

    def speak(self, request: SpeechRequest, *, cancel: threading.Event | None = None) -> PcmSamples:
        pcm = _call("speak", _native_request(request), cancel)
        return _sounding(pcm, _adaptation(request))

    def speak_timed(self, request: SpeechRequest, *, cancel: threading.Event | None = None) -> Sound:
        spans: list[espeak_request.Marked] = []
        pcm, words, ends = _call("speak_timed", _native_request(request, spans), cancel)
        events = [(espeak_request.source_of(position, spans), sample / SAMPLE_RATE) for position, sample in words]
        timed = from_events(request.utterance.source, events, [sample / SAMPLE_RATE for sample in ends])
        return Sound(_sounding(pcm, _adaptation(request)), timed)

    def process_bytes(self) -> int:
        return _pool().memory_bytes()

    def close(self) -> None:
        """Its processes are shared and stay."""


@functools.cache
def _turns() -> Turns:
    return Turns(_pool().size)


# ── Voices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def _catalogue() -> _Catalogue:
    listed = _pool().call("voices", timeout_seconds=_CALL_SECONDS, repeatable=True)
    catalogue = _Catalogue({}, {}, {}, {})
    for name, spoken, file, gender in listed["voices"]:
        _add_voice(catalogue, name, spoken, file, gender)
    for voice in list(catalogue.voices.values()):
        catalogue.by_language.setdefault(voice.language.lower(), voice.id)
    for name, _, file, gender in sorted(listed["variants"], key=lambda row: row[2].lower()):
        variant_id = _slug(file)
        catalogue.variants[variant_id] = Variant(variant_id, name.replace("_", " "), _GENDERS.get(gender))
        catalogue.files[f"+{variant_id}"] = file.rpartition("/")[2]
    return catalogue


def _add_voice(catalogue: _Catalogue, name: str, spoken: list[str], file: str, gender: int) -> None:
    own = spoken[0].lower()
    if f"{NAME}:{own}" in catalogue.voices:  # two voices call themselves "yue"
        own = _slug(file)
    voice_id = f"{NAME}:{own}"
    tag = languages.to_bcp47(own)
    catalogue.voices[voice_id] = Voice(voice_id, name.strip(), tag, _GENDERS.get(gender), NAME, MODEL)
    catalogue.files[voice_id] = file
    catalogue.by_language[own] = voice_id


def _slug(file: str) -> str:
    return file.rpartition("/")[2].lower().replace(" ", "-")


def _file(voice_id: str) -> str:
    files = _catalogue().files
    base_id, plus, variant_id = voice_id.partition("+")
    return f"{files[base_id]}+{files['+' + variant_id]}" if plus else files[base_id]
