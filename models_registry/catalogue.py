"""`catalogue.json`: models that are known to be good, where their files are, and what to tell the engine of them.

Sizes are approximate and only for people; what is downloaded is checked against the hub.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml.hub import HubRevision

FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, slots=True)
class Part:
    """Files of one repository."""

    repository: str
    files: tuple[str, ...]  # patterns; each must match
    optional: tuple[str, ...] = ()  # patterns; those that match are taken too
    folder: str = ""  # in the repository; files lose it in the model's folder


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What `model.json` will say, and where the files come from."""

    name: str
    task: str
    family: str
    engine: str
    format: str
    parts: tuple[Part, ...]
    languages: tuple[str, ...] = ()
    sample_rate: int = 16_000  # hertz
    licence: str = ""
    megabytes: int = 0
    description: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, word: str) -> bool:
        """Whether a language, the name, the family or the description says it; "" fits all."""
        word = word.lower()
        spoken = {part for language in self.languages for part in (language.lower(), language.lower().split("-")[0])}
        if 0 < len(word) <= 3:  # a language's code, which many words contain
            return word in spoken
        return word in spoken or word in " ".join((self.name, self.family, self.description)).lower()


@functools.cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """By name."""
    entries = [_entry(raw) for raw in json.loads(FILE.read_text("utf-8"))["models"]]
    return {entry.name: entry for entry in entries}


def _entry(raw: dict[str, Any]) -> CatalogueEntry:
    parts = tuple(
        Part(part["repository"], tuple(part["files"]), tuple(part.get("optional", ())), part.get("folder", ""))
        for part in raw["parts"]
    )
    return CatalogueEntry(**{**raw, "parts": parts, "languages": tuple(raw.get("languages", ()))})


def recognise_layout(revision: HubRevision) -> CatalogueEntry | None:
    """What a repository that is not in the catalogue seems to be, by its files; None: it does not say."""
    names = {file.name for file in revision.files}
    name = revision.repository.partition("/")[2].lower()
    match_of = functools.partial(_match, names)
    entry: dict[str, Any] = {}
    files: tuple[str | None, ...] = ()
    if {"model.bin", "config.json"} <= names and match_of("vocabulary."):
        entry = {"task": "stt", "family": "whisper", "engine": "whisper", "format": "ctranslate2"}
        files = ("config.json", "model.bin", "tokenizer.json", match_of("vocabulary."))
    elif "tokens.txt" in names and match_of("joiner"):
        entry = {"task": "stt", "family": "transducer", "engine": "sherpa", "format": "transducer"}
        files = (match_of("encoder"), match_of("decoder"), match_of("joiner"), "tokens.txt")
    elif {"tokens.txt", "voices.bin", "model.onnx"} <= names:
        entry = {"task": "tts", "family": "kokoro", "engine": "sherpa", "format": "kokoro", "sample_rate": 24_000}
        files = ("model.onnx", "voices.bin", "tokens.txt", "espeak-ng-data/*")
    elif "tokens.txt" in names and any(file.startswith("espeak-ng-data/") for file in names):
        onnx = sorted(file for file in names if file.endswith(".onnx") and "/" not in file)
        if len(onnx) == 1:
            entry = {"task": "tts", "family": "piper", "engine": "sherpa", "format": "vits", "sample_rate": 22_050}
            entry["settings"] = {"model": onnx[0]}
            files = (onnx[0], "tokens.txt", "espeak-ng-data/*")
    if not entry or None in files:
        return None
    required = tuple(file for file in files if file is not None)
    return CatalogueEntry(name=name, parts=(Part(revision.repository, required),), **entry)


def _match(names: set[str], start: str) -> str | None:
    """The file at the root that begins so, the int8 one where there are several."""
    matching = sorted(
        (name for name in names if name.startswith(start) and "/" not in name),
        key=lambda name: (".int8." not in name, name),
    )
    return matching[0] if matching else None
