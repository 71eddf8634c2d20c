"""Backing up while the platform serves, and restoring into another database and storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from common import backups, storage
from tests.conftest import Tenant
from tests.platform_process import environment, manage


@pytest.fixture
def empty_database(database: None) -> Iterator[str]:
    """The URL of another one on the same PostgreSQL."""
    name = "restored_backup"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
    info = connection.connection.info
    yield f"postgresql://{info.user}@/{name}?host={info.host}&port={info.port}"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def spoken(tenant: Tenant, text: str) -> str:
    """The key of its audio."""
    from tts.models import TtsJob

    answer = tenant.key("tts").post("/tts/synthesize", json={"text": text})
    assert answer.status_code == 200, answer.text
    return TtsJob.objects.get(id=answer.json()["job_id"]).audio_key


def test_life_of_a_backup(tenant: Tenant, tmp_path: Path, empty_database: str) -> None:
    folder, elsewhere = tmp_path / "backups", tmp_path / "elsewhere"
    first = spoken(tenant, "The first backup has me.")
    call_command("backup", folder)
    (name,) = backups.backups(folder)
    assert (folder / "audio" / first).read_bytes() == b"".join(storage.read_range(first, 0, storage.size(first) - 1))
    assert oct((folder / name).stat().st_mode)[-3:] == "700"

    # A second one takes only what is new, and what was deleted goes with the last backup that had it.
    second = spoken(tenant, "Only the second one has me.")
    storage.delete(first)
    made = backups.create(folder, keep=1)
    assert made.copied == 1
    assert (folder / "audio" / second).exists()
    assert not (folder / "audio" / first).exists()

    env = environment(elsewhere, DATABASE_URL=empty_database, SECRET_KEY="x" * 50)
    done = manage("restore", str(folder), env=env, timeout_seconds=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (elsewhere / "media" / second).read_bytes() == (folder / "audio" / second).read_bytes()
    with psycopg.connect(empty_database) as restored:
        texts = restored.execute("SELECT text FROM tts_ttsjob WHERE organization_id = %s", [tenant.organization.id])
        assert {text for (text,) in texts} == {"The first backup has me.", "Only the second one has me."}
        kinds = ("pg_trigger", "pg_proc", "pg_class")
        same = " UNION ALL ".join(f"SELECT count(*) FROM {kind}" for kind in kinds)  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(same)
            assert restored.execute(same).fetchall() == cursor.fetchall()

    # What breaks off in the middle leaves the database as it was.
    dump, manifest = folder / made.name / backups.DUMP, folder / made.name / backups.MANIFEST
    dump.write_bytes(dump.read_bytes()[:-2000])
    facts = {**json.loads(manifest.read_text()), "dump_sha256": hashlib.sha256(dump.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(facts))
    failed = manage("restore", str(folder), "--replace", env=env)
    assert failed.returncode != 0
    assert "left as it is" in failed.stderr
    with psycopg.connect(empty_database) as restored:
        assert restored.execute("SELECT count(*) FROM tts_ttsjob").fetchone() != (0,)


def test_a_damaged_or_newer_backup_changes_nothing(tenant: Tenant, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    name = backups.create(folder, keep=1).name
    manifest = folder / name / backups.MANIFEST
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**facts, "migrations": [*facts["migrations"], "tts.9999_from_the_future"]}))
    with pytest.raises(CommandError, match="newer than this one"):
        call_command("restore", folder, "--replace")
    manifest.write_text(json.dumps(facts))
    with pytest.raises(CommandError, match="--replace"):
        call_command("restore", folder)
    with (folder / name / backups.DUMP).open("r+b") as dump:
        dump.seek(100)
        dump.write(b"\0\0\0")
    with pytest.raises(CommandError, match="checksum"):
        call_command("restore", folder, "--replace")
    with pytest.raises(CommandError, match="There is no backup"):
        call_command("restore", folder, "--at", "20000101T000000Z", "--replace")
    tenant.organization.refresh_from_db()
    (folder / name / backups.MANIFEST).unlink()
    assert backups.backups(folder) == [], "one that was broken off is none"
