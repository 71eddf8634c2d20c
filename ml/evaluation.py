"""How good is a recogniser? Word and character error rates and speed on a manifest of recordings.

A manifest is JSON Lines, one recording a line; paths are relative to the manifest:

    {"audio": "clips/a.wav", "text": "What was said.", "language": "en", "duration_seconds": 3.2}

Texts are compared after normalising as Whisper's authors do (Radford et al. 2022, appendix C): English with its
spellings, contractions and numbers, other languages by case, punctuation and symbols. One difference: marks that
belong to a letter are kept, for in Devanagari or Tamil they are vowels, which Whisper's basic normaliser cuts out.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.errors import InvalidRequest, MlError

MAX_LINE_BYTES = 1 << 20

Recognise = Callable[["Recording"], tuple[str, float]]
"""The text of a recording, and its duration in seconds."""


@dataclass(frozen=True, slots=True)
class Recording:
    audio: Path
    name: str  # as the manifest writes it
    text: str  # what was said; may be empty
    language: str | None  # BCP-47 or ISO 639-1


@dataclass(frozen=True, slots=True)
class Errors:
    """Counts of words or characters."""

    total: int  # in the reference
    substitutions: int
    deletions: int
    insertions: int

    @property
    def wrong(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """0–1, above with many insertions; None of a reference without any."""
        return self.wrong / self.total if self.total else None

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.total + other.total,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


NO_ERRORS = Errors(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class FileResult:
    name: str
    reference: str  # as the manifest has it
    hypothesis: str  # as the model wrote it
    words: Errors
    characters: Errors
    audio_seconds: float
    compute_seconds: float
    error: str = ""  # the recording could not be recognised; everything in it counts as deleted


@dataclass(frozen=True, slots=True)
class Evaluation:
    model: str  # name@version
    manifest: str
    manifest_sha256: str
    files: tuple[FileResult, ...]
    verbatim: bool = False  # compared word by word as they were said, not as Whisper's normaliser writes them

    @property
    def words(self) -> Errors:
        return sum((file.words for file in self.files), NO_ERRORS)

    @property
    def characters(self) -> Errors:
        return sum((file.characters for file in self.files), NO_ERRORS)

    @property
    def audio_seconds(self) -> float:
        return sum(file.audio_seconds for file in self.files)

    @property
    def rtf(self) -> float | None:
        """Computing seconds for each second of audio, one recording at a time."""
        compute = sum(file.compute_seconds for file in self.files)
        return compute / self.audio_seconds if self.audio_seconds else None

    def totals(self) -> dict[str, Any]:
        """What is kept with the model."""
        return {
            "manifest": self.manifest,
            "manifest_sha256": self.manifest_sha256,
            "files": len(self.files),
            "failed": sum(bool(file.error) for file in self.files),
            "audio_seconds": round(self.audio_seconds, 3),
            "wer": _rounded(self.words.rate),
            "cer": _rounded(self.characters.rate),
            "rtf": _rounded(self.rtf),
            "words": asdict(self.words),
            "verbatim": self.verbatim,
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        files = [
            {**asdict(file), "wer": _rounded(file.words.rate), "cer": _rounded(file.characters.rate)}
            for file in self.files
        ]
        return {"model": self.model, **self.totals(), "per_file": files}


def read_manifest(path: Path, *, limit: int | None = None) -> list[Recording]:
    """The first `limit` recordings of a manifest. Raises `InvalidRequest` naming file and line."""
    try:
        with path.open("rb") as lines:
            recordings = list(_recordings(path, lines, limit))
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}.", param="manifest") from None
    if not recordings:
        raise InvalidRequest(f"{path}: there are no recordings in it.", param="manifest")
    return recordings


def manifest_key(path: Path) -> tuple[str, int]:
    """What tells results on one manifest from others': its SHA-256, and its recordings. Raises `InvalidRequest`."""
    return hashlib.sha256(_bytes_of(path)).hexdigest(), len(read_manifest(path))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}.", param="manifest") from None


def _recordings(path: Path, lines: Any, limit: int | None) -> Iterator[Recording]:
    found = 0
    number = 0
    while (limit is None or found < limit) and (line := lines.readline(MAX_LINE_BYTES + 1)):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidRequest(f"{path}:{number}: the line is longer than {MAX_LINE_BYTES} bytes.", param="manifest")
        if line.strip():
            found += 1
            yield _recording(path, number, line)


def _recording(path: Path, number: int, line: bytes) -> Recording:
    def wrong(what: str) -> InvalidRequest:
        return InvalidRequest(f"{path}:{number}: {what}.", param="manifest")

    try:
        raw = json.loads(line)
    except ValueError as error:
        raise wrong(f"not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise wrong("not an object")
    name, text, language = raw.get("audio"), raw.get("text"), raw.get("language")
    if not isinstance(name, str) or not name:
        raise wrong('"audio" must be the path of a recording')
    if not isinstance(text, str):
        raise wrong('"text" must be what was said ("" where nothing was)')
    if language is not None and not isinstance(language, str):
        raise wrong('"language" must be a language tag')
    audio = path.parent / name
    if not audio.is_file():
        raise wrong(f"there is no file {audio}")
    return Recording(audio, name, text, language)


def evaluate(
    model: str,
    manifest: Path,
    recordings: Sequence[Recording],
    recognise: Recognise,
    *,
    verbatim: bool = False,
    progress: Callable[[FileResult], None] | None = None,
) -> Evaluation:
    """Recognises one recording after the other. One that fails counts as all deleted and does not stop the rest.

    verbatim: no more is made equal than case and punctuation, so that spelled digits count one by one.
    """
    results = []
    for recording in recordings:
        result = _evaluate(recording, recognise, verbatim)
        results.append(result)
        if progress is not None:
            progress(result)
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    return Evaluation(model, os.fspath(manifest), digest, tuple(results), verbatim)


def _evaluate(recording: Recording, recognise: Recognise, verbatim: bool) -> FileResult:
    hypothesis, audio_seconds, error = "", 0.0, ""
    started = time.perf_counter()
    try:
        hypothesis, audio_seconds = recognise(recording)
    except MlError as failure:
        error = f"{failure.code}: {failure.message}"
    compute_seconds = time.perf_counter() - started
    write = plain if verbatim else normalise
    said, heard = (write(text, recording.language) for text in (recording.text, hypothesis))
    return FileResult(
        name=recording.name,
        reference=recording.text,
        hypothesis=hypothesis,
        words=word_errors(said, heard),
        characters=character_errors(said, heard),
        audio_seconds=round(audio_seconds, 3),
        compute_seconds=round(compute_seconds, 4),
        error=error,
    )


# ── Counting ────────────────────────────────────────────────────────────────────────────────────────────────────────


def word_errors(reference: str, hypothesis: str) -> Errors:
    """Of two normalised texts."""
    import jiwer

    return _errors(jiwer.process_words([reference], [hypothesis]))


def character_errors(reference: str, hypothesis: str) -> Errors:
    """Of two normalised texts; spaces count."""
    import jiwer

    return _errors(jiwer.process_characters([reference], [hypothesis]))


def _errors(output: Any) -> Errors:
    total = output.hits + output.substitutions + output.deletions
    return Errors(total, output.substitutions, output.deletions, output.insertions)


_BRACKETED = re.compile(r"[<\[][^>\]]*[>\]]|\([^)]*\)")


def normalise(text: str, language: str | None) -> str:
    """A text as its words are compared; None: as English is, the language of most manifests that name none."""
    primary = re.split("[-_]", language or "en", maxsplit=1)[0].lower()
    return _english()(text).strip() if primary == "en" else plain(text, language)


def plain(text: str, language: str | None = None) -> str:
    """In lower case, without punctuation and without what stands in brackets; of any language."""
    spoken = _BRACKETED.sub("", text.lower())
    letters = (
        " " if unicodedata.category(character)[0] in "SPZC" else character
        for character in unicodedata.normalize("NFKC", spoken)
    )
    return " ".join("".join(letters).split())


@functools.cache
def _english() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()


# ── For people ──────────────────────────────────────────────────────────────────────────────────────────────────────


def summary(*evaluations: Evaluation) -> str:
    """One line a model: how wrong, how fast."""
    rows = [("model", "files", "audio", "WER", "CER", "RTF", "subst.", "deleted", "inserted", "failed")]
    for evaluation in evaluations:
        words = evaluation.words
        rows.append(
            (
                evaluation.model,
                str(len(evaluation.files)),
                f"{evaluation.audio_seconds:.1f} s",
                _percent(words.rate),
                _percent(evaluation.characters.rate),
                "–" if evaluation.rtf is None else f"{evaluation.rtf:.3f}",
                str(words.substitutions),
                str(words.deletions),
                str(words.insertions),
                str(sum(bool(file.error) for file in evaluation.files)),
            )
        )
    return table(rows)


def per_file(*evaluations: Evaluation) -> str:
    """One line a recording, with a column a model."""
    rows = [("recording", "seconds", *(f"WER {evaluation.model}" for evaluation in evaluations))]
    for files in zip(*(evaluation.files for evaluation in evaluations), strict=True):
        rates = [file.error or _percent(file.words.rate) for file in files]
        rows.append((files[0].name, f"{files[0].audio_seconds:.1f}", *rates))
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """A header and its lines, in columns: numbers to the right, texts to the left."""
    padded = []
    for column in zip(*rows, strict=True):
        width = max(map(len, column))
        numbers = all(cell[:1].isdigit() or cell == "–" for cell in column[1:])
        padded.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in column])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*padded, strict=True))


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
