"""The espeak-ng engine: more than a hundred languages, with nothing to download.

Voices are `espeak:<language>`, and `espeak:<language>+<variant>` with one of the timbres that `variants()` lists.
"""

from __future__ import annotations

import atexit
import bisect
import functools
import itertools
import math
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import regex

from ml import errors
from ml.tts import languages
from ml.tts import text as plain
from ml.tts.engines import timbre
from ml.tts.engines.base import Adaptation, Gender, Likeness, SynthesizerCapabilities
from ml.tts.engines.espeak_process import SAMPLE_RATE
from ml.tts.engines.turns import Turns
from ml.tts.script import Run, Style, Utterance
from ml.tts.timing import Sound, from_events
from ml.types import PcmSamples, Voice
from ml.workers import WorkerPool

NAME = "espeak"
MODEL = "espeak-ng"

_MEMORY_BYTES = 2 << 30
_CALL_SECONDS = 30.0
_NORMAL_RATE = 175  # words a minute
_FASTEST_NATIVE = 449  # from 450 on the library speeds up with Sonic, which cannot change within a text

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


def speak(
    utterance: Utterance,
    *,
    speed: float,
    pitch: float,
    cancel: threading.Event | None,
    adaptation: Adaptation | None = None,
) -> PcmSamples:
    """Speaks a sentence: shape (samples,), int16, `sample_rate()`; maybe empty, where the voice has no sounds for it.

    speed: times the normal rate; pitch: semitones. Raises `EngineFailed`, `EngineUnavailable` or `Cancelled`.
    """
    pcm = _call("speak", _adapted(utterance, speed, pitch, adaptation), cancel)
    return _sounding(pcm, adaptation)


def speak_timed(
    utterance: Utterance,
    *,
    speed: float,
    pitch: float,
    cancel: threading.Event | None,
    adaptation: Adaptation | None = None,
) -> Sound:
    """As `speak`, with the times of the words."""
    spans: list[_Marked] = []
    request = _adapted(utterance, speed, pitch, adaptation, spans)
    pcm, words, ends = _call("speak_timed", request, cancel)
    events = [(_source(position, spans), sample / SAMPLE_RATE) for position, sample in words]
    timed = from_events(utterance.source, events, [sample / SAMPLE_RATE for sample in ends])
    return Sound(_sounding(pcm, adaptation), timed)


def _call(method: str, request: dict[str, Any], cancel: threading.Event | None) -> Any:
    pool = _pool()
    with _turns().turn(cancel):
        return pool.call(method, request, cancel=cancel, timeout_seconds=_CALL_SECONDS, repeatable=True)


def _adapted(
    utterance: Utterance,
    speed: float,
    pitch: float,
    adaptation: Adaptation | None,
    spans: list[_Marked] | None = None,
) -> dict[str, Any]:
    request = _request(utterance, speed * (adaptation.speed if adaptation else 1.0), pitch, spans)
    if adaptation is not None:
        request.update(variant=timbre.variant(adaptation), home=_home_of_variants())
    return request


def _sounding(pcm: bytes, adaptation: Adaptation | None) -> PcmSamples:
    samples = np.frombuffer(pcm, dtype=np.int16)
    return samples if adaptation is None else timbre.equalise(samples, SAMPLE_RATE, adaptation.equaliser_db)


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

    def speak(
        self,
        utterance: Utterance,
        *,
        speed: float = 1.0,
        pitch: float = 0.0,
        cancel: threading.Event | None = None,
        likeness: Likeness | None = None,
    ) -> PcmSamples:
        return speak(utterance, speed=speed, pitch=pitch, cancel=cancel, adaptation=_adaptation(likeness))

    def speak_timed(
        self,
        utterance: Utterance,
        *,
        speed: float = 1.0,
        pitch: float = 0.0,
        cancel: threading.Event | None = None,
        likeness: Likeness | None = None,
    ) -> Sound:
        return speak_timed(utterance, speed=speed, pitch=pitch, cancel=cancel, adaptation=_adaptation(likeness))

    def close(self) -> None:
        """Its processes are shared and stay."""


def _adaptation(likeness: Likeness | None) -> Adaptation | None:
    if not (likeness is None or isinstance(likeness, Adaptation)):
        raise errors.InvalidRequest("espeak-ng does not clone voices.", param="voice")
    return likeness


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


# ── From our units to espeak's ──────────────────────────────────────────────────────────────────────────────────────

_RATES = np.array([85, 100, 120, 140, 175, 200, 250, 300, 350, 400, _FASTEST_NATIVE], dtype=float)
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
        return max(_FASTEST_NATIVE + 1, round(speed * _SONIC_RATE)), 1.0
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
class _Marked:
    """What a run became in the text that the library is given."""

    start: int
    length: int
    source: int  # where the run stands in the utterance's text
    source_length: int


def _source(position: int, spans: Sequence[_Marked]) -> int:
    """The character of the utterance's text that one of the marked text stands for."""
    index = max(0, bisect.bisect_right([span.start for span in spans], position) - 1)
    span = spans[index]
    along = min(max(0, position - span.start), span.length)
    if span.length != span.source_length:  # something else is said for it
        along = min(span.source_length - 1, along * span.source_length // max(1, span.length))
    return span.source + max(0, along)


def _request(utterance: Utterance, speed: float, pitch: float, spans: list[_Marked] | None = None) -> dict[str, Any]:
    """spans: is filled with what became of the runs, where words' times are wanted."""
    first = utterance.runs[0].style
    rate, tempo = _rate(min(8.0, max(0.1, speed * first.rate)), spans is not None)
    value, intonation, transpose = _pitch(min(24.0, max(-24.0, pitch + first.pitch)))
    return {
        "voice": _file(first.voice),
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


def _marked(utterance: Utterance, base: _Base, spans: list[_Marked] | None) -> str:
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
            spans.append(_Marked(len(marked), len(words), source, len(run.text)))
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
    slowest, fastest = (80, _FASTEST_NATIVE) if base.rate <= _FASTEST_NATIVE else (_FASTEST_NATIVE + 1, 700)
    return min(fastest, max(slowest, round(base.rate * now.rate / base.speed)))
