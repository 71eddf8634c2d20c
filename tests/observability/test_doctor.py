"""`manage.py doctor` on a sound machine, and on ones that are broken for real."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from ml import artifacts, devices
from ml.artifacts import ModelManifest
from observability.doctor import engines, examination, machine, services
from observability.doctor.findings import Check, Finding
from tests.conftest import ROOT
from tests.faults.disks import filled, small_disk
from tests.platform_process import environment

PASSWORD = "a-password-that-nobody-may-see"


def found(check: Check, level: str = "error") -> Finding:
    """The one finding of this level."""
    all_ = list(check())
    fitting = [finding for finding in all_ if finding.level == level]
    assert len(fitting) == 1, all_
    assert fitting[0].advice
    return fitting[0]


# ── A sound machine ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sound_machine(database: None) -> None:
    """Whose packages, load and mail are those of whoever tests."""
    told = StringIO()
    call_command("doctor", "--without", "python,cpu,port", stdout=told, force_color=True)
    lines = told.getvalue().splitlines()
    for check in ("memory", "disk", "limits", "database", "storage", "models", "engines"):
        assert [line for line in lines if f"\x1b[32;1m✓\x1b[0m {check}" in line], told.getvalue()
    assert "✗" not in told.getvalue()
    assert "errors: 0" in lines[-1]
    assert "Hears: '" in told.getvalue()
    assert "All migrations have been applied." in told.getvalue()


def test_every_check_is_told_of_in_time(database: None) -> None:
    import threading

    def hangs() -> Iterator[Finding]:
        threading.Event().wait(30)
        yield from ()

    def breaks() -> Iterator[Finding]:
        raise RuntimeError("password=hunter2hunter2")

    first, second = examination.examine(checks={"hangs": hangs, "breaks": breaks}, seconds=0.3)
    assert (first.check, first.level) == ("hangs", "warning")
    assert "too long" in first.message
    assert (second.check, second.level) == ("breaks", "error")
    assert "hunter2" not in second.message


# ── Much wrong at once, in a process as operators start it ──────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the command says, by check, and under "" how it ended."""
    folder = tmp_path_factory.mktemp("broken")
    corrupt_model(folder / "models")
    (folder / "data").mkdir()
    (folder / "data" / "media").write_text("a file where a folder should be")
    with closed_port() as closed, socket.create_server(("127.0.0.1", 0)) as stranger:
        variables = {
            "ENVIRONMENT": "production", "SECRET_KEY": "short", "ALLOWED_HOSTS": "*", "DEBUG": "true", "HTTPS": "false",
            "DATABASE_URL": f"postgresql://speech:{PASSWORD}@127.0.0.1:{closed}/speech",
            "REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{closed}/0",
            "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(closed),
            "MODEL_BASE_PATH": str(folder / "models"), "MODEL_MEMORY_MB": "99999999", "WORKER_CONCURRENCY": "64",
            "PORT": str(stranger.getsockname()[1]),
        }  # fmt: skip
        stranger.settimeout(0.1)
        result = subprocess.run(
            [sys.executable, "manage.py", "doctor", "--json", "--without", "engines,python"],
            cwd=ROOT, env=environment(folder / "data", **variables), capture_output=True, text=True, timeout=100,
            check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
        )  # fmt: skip
    assert PASSWORD not in result.stdout + result.stderr
    told = json.loads(result.stdout)
    by_check: dict[str, list[dict[str, Any]]] = {"": [{"ok": told["ok"], "exit": result.returncode}]}
    for finding in told["findings"]:
        by_check.setdefault(finding["check"], []).append(finding)
    return by_check


@contextmanager
def closed_port() -> Iterator[int]:
    """Where nobody listens, and nobody else will: connecting is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def corrupt_model(base: Path) -> Path:
    """A folder in its place, one of whose bytes is another than its manifest says; its size is right."""
    manifest = ModelManifest("stt", "whisper", "tiny", "1", "whisper", "ctranslate2", licence="none")
    folder = artifacts.folder_of(base, manifest)
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights" * 1000)
    artifacts.write(folder, replace(manifest, files=artifacts.describe_files(folder)))
    (folder / "model.bin").write_bytes(b"weights" * 999 + b"weightz")
    return folder


def test_errors_end_with_a_code(broken: dict[str, list[dict[str, Any]]]) -> None:
    assert broken[""] == [{"ok": False, "exit": 1}]


@pytest.mark.parametrize(
    ("check", "message", "advice"),
    [
        ("settings", "DEBUG is on", "DEBUG=false"),
        ("settings", "SECRET_KEY is short", "50 or more"),
        ("database", "cannot be reached", "Start PostgreSQL"),
        ("redis", "Redis does not serve", "REDIS_URL"),
        ("storage", "Audio cannot be stored", "chown"),
        ("email", "does not serve", "EMAIL_PORT"),
        ("models", "the file 'model.bin' is corrupt", "models verify"),
        ("memory", "MODEL_MEMORY_MB", "60 %"),
        ("limits", "may open 256 files", "LimitNOFILE"),
        ("port", "is not the platform", "PORT"),
    ],
)
def test_what_is_wrong_is_said(broken: dict[str, list[dict[str, Any]]], check: str, message: str, advice: str) -> None:
    errors = [finding for finding in broken[check] if finding["level"] == "error"]
    assert [e for e in errors if message in e["message"] and advice in e["advice"]], broken[check]


def test_what_depends_on_the_database_is_left(broken: dict[str, list[dict[str, Any]]]) -> None:
    assert [finding["level"] for finding in broken["workers"]] == ["note"]


def test_wrong_settings_are_told_in_a_sentence(tmp_path: Path) -> None:
    env = environment(tmp_path, ENVIRONMENT="production")
    command = [sys.executable, "manage.py", "doctor"]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "SECRET_KEY must be set" in result.stderr
    assert "Traceback" not in result.stderr


# ── One thing wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def asked_anew() -> Iterator[None]:
    services._unreachable.cache_clear()
    yield
    services._unreachable.cache_clear()


def test_a_database_that_is_not_there(database: None, asked_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", "nowhere")
    finding = found(services.database)
    assert 'database "nowhere" does not exist' in finding.message
    assert "createdb" in finding.advice


def test_migrations_that_were_not_applied(database: None, asked_anew: None) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'audit'")
        finding = found(services.database)
        transaction.set_rollback(True)
    assert "audit.0001" in finding.message
    assert "manage.py release" in finding.advice


def test_jobs_that_nobody_takes(database: None, asked_anew: None, settings: Any) -> None:
    from models_registry.models import WorkerState

    settings.EMBEDDED_WORKER = False
    with transaction.atomic():
        WorkerState.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at) "
                "VALUES ('stt', 'x', 'todo', now() - interval '10 minutes')"
            )
        late = found(services.workers)
        WorkerState.objects.create(
            id="a", kind="worker", host="a", pid=1, started_at=timezone.now(), seen_at=timezone.now()
        )
        slow = found(services.workers, "warning")
        transaction.set_rollback(True)
    assert "10 minutes (stt), and no worker runs" in late.message
    assert "running: 1 worker" in slow.message


def test_the_default_password(database: None, asked_anew: None) -> None:
    with transaction.atomic():
        call_command("seed", stdout=StringIO(), stderr=StringIO())
        finding = found(services.accounts, "warning")
        transaction.set_rollback(True)
    assert "changepassword" in finding.advice


def stored_in(folder: Path, settings: Any) -> None:
    options = {"location": folder / "media", "allow_overwrite": True}
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "default": backend}
    settings.MEDIA_ROOT = folder / "media"
    settings.DATA_DIR = folder


def test_a_full_disk(tmp_path: Path, settings: Any) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        stored_in(disk, settings)
        settings.UPLOAD_RESERVE_BYTES = 2 << 20
        assert not [finding for finding in machine.disks() if finding.level == "error"]
        assert [finding.level for finding in services.audio_store()] == ["ok"]
        with filled(disk):
            full, unwritable = found(machine.disks), found(services.audio_store)
    assert "The disk is full: 0 MB free for data" in full.message
    assert "Make room" in full.advice
    assert "No space left on device" in unwritable.message
    assert "Make room" in unwritable.advice


def test_a_read_only_disk(tmp_path: Path, settings: Any) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        stored_in(disk, settings)
        subprocess.run(["/bin/mount", "-o", "remount,ro", str(disk)], check=True)
        finding = found(services.audio_store)
    assert "Read-only file system" in finding.message
    assert "mount it writable" in finding.advice


def test_models_that_cannot_be_read_or_served(tmp_path: Path, settings: Any) -> None:
    settings.MODEL_BASE_PATH = tmp_path
    assert [finding.level for finding in engines.models()] == ["ok"]
    folder = corrupt_model(tmp_path)
    assert "'model.bin' is corrupt" in found(engines.models).message
    (folder / "model.bin").write_bytes(b"weights" * 1000)
    assert [finding.level for finding in engines.models()] == ["ok"]
    manifest = artifacts.read(folder).manifest
    artifacts.write(folder, replace(manifest, format="unheard-of"))
    assert "no engine serves" in found(engines.models).message
    (folder / "model.json").write_text("{")
    assert "cannot be read" in found(engines.models).message


def test_a_port_that_is_the_platforms_own(server: str, settings: Any) -> None:
    settings.HOST, settings.PORT = "127.0.0.1", int(server.rpartition(":")[2])
    assert [finding.message for finding in services.port()] == [f"The platform answers at 127.0.0.1:{settings.PORT}."]


def test_no_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("")
    (tmp_path / "certs").mkdir()
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setitem(os.environ, "SSL_CERT_DIR", str(tmp_path / "certs"))
    assert "ca-certificates" in found(machine.certificates).advice


def test_packages_of_other_versions(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("Django==1.0  # old\nno-such-package[extra]==1.0\n# a comment\n")
    missing, other = machine._unlike_pinned(tmp_path / "requirements.txt")
    assert missing == ["no-such-package"]
    assert other[0].startswith("Django 5")


@pytest.mark.gpu
@pytest.mark.skipif(not devices.cuda_devices(), reason="needs a CUDA device")
def test_gpus() -> None:
    gpu = devices.gpus()[0]
    assert 0 < gpu.used_bytes < gpu.memory_bytes
    assert 0 <= gpu.utilization <= 1
    assert devices.driver_version()
    assert [finding for finding in machine.gpus() if finding.level == "ok"]
