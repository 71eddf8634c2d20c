"""Which utterances? JSONL manifests, read and checked before the first step, so that no run dies at hour ten."""

from __future__ import annotations

import glob
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from training.errors import ManifestInvalid
from training.stt.config import DataConfig, DataSource, resolve_path

DURATION_TOLERANCE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording and its words."""

    audio: Path
    text: str  # normalised: NFC, single spaces, lower case when the tokenizer asks for it
    language: str  # BCP-47
    speaker: str  # "" when unknown
    duration_seconds: float
    weight: float  # how often it is seen in one epoch
    where: str  # file:line


def normalize_text(text: str, *, lowercase: bool) -> str:
    """NFC, one space between words; works for any script."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text.lower() if lowercase else text


def read_sources(sources: Sequence[DataSource], data: DataConfig, *, lowercase: bool) -> list[Utterance]:
    """The utterances of some sources, in the manifests' order. Raises ManifestInvalid with every problem found."""
    problems: list[str] = []
    utterances = [
        utterance for source in sources for utterance in _read_source(source, data, lowercase=lowercase, to=problems)
    ]
    if not utterances and not problems:
        problems.append(f"{', '.join(source.manifest for source in sources)}: no utterance is left")
    if problems:
        raise ManifestInvalid(problems)
    return utterances


def check_symbols(utterances: Iterable[Utterance], alphabet: frozenset[str]) -> None:
    """Raise ManifestInvalid for texts that hold a symbol outside the alphabet (a space is always allowed)."""
    problems = []
    for utterance in utterances:
        unknown = sorted(set(utterance.text) - alphabet - {" "})
        if unknown:
            shown = ", ".join(f"{symbol!r} (U+{ord(symbol):04X})" for symbol in unknown)
            problems.append(f"{utterance.where}: unknown symbol {shown} in {utterance.text!r}")
    if problems:
        raise ManifestInvalid(problems)


def data_hash(utterances: Iterable[Utterance]) -> str:
    """SHA-256 over texts and audio bytes, in order: the same data gives the same hash wherever it lies."""
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(utterance.text.encode() + b"\0")
        digest.update(hashlib.sha256(utterance.audio.read_bytes()).digest())
    return digest.hexdigest()


def _read_source(source: DataSource, data: DataConfig, *, lowercase: bool, to: list[str]) -> Iterator[Utterance]:
    pattern = str(resolve_path(source.manifest))
    shards = sorted(Path(name) for name in glob.glob(pattern))
    if not shards:
        to.append(f"{source.manifest}: no such manifest")
    for shard in shards:
        root = resolve_path(source.audio_root) if source.audio_root else shard.parent
        for number, line in enumerate(shard.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                utterance = _parse_line(line, root=root, where=f"{shard}:{number}", weight=source.weight)
            except ValueError as error:
                to.append(f"{shard}:{number}: {error}")
                continue
            if not _is_selected(utterance, source):
                continue
            text = normalize_text(utterance.text, lowercase=lowercase)
            problem = _problem(utterance, text, data)
            if problem:
                to.append(f"{shard}:{number}: {problem}")
            else:
                yield replace(utterance, text=text)


def _parse_line(line: str, *, root: Path, where: str, weight: float) -> Utterance:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ValueError("a line is a JSON object")
    for key in ("audio", "text"):
        if not isinstance(row.get(key), str):
            raise ValueError(f"{key!r} is missing or not a string")
    duration = row.get("duration_seconds", 0.0)
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise ValueError("'duration_seconds' is not a number")
    return Utterance(
        audio=root / row["audio"],
        text=row["text"],
        language=str(row.get("language") or ""),
        speaker=str(row.get("speaker") or ""),
        duration_seconds=float(duration),
        weight=weight,
        where=where,
    )


def _is_selected(utterance: Utterance, source: DataSource) -> bool:
    if source.speakers is not None and utterance.speaker not in source.speakers:
        return False
    return utterance.speaker not in source.exclude_speakers


def _problem(utterance: Utterance, text: str, data: DataConfig) -> str | None:
    if not text:
        return "the text is empty"
    if not utterance.audio.is_file():
        return f"the audio {utterance.audio} is missing"
    try:
        info = soundfile.info(utterance.audio)
    except soundfile.LibsndfileError as error:
        return f"the audio {utterance.audio} cannot be read: {error}"
    actual = info.frames / info.samplerate
    if abs(actual - utterance.duration_seconds) > DURATION_TOLERANCE_SECONDS:
        return f"duration_seconds is {utterance.duration_seconds:g}, the audio has {actual:.2f} s"
    if not data.min_duration_seconds <= actual <= data.max_duration_seconds:
        return f"{actual:.2f} s of audio, outside {data.min_duration_seconds:g}–{data.max_duration_seconds:g} s"
    return None
