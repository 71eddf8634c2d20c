"""Rows follow the folders under MODEL_BASE_PATH, however those came or went."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from ml import artifacts
from ml.artifacts import MANIFEST, TASKS, ModelFolder, ModelManifest
from ml.errors import ModelInvalid
from models_registry.models import EMBEDDED_VERSION, ModelStatus, ModelVersion

_COMMIT = re.compile(r"/tree/([0-9a-f]{40})$")


@dataclass(frozen=True, slots=True)
class BrokenFolder:
    """A folder that no row can mirror, or whose row says what is wrong."""

    path: str  # below MODEL_BASE_PATH
    reason: str


def base() -> Path:
    return Path(settings.MODEL_BASE_PATH)


def folder_of(row: ModelVersion) -> ModelFolder:
    """The folder that a row mirrors, read anew. Raises `ModelInvalid`."""
    folder = artifacts.read(base() / row.path)
    if (folder.manifest.task, folder.manifest.name, folder.manifest.version) != (row.task, row.name, row.version):
        raise ModelInvalid(f"The {MANIFEST} in {row.path} is that of {folder.manifest.id}.")
    return folder


def fingerprint(manifest: ModelManifest) -> str:
    """SHA-256 of everything in a manifest that changes what is served; measured results and prose do not."""
    content = {name: value for name, value in asdict(manifest).items() if name not in ("results", "description")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def synchronise_rows() -> list[BrokenFolder]:
    """Adds rows of new folders, updates those of changed ones, and removes rows whose folder is gone.

    A folder that somebody put there by hand is only registered: `activate` tries it before it serves. A changed folder
    keeps its row, and is loaded anew by `reload`. What cannot be read is returned, and marked as failed in its row.
    """
    broken = []
    seen: set[str] = set()
    for path, folder in _folders():
        relative = path.relative_to(base()).as_posix()
        seen.add(relative)
        if isinstance(folder, ModelInvalid):
            ModelVersion.objects.filter(path=relative).update(status=ModelStatus.FAILED, last_error=folder.message)
            broken.append(BrokenFolder(relative, folder.message))
        elif problem := _misplaced(folder, relative):
            broken.append(BrokenFolder(relative, problem))
        else:
            mirror(folder)
    gone = ModelVersion.objects.exclude(version=EMBEDDED_VERSION).exclude(path__in=seen)
    gone.delete()
    return broken


def mirror(folder: ModelFolder) -> ModelVersion:
    """The row of a folder, as its manifest is now."""
    manifest = folder.manifest
    with transaction.atomic():
        row, _ = ModelVersion.objects.get_or_create(
            task=manifest.task, name=manifest.name, version=manifest.version, defaults={"family": manifest.family}
        )
        changed = {name: value for name, value in _fields(folder).items() if getattr(row, name) != value}
        for name, value in changed.items():
            setattr(row, name, value)
        if changed:
            row.save(update_fields=list(changed))
    return row


def _fields(folder: ModelFolder) -> dict[str, Any]:
    manifest = folder.manifest
    commit = _COMMIT.search(manifest.source)
    return {
        "family": manifest.family,
        "engine": manifest.engine[:64],
        "format": manifest.format[:64],
        "languages": [language[:35] for language in manifest.languages],
        "path": folder.path.relative_to(base()).as_posix(),
        "licence": manifest.licence[:200],
        "source": manifest.source[:500],
        "revision": commit.group(1) if commit else "",
        "bytes_on_disk": manifest.bytes_on_disk,
        "manifest_sha256": fingerprint(manifest),
        "results": list(manifest.results),
    }


def _folders() -> Iterator[tuple[Path, ModelFolder | ModelInvalid]]:
    for task in TASKS:  # not `*`: downloads under way live beside them
        for file in sorted(base().glob(f"{task}/*/*/*/{MANIFEST}")):
            try:
                yield file.parent, artifacts.read(file.parent)
            except ModelInvalid as error:
                yield file.parent, error


def _misplaced(folder: ModelFolder, relative: str) -> str:
    manifest = folder.manifest
    if manifest.version == EMBEDDED_VERSION:
        return f"The version {EMBEDDED_VERSION!r} is that of embedded models."
    expected = artifacts.folder_of(base(), manifest)
    if folder.path != expected:
        return f"It says that it is {manifest.id}, which belongs in {expected.relative_to(base())}."
    return ""
