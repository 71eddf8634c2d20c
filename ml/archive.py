"""One file that carries a model between machines: a plain tar of `model.json` and the files that it lists.

An archive is untrusted. It is read as a stream, `model.json` first; after it only regular files that the manifest
lists, each of the listed size and SHA-256, are written, and only below the target folder. Links, devices, absolute and
climbing names, files that nobody listed, and more bytes than the limit are refused before anything of theirs is
written. Nothing is unpickled or run here: the engines load safetensors, ONNX and CTranslate2 files, and torch
checkpoints with `weights_only`; files that hold code (`CODE_SUFFIXES`) are refused altogether.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ml import artifacts
from ml.artifacts import MANIFEST, MAX_MANIFEST_BYTES, FileEntry, ModelFolder, ModelManifest
from ml.errors import ModelInvalid

MAX_BYTES = 64 << 30
"""Of all files of a model together."""

MAX_FILES = 20_000
CODE_SUFFIXES = (".py", ".pyc", ".pkl", ".pickle", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".jar")
_BLOCK = 1 << 20

Progress = Callable[[int], None]
"""Called with the number of bytes that were just written."""


def pack(folder: ModelFolder, file: Path, *, progress: Progress | None = None) -> None:
    """Writes the archive of a model, whole or not at all. Raises `ModelInvalid` where its files are not as listed.

    The same model always gives the same bytes: no times, no owners.
    """
    check_contents(folder.manifest)
    temporary = file.with_name(file.name + ".partial")
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            manifest = (folder.path / MANIFEST).read_bytes()
            archive.addfile(_header(MANIFEST, len(manifest)), io.BytesIO(manifest))
            for name, entry in sorted(folder.manifest.files.items()):
                path = folder.path / name
                if path.is_symlink() or not path.is_file() or path.stat().st_size != entry.bytes:
                    raise ModelInvalid(f"{folder.manifest.id}: the file {name!r} is missing or has another size.")
                with path.open("rb") as source:
                    hashed = _Hashed(source, progress)
                    archive.addfile(_header(name, entry.bytes), hashed)  # type: ignore[arg-type]
                if hashed.sha256 != entry.sha256:
                    raise ModelInvalid(f"{folder.manifest.id}: the file {name!r} is corrupt (its SHA-256 differs).")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def peek(file: Path) -> ModelManifest:
    """The manifest of an archive."""
    with _opened(file) as archive:
        return _manifest(archive)


def unpack(file: Path, folder: Path, *, max_bytes: int = MAX_BYTES, progress: Progress | None = None) -> ModelFolder:
    """Writes an archive's files into `folder`, which must be empty, and checks each. Raises `ModelInvalid`."""
    with _opened(file) as archive:
        manifest = _manifest(archive)
        check_contents(manifest, max_bytes=max_bytes)
        check_space(folder, manifest.bytes_on_disk)
        missing = set(manifest.files)
        try:
            while member := archive.next():
                if member.name not in missing:
                    raise ModelInvalid(f"The archive holds {member.name[:200]!r}, which its {MANIFEST} does not list.")
                missing.remove(member.name)
                _write(archive, member, manifest.files[member.name], folder / member.name, progress)
        except tarfile.TarError as error:
            raise ModelInvalid(f"{file.name} is damaged: {error}.") from None
    if missing:
        raise ModelInvalid(f"The archive lacks {min(missing)!r}.")
    artifacts.write(folder, manifest)
    return ModelFolder(folder, manifest)


def copy(source: ModelFolder, folder: Path, *, progress: Progress | None = None) -> ModelFolder:
    """Copies the listed files of a model folder into the empty `folder`, checking each as it goes."""
    check_contents(source.manifest)
    check_space(folder, source.manifest.bytes_on_disk)
    root = source.path.resolve()
    for name, entry in source.manifest.files.items():
        path = source.path / name
        if path.is_symlink() or not path.is_file() or not path.resolve().is_relative_to(root):
            raise ModelInvalid(f"{source.manifest.id}: the file {name!r} is missing, or it is a link.")
        with path.open("rb") as stream:
            _copy(stream, entry, folder / name, name, progress)
    artifacts.write(folder, source.manifest)
    return ModelFolder(folder, source.manifest)


def check_contents(manifest: ModelManifest, *, max_bytes: int = MAX_BYTES) -> None:
    """Refuses a model that lists no files, too many, too large ones, or files that hold code."""
    if not manifest.files:
        raise ModelInvalid(f"{manifest.id} lists no files.")
    if len(manifest.files) > MAX_FILES or manifest.bytes_on_disk > max_bytes:
        raise ModelInvalid(
            f"{manifest.id} has {len(manifest.files):,} files of {manifest.bytes_on_disk:,} bytes; "
            f"the limits are {MAX_FILES:,} and {max_bytes:,}."
        )
    for name, entry in manifest.files.items():
        artifacts.check_name(name)
        if name.lower().endswith(CODE_SUFFIXES):
            raise ModelInvalid(f"{manifest.id} holds code ({name!r}): models are data.")
        if entry.bytes < 0:
            raise ModelInvalid(f"{manifest.id}: the file {name!r} has a negative size.")


def check_space(folder: Path, wanted: int) -> None:
    """Refuses before the disk is full, leaving a hundredth of it to everything else."""
    usage = shutil.disk_usage(folder)
    if wanted > usage.free - usage.total // 100:
        raise ModelInvalid(f"The model needs {wanted:,} bytes, but {folder} has only {usage.free:,} free.")


def _opened(file: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(file, "r:")
    except (tarfile.TarError, OSError) as error:
        raise ModelInvalid(f"{file} is not a model archive: {error}.") from None


def _manifest(archive: tarfile.TarFile) -> ModelManifest:
    member = archive.next()
    if member is None or member.name != MANIFEST or not member.isreg() or member.size > MAX_MANIFEST_BYTES:
        raise ModelInvalid(f"A model archive begins with its {MANIFEST}.")
    try:
        return artifacts.parse(json.load(archive.extractfile(member)))  # type: ignore[arg-type]
    except ValueError as error:
        raise ModelInvalid(f"{MANIFEST} in the archive cannot be read: {error}") from None


def _write(
    archive: tarfile.TarFile, member: tarfile.TarInfo, entry: FileEntry, target: Path, progress: Progress | None
) -> None:
    # `isreg` is true of sparse files too, whose data may be far smaller than their size.
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        raise ModelInvalid(f"{member.name!r} in the archive is not a regular file.")
    if member.size != entry.bytes:
        raise ModelInvalid(f"{member.name!r} has {member.size:,} bytes in the archive, not {entry.bytes:,}.")
    source = archive.extractfile(member)
    assert source is not None  # noqa: S101  (of a regular file)
    _copy(source, entry, target, member.name, progress)


def _copy(source: IO[bytes], entry: FileEntry, target: Path, name: str, progress: Progress | None) -> None:
    digest = hashlib.sha256()
    written = 0
    with _created(target, name) as stream:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > entry.bytes:
                break
            digest.update(block)
            stream.write(block)
            if progress is not None:
                progress(len(block))
    if written != entry.bytes or digest.hexdigest() != entry.sha256:
        raise ModelInvalid(f"The file {name!r} is corrupt (its size or its SHA-256 differs).")


def _created(target: Path, name: str) -> IO[bytes]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")
    except (FileExistsError, NotADirectoryError):  # "a" and "a/b", or names that this disk takes for one another
        raise ModelInvalid(f"The file {name!r} collides with another file of the model.") from None


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, source: IO[bytes], progress: Progress | None) -> None:
        self._source, self._progress, self._digest = source, progress, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self._digest.update(block)
        if self._progress is not None:
            self._progress(len(block))
        return block

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()
