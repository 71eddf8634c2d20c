"""How a model comes into MODEL_BASE_PATH, and how it leaves it as a file.

    pull      hub → .downloads/… (kept until it is whole, so that it can be continued) ┐
    import    archive or folder                                                        ├→ .staging/… → trial → its place
                                                                                       ┘
Every file is checked against its hash, the model is loaded once in a process of its own, and only then moved, in one
rename, to where others see it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from django.db import transaction

from accounts.actors import Actor
from audit import services as audit
from ml import archive, artifacts, hub, trial
from ml.archive import Progress
from ml.artifacts import MANIFEST, ModelFolder, ModelManifest
from ml.errors import ModelInvalid, UnknownModel
from models_registry import folders, selectors
from models_registry.catalogue import CatalogueEntry, Part, catalogue, recognise_layout
from models_registry.models import ModelVersion

DOWNLOADS = ".downloads"
STAGING = ".staging"


class Follower(Protocol):
    """Whoever wants to know how far `pull` is. What it raises ends the installation."""

    def planned(self, total_bytes: int) -> None:
        """So much is to be downloaded in all."""
        ...

    def fetched(self, more_bytes: int) -> None:
        """So much more is here; also what an earlier try had left."""
        ...

    def trying(self) -> None:
        """All is here; it is checked and loaded on trial."""
        ...


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the operator says about a repository that does not say it itself."""

    name: str | None = None
    task: str | None = None
    family: str | None = None
    engine: str | None = None
    format: str | None = None
    languages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def pull(
    *,
    actor: Actor | None,
    name: str,
    overrides: Overrides | None = None,
    progress: bool = True,
    follower: Follower | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> ModelVersion:
    """Installs a model of the catalogue, or `org/repo[@revision]`, at the commit that it is at now.

    actor: None for somebody at the command line, as everywhere here. progress: bars. follower: is told how far it is.
    tell: called with a line for people before much is fetched.
    Raises `HubUnreachable`, `UnknownModel`, `ModelInvalid`, and what the follower raises; what was downloaded stays
    for the next try.
    """
    overrides = overrides or Overrides()
    base_name, _, revision = name.partition("@")
    known = catalogue().get(base_name)
    if known is None and "/" not in base_name:
        raise UnknownModel(
            f"The catalogue has no model {base_name!r}{selectors.did_you_mean(base_name, catalogue())}; "
            "`manage.py models pull --list` shows what it has."
        )
    repository, wanted = (known.parts[0].repository, revision or None) if known else hub.split_name(name)
    first = hub.find(repository, wanted)
    if any(file.name == MANIFEST for file in first.files) and known is None:
        return _pull_folder(actor, first, progress, follower)
    entry = known or _described(first, overrides)
    revisions = [first, *(hub.find(part.repository) for part in entry.parts[1:])]
    size = f"about {entry.megabytes} MB, " if entry.megabytes else ""
    tell(f"Fetching {entry.name} from {first.url} ({size}licence: {entry.licence or first.licence or 'not stated'}).")
    parts = [(part, at_commit, _files(part, at_commit)) for part, at_commit in zip(entry.parts, revisions, strict=True)]
    if follower is not None:
        follower.planned(sum(file.bytes for _, _, files in parts for file in files))
    with _download_folder(first) as downloads, _staging() as staged:
        for index, (part, at_commit, files) in enumerate(parts):
            _fetch_part(part, at_commit, files, downloads / str(index), staged, progress, follower)
        if follower is not None:
            follower.trying()
        manifest = _manifest(entry, first, staged)
        artifacts.write(staged, manifest)
        row = _install(actor, ModelFolder(staged, manifest), came_from=first.url)
        shutil.rmtree(downloads)
    return row


def import_model(*, actor: Actor | None, source: Path, progress: Progress | None = None) -> ModelVersion:
    """Installs a model from an archive of `export_model`, or from a folder with a `model.json`."""
    with _staging() as staged:
        if source.is_dir():
            folder = archive.copy(artifacts.read(source), staged, progress=progress)
        else:
            folder = archive.unpack(source, staged, progress=progress)
        return _install(actor, folder, came_from=source.name)


def import_size(source: Path) -> int:
    """Bytes that `import_model` will write. Raises `ModelInvalid`."""
    if not source.exists():
        raise ModelInvalid(f"There is no file or folder {source}.")
    manifest = artifacts.read(source).manifest if source.is_dir() else archive.peek(source)
    return manifest.bytes_on_disk


def export_model(*, row: ModelVersion, file: Path, progress: Progress | None = None) -> None:
    """Writes the archive of an installed model."""
    if row.is_embedded:
        raise ModelInvalid(f"{row.name} comes with the platform: there is nothing to export.")
    archive.pack(folders.folder_of(row), file, progress=progress)


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _pull_folder(
    actor: Actor | None, revision: hub.HubRevision, progress: bool, follower: Follower | None
) -> ModelVersion:
    """A repository that is a model folder already: its `model.json` lists the files."""
    with _download_folder(revision) as downloads, _staging() as staged:
        by_name = {file.name: file for file in revision.files}
        hub.fetch_manifest(revision, downloads)
        manifest = artifacts.read(downloads).manifest
        archive.check_contents(manifest)
        missing = sorted(set(manifest.files) - set(by_name))
        if missing:
            raise ModelInvalid(f"{revision.repository} lacks {missing[0]!r}, which its {MANIFEST} lists.")
        files = [by_name[name] for name in manifest.files]
        if follower is not None:
            follower.planned(sum(file.bytes for file in files))
        hub.fetch(revision, files, downloads, progress=progress, fetched=follower.fetched if follower else None)
        if follower is not None:
            follower.trying()
        folder = archive.copy(ModelFolder(downloads, replace(manifest, source=revision.url)), staged)
        row = _install(actor, folder, came_from=revision.url)
        shutil.rmtree(downloads)
    return row


def _described(revision: hub.HubRevision, overrides: Overrides) -> CatalogueEntry:
    entry = recognise_layout(revision)
    if entry is None:
        if not (overrides.task and overrides.engine and overrides.format and overrides.files):
            raise ModelInvalid(
                f"{revision.repository} does not say what kind of model it is: "
                "name --task, --engine, --format and --files."
            )
        name = revision.repository.partition("/")[2].lower()
        part = Part(revision.repository, overrides.files)
        entry = CatalogueEntry(name, overrides.task, overrides.engine, overrides.engine, overrides.format, (part,))
    given = {
        name: value
        for name in ("name", "task", "family", "engine", "format", "languages", "settings")
        if (value := getattr(overrides, name))
    }
    if overrides.files:
        given["parts"] = (Part(revision.repository, overrides.files),)
    return replace(entry, **given)


def _files(part: Part, revision: hub.HubRevision) -> list[hub.HubFile]:
    files = {file.name: file for file in revision.select(part.files)}
    for pattern in part.optional:
        files.update({file.name: file for file in revision.files if file.matches(pattern)})
    return list(files.values())


def _fetch_part(
    part: Part,
    revision: hub.HubRevision,
    wanted: list[hub.HubFile],
    downloads: Path,
    staged: Path,
    progress: bool,
    follower: Follower | None,
) -> None:
    archive.check_space(staged, sum(file.bytes for file in wanted))
    downloads.mkdir(parents=True, exist_ok=True)
    hub.fetch(revision, wanted, downloads, progress=progress, fetched=follower.fetched if follower else None)
    for file in wanted:
        target = staged / file.name.removeprefix(f"{part.folder}/" if part.folder else "")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(downloads / file.name, target)  # not moved: a model that fails its trial need not be fetched again


def _manifest(entry: CatalogueEntry, revision: hub.HubRevision, staged: Path) -> ModelManifest:
    manifest = ModelManifest(
        task=entry.task,
        family=entry.family,
        name=entry.name,
        version=revision.commit[:12],
        engine=entry.engine,
        format=entry.format,
        languages=entry.languages,
        sample_rate=entry.sample_rate,
        capabilities=entry.capabilities,
        settings=entry.settings,
        licence=entry.licence or revision.licence,
        source=revision.url,
        description=entry.description,
        files=artifacts.describe_files(staged),
    )
    archive.check_contents(manifest)
    return manifest


def _install(actor: Actor | None, staged: ModelFolder, *, came_from: str) -> ModelVersion:
    """Tries a staged model and puts it in its place. One that is there already, the same, is left alone.

    came_from: for the audit trail.
    """
    target = artifacts.folder_of(folders.base(), staged.manifest)
    if target.exists():
        return _already(target, staged)
    trial.check(staged.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(staged.path, target)
    with transaction.atomic():
        row = folders.mirror(ModelFolder(target, staged.manifest))
        row.validated_sha256 = row.manifest_sha256
        row.save(update_fields=["validated_sha256"])
        audit.record_for_installation(actor=actor, action="model.installed", target=row, came_from=came_from)
    return row


def _already(target: Path, staged: ModelFolder) -> ModelVersion:
    present = artifacts.read(target)
    if present.manifest.files != staged.manifest.files:
        raise ModelInvalid(
            f"{staged.manifest.id} is installed already, with other files; remove it first "
            f"(`manage.py models remove {staged.manifest.name}@{staged.manifest.version}`)."
        )
    artifacts.verify(present)
    return folders.mirror(present)


@contextmanager
def _staging() -> Iterator[Path]:
    """A new folder beside the models, so that a rename brings it to its place; removed with what is left in it."""
    folder = folders.base() / STAGING / uuid.uuid4().hex
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _download_folder(revision: hub.HubRevision) -> Iterator[Path]:
    """Where the files of one commit come together; one process at a time."""
    name = f"{revision.repository.replace('/', '--')}@{revision.commit[:12]}"
    folder = folders.base() / DOWNLOADS / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folders.base() / DOWNLOADS / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelInvalid(f"{revision.repository} is being downloaded by another process.") from None
        folder.mkdir(exist_ok=True)
        yield folder
