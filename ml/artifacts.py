"""Model folders on disk: `${MODEL_BASE_PATH}/<task>/<family>/<name>/<version>/`, each with a `model.json`.

    {
      "schema": 1,
      "task": "stt",                     one of TASKS
      "family": "whisper",               what people call the kind of model
      "name": "whisper-tiny",            unique within a task, [a-z0-9._-]
      "version": "1",                    [A-Za-z0-9._-]; the folder's name
      "engine": "whisper",               which engine serves it (ml.engines)
      "format": "ctranslate2",           how the files are laid out, in the engine's words
      "languages": ["en", "de"],         BCP-47 or ISO 639-1; [] where the notion does not apply
      "sample_rate": 16000,              hertz
      "capabilities": {"punctuation": true},   overrides of the engine's own for this model
      "settings": {"compute_type": "int8"},    device, compute_type, threads, decoding, …: the engine's options
      "licence": "MIT", "source": "https://…", "description": "…",
      "files": {"model.bin": {"sha256": "…", "bytes": 123}},
      "results": [{"manifest": "…", "wer": 0.1, …}]
    }

A folder is untrusted: names may not leave it, links are refused, and `verify` compares every byte with its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ml.errors import ModelInvalid

MANIFEST = "model.json"
SCHEMA = 1
TASKS = ("stt", "tts", "punctuation", "diarization", "speaker", "language", "lm")
MAX_MANIFEST_BYTES = 4 * 1024 * 1024

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    sha256: str  # hexadecimal
    bytes: int


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What `model.json` says, checked."""

    task: str
    family: str
    name: str
    version: str
    engine: str
    format: str
    languages: tuple[str, ...] = ()
    sample_rate: int = 16_000  # hertz
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    description: str = ""
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    results: tuple[Mapping[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """`<task>/<name>/<version>`, unique over an installation."""
        return f"{self.task}/{self.name}/{self.version}"

    @property
    def bytes_on_disk(self) -> int:
        return sum(entry.bytes for entry in self.files.values())


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder whose manifest has been read; its files have not been compared (see `verify`)."""

    path: Path
    manifest: ModelManifest

    def file(self, name: str) -> Path:
        """The path of a file that the manifest lists. Raises `ModelInvalid` for any other."""
        if name not in self.manifest.files:
            raise ModelInvalid(f"{self.manifest.id} has no file {name!r}.")
        return self.path / name


def folder_of(base: Path, manifest: ModelManifest) -> Path:
    """Where a model belongs."""
    return base / manifest.task / manifest.family / manifest.name / manifest.version


def read(path: Path) -> ModelFolder:
    """Reads and checks `path/model.json`. Raises `ModelInvalid` with the reason."""
    file = path / MANIFEST
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise ModelInvalid(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes.")
        raw = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelInvalid(f"{path.name} has no {MANIFEST}.") from None
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"{MANIFEST} of {path.name} cannot be read: {error}") from None
    return ModelFolder(path, parse(raw))


def parse(raw: Any) -> ModelManifest:
    """A manifest from decoded JSON. Raises `ModelInvalid` naming the field that is wrong."""
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise ModelInvalid(f"{MANIFEST} must be an object with schema {SCHEMA}.")
    _check_names(raw)
    files = {}
    for name, entry in _typed(raw, "files", dict).items():
        files[check_name(name)] = _file_entry(name, entry)
    return ModelManifest(
        task=raw["task"],
        family=raw["family"],
        name=raw["name"],
        version=raw["version"],
        engine=_typed(raw, "engine", str),
        format=_typed(raw, "format", str),
        languages=tuple(str(language) for language in _typed(raw, "languages", list, [])),
        sample_rate=_typed(raw, "sample_rate", int, 16_000),
        capabilities=_typed(raw, "capabilities", dict, {}),
        settings=_typed(raw, "settings", dict, {}),
        licence=_typed(raw, "licence", str, ""),
        source=_typed(raw, "source", str, ""),
        description=_typed(raw, "description", str, ""),
        files=files,
        results=tuple(_typed(raw, "results", list, [])),
    )


def write(path: Path, manifest: ModelManifest) -> None:
    """Writes `path/model.json`, whole or not at all."""
    body = {"schema": SCHEMA, **asdict(manifest)}
    descriptor, temporary = tempfile.mkstemp(dir=path, prefix=".model-", suffix=".json")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(body, file, indent=2, ensure_ascii=False)
        file.write("\n")
    os.chmod(temporary, 0o644)
    os.replace(temporary, path / MANIFEST)


def describe_files(path: Path) -> dict[str, FileEntry]:
    """The entries of all files in a folder but `model.json`, for a new manifest."""
    return {
        file.relative_to(path).as_posix(): FileEntry(sha256(file), file.stat().st_size)
        for file in sorted(path.rglob("*"))
        if file.is_file() and not file.is_symlink() and file.name != MANIFEST and not file.name.startswith(".")
    }


def verify(folder: ModelFolder) -> None:
    """Compares every file with the manifest. Raises `ModelInvalid` naming the first that differs."""
    if not folder.manifest.files:
        raise ModelInvalid(f"{folder.manifest.id} lists no files.")
    root = folder.path.resolve()
    for name, entry in folder.manifest.files.items():
        file = folder.path / name
        if not file.resolve().is_relative_to(root) or not file.is_file():
            raise ModelInvalid(f"{folder.manifest.id}: the file {name!r} is missing.")
        if file.stat().st_size != entry.bytes or sha256(file) != entry.sha256:
            raise ModelInvalid(f"{folder.manifest.id}: the file {name!r} is corrupt (its SHA-256 differs).")


def discover(base: Path) -> Iterator[ModelFolder | ModelInvalid]:
    """Every model folder under `base`, or what is wrong with it."""
    for file in sorted(base.glob(f"*/*/*/*/{MANIFEST}")):
        try:
            yield read(file.parent)
        except ModelInvalid as error:
            yield error


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_name(name: str) -> str:
    """A relative path that stays in its folder; else `ModelInvalid`."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or name == MANIFEST:
        raise ModelInvalid(f"The file name {name!r} is not allowed.")
    return name


def _check_names(raw: dict[str, Any]) -> None:
    if raw.get("task") not in TASKS:
        raise ModelInvalid(f"task must be one of {', '.join(TASKS)}.")
    for name, pattern in (("family", _NAME), ("name", _NAME), ("version", _VERSION)):
        if not pattern.fullmatch(str(raw.get(name, ""))):
            raise ModelInvalid(f"{name} {raw.get(name)!r} is not allowed.")


def _file_entry(name: str, raw: Any) -> FileEntry:
    if not isinstance(raw, dict) or not isinstance(raw.get("bytes"), int):
        raise ModelInvalid(f"The entry of the file {name!r} needs sha256 and bytes.")
    if not re.fullmatch(r"[0-9a-f]{64}", str(raw.get("sha256"))):
        raise ModelInvalid(f"The SHA-256 of the file {name!r} is malformed.")
    return FileEntry(raw["sha256"], raw["bytes"])


def _typed(raw: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = raw.get(name, default)
    if not isinstance(value, kind):
        raise ModelInvalid(f"{name} must be a {kind.__name__}.")
    return value
