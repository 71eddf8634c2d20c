"""Backups: the database as pg_dump writes it, and the stored audio, into a folder; and back.

    <folder>/20261123T010203004005Z/database.dump   pg_dump's custom format
    <folder>/20261123T010203004005Z/manifest.json   what belongs to it: `Manifest`
    <folder>/audio/<key>                      shared by all backups of the folder: objects never change once written

The database goes first: every object that its rows name had been stored by then. Both can be taken while the platform
serves. Models are not among it: they are folders that can be pulled or imported again (docs/operations.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from common import errors, storage
from config.embedded_postgres import programs

DUMP, MANIFEST, AUDIO = "database.dump", "manifest.json", "audio"
PROBES = "health/"
"""What `storage.is_writable` writes and deletes again."""
_NAME = re.compile(r"\d{8}T\d{12}Z")


class BackupFailed(Exception):
    """One sentence for whoever runs it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one backup holds."""

    created_at: str  # ISO 8601, UTC
    version: str  # of the platform
    migrations: list[str]  # that the database had seen
    dump_sha256: str
    audio: dict[str, int]  # bytes by key


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done."""

    name: str
    objects: int  # that belong to the backup
    copied: int  # of these, not there before
    missing: int = 0  # of these, gone meanwhile (backup), or in neither place (restore)


def backups(folder: Path) -> list[str]:
    """The complete ones, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / MANIFEST).exists())


def create(folder: Path, *, keep: int) -> Outcome:
    """Adds a backup to the folder, and deletes all but the latest `keep` and the audio that only those had."""
    name = f"{timezone.now():%Y%m%dT%H%M%S%fZ}"
    made = folder / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made.mkdir(mode=0o700)
    _dump(made / DUMP)
    listed = dict(_stored())
    copied, gone = _copy_out(listed, folder / AUDIO)
    manifest = Manifest(
        created_at=timezone.now().isoformat(),
        version=settings.VERSION,
        migrations=_applied(),
        dump_sha256=_sha256(made / DUMP),
        audio={key: size for key, size in listed.items() if key not in gone},
    )
    _write(made / MANIFEST, manifest)  # last: without it the folder is no backup
    _prune(folder, keep)
    return Outcome(name, len(manifest.audio), copied, len(gone))


def restore(folder: Path, name: str) -> Outcome:
    """Replaces the database's contents by the backup's, in one transaction, and stores the audio that is not there.

    The platform must not run meanwhile. Raises BackupFailed, and has then changed nothing of the database.
    """
    manifest = read(folder, name)
    dump = folder / name / DUMP
    if _sha256(dump) != manifest.dump_sha256:
        raise BackupFailed(f"{dump} is damaged: its checksum is not the one of the manifest.")
    _require_known(manifest)
    connection.ensure_connection()
    _load(dump)
    copied, missing = _copy_in(manifest.audio, folder / AUDIO)
    return Outcome(name, len(manifest.audio), copied, missing)


def read(folder: Path, name: str) -> Manifest:
    try:
        return Manifest(**json.loads((folder / name / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupFailed(f"{folder / name} is not a complete backup ({error}).") from error


# ── The database ────────────────────────────────────────────────────────────────────────────────────────────────────


def _dump(target: Path) -> None:
    connect = f"--dbname={_conninfo()}"
    _call([_tool("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", f"--file={target}", connect])
    target.chmod(0o600)


def _load(dump: Path) -> None:
    """pg_restore writes SQL, psql runs it in one transaction that ends only when all of it came."""
    connect = f"--dbname={_conninfo()}"
    restoring = [_tool("pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(dump)]
    running = [_tool("psql"), "--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", connect]
    with (
        tempfile.TemporaryFile() as problems,
        subprocess.Popen(running, stdin=subprocess.PIPE, stderr=problems, env=_environment()) as psql,
        subprocess.Popen(restoring, stdout=subprocess.PIPE, stderr=problems) as reading,
    ):
        assert psql.stdin is not None  # noqa: S101  (for the type checker)
        assert reading.stdout is not None  # noqa: S101
        with suppress(BrokenPipeError):  # psql stopped at an error, and says which
            psql.stdin.write(
                b"BEGIN; SET LOCAL lock_timeout = '30s'; DROP SCHEMA public CASCADE; CREATE SCHEMA public;\n"
            )
            shutil.copyfileobj(reading.stdout, psql.stdin)
            if reading.wait() == 0:
                psql.stdin.write(b"COMMIT;\n")
            psql.stdin.close()
        reading.stdout.close()
        if psql.wait() or reading.wait():
            problems.seek(0)
            raise BackupFailed(f"The database was left as it is: {_first_error(problems.read())}")


def _call(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), check=False)
    if done.returncode:
        raise BackupFailed(f"{Path(command[0]).name} failed: {_first_error(done.stderr)}")


def _environment() -> dict[str, str]:
    password = connection.connection.info.password
    return {**os.environ, **({"PGPASSWORD": password} if password else {})}


def _conninfo() -> str:
    """How this process is connected, without the password: command lines are public."""
    connection.ensure_connection()
    return connection.connection.info.dsn


def _tool(name: str) -> str:
    """The system's, where there is one as new as the server; else the embedded PostgreSQL's."""
    if found := shutil.which(name):
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        if int((re.search(r"\d+", version) or ["0"])[0]) >= connection.connection.info.server_version // 10_000:
            return found
    return str(programs() / name)


def _applied() -> list[str]:
    return sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations())


def _require_known(manifest: Manifest) -> None:
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    if newer := sorted(set(manifest.migrations) - known):
        raise BackupFailed(
            f"The backup is of version {manifest.version}, which is newer than this one ({settings.VERSION}): it has "
            f"{newer[0]}. Restore it with that version."
        )


def _first_error(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return next((line for line in lines if "ERROR" in line or "error" in line), lines[-1])


# ── Audio ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stored() -> Iterator[tuple[str, int]]:
    """(key, bytes) of all audio that the storage holds."""
    yield from ((key, size) for key, size in _objects() if not key.startswith(PROBES))


def _objects() -> Iterator[tuple[str, int]]:
    bucket = getattr(default_storage, "bucket", None)
    if bucket is not None:
        yield from ((item.key, item.size) for item in bucket.objects.all())
        return
    root = Path(default_storage.path(""))
    for path in root.rglob("*"):
        with suppress(FileNotFoundError):  # deleted meanwhile
            if path.is_file():
                yield path.relative_to(root).as_posix(), path.stat().st_size


def _copy_out(listed: dict[str, int], target: Path) -> tuple[int, set[str]]:
    """(how many were new, which have been deleted since they were listed)"""
    copied, gone = 0, set()
    for key, size in listed.items():
        path = _inside(target, key)
        if path.exists() and path.stat().st_size == size:
            continue
        try:
            _save(path, storage.read_range(key, 0, size - 1) if size else iter(()))
            copied += 1
        except errors.NotFound:
            gone.add(key)
    return copied, gone


def _save(path: Path, chunks: Iterator[bytes]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        partial.chmod(0o600)
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _copy_in(wanted: dict[str, int], source: Path) -> tuple[int, int]:
    """(how many the storage did not have, how many could not be found)"""
    present, copied, missing = dict(_stored()), 0, 0
    for key, size in wanted.items():
        if present.get(key) == size:
            continue
        path = _inside(source, key)
        if not path.is_file():
            missing += 1
            continue
        with path.open("rb") as file:
            storage.save(key, file)
        copied += 1
    return copied, missing


def _inside(folder: Path, key: str) -> Path:
    """A manifest is a file that somebody may have written by hand."""
    path = (folder / key).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BackupFailed(f"The key {key!r} leads out of the backup.")
    return path


# ── The folder ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _prune(folder: Path, keep: int) -> None:
    kept = backups(folder)[-keep:]
    for name in set(backups(folder)) - set(kept):
        shutil.rmtree(folder / name)
    wanted = {key for name in kept for key in read(folder, name).audio}
    audio = folder / AUDIO
    for path in list(audio.rglob("*")):
        if path.is_file() and path.relative_to(audio).as_posix() not in wanted:
            path.unlink()


def _write(path: Path, manifest: Manifest) -> None:
    path.write_text(json.dumps(asdict(manifest)))
    path.chmod(0o600)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
