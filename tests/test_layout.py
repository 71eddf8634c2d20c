"""What must hold of the code as it lies there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.platform_process import environment, manage

ROOT = Path(__file__).resolve().parent.parent


def _run(script: str, env: dict[str, str]) -> str:
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_platform_is_the_standard_librarys() -> None:
    """`platform/` is a source root; as a package it would shadow Python's own module, and break uuid, pip and torch."""
    import platform

    assert platform.python_version()
    assert Path(platform.__file__).parent == Path(ast.__file__).parent
    assert not (ROOT / "platform" / "__init__.py").exists()
    script = "import sys; sys.path[:0] = ['.', 'platform']; import platform, uuid; print(platform.python_version())"
    assert _run(script, {}).count(".") == 2


# ── Imports ─────────────────────────────────────────────────────────────────────────────────────────────────────────

OURS = {
    "accounts",
    "analytics",
    "audit",
    "common",
    "config",
    "dashboard",
    "deepgram_api",
    "jobs",
    "models_registry",
    "observability",
    "openai_api",
    "retention",
    "sockets",
    "stt",
    "tts",
    "webhooks",
    "wyoming_api",
}
WEB = {
    "channels",
    "django",
    "drf_spectacular",
    "opentelemetry",
    "procrastinate",
    "prometheus_client",
    "rest_framework",
    "sentry_sdk",
    "uvicorn",
}


def _imports(path: Path) -> Iterator[str]:
    """Top-level names, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ["ml", "training"])
def test_runtime_and_training_know_no_web(folder: str) -> None:
    sources = _sources(folder)
    assert sources
    offenders = {
        str(path.relative_to(ROOT)): found for path in sources if (found := set(_imports(path)) & (OURS | WEB))
    }
    assert not offenders


def test_runtime_does_not_know_training() -> None:
    assert not [path for path in _sources("ml") if "training" in _imports(path)]


def test_product_does_not_know_its_tests() -> None:
    folders = ("platform", "accounts", "analytics", "models_registry", "stt", "tts", "ml", "training")
    assert not [path for path in _sources(*folders) if {"tests", "pytest"} & set(_imports(path))]


def test_starting_imports_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path[:0] = ['.', 'platform']; import django; django.setup(); import config.asgi, config.urls;"
        "from ml import stt, tts; tts.voices(); stt.models();"
        "heavy = {'torch', 'torchaudio', 'transformers', 'pandas', 'TTS', 'whisper', 'opentelemetry', 'sentry_sdk'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    env = environment(tmp_path / "data", DJANGO_SETTINGS_MODULE="config.settings")
    assert _run(script, env) == "[]"


# ── What tests need ────────────────────────────────────────────────────────────────────────────────────────────────


def _required(path: Path) -> Iterator[Requirement]:
    """Of a file of requirements, and of those that it includes."""
    for line in path.read_text().splitlines():
        line = line.partition("#")[0].strip()  # noqa: PLW2901
        if line.startswith("-r "):
            yield from _required(path.parent / line.removeprefix("-r ").strip())
        elif line and not line.startswith("-"):
            yield Requirement(line)


def test_all_that_tests_import_is_installed() -> None:
    """A package that is missing would have its tests skipped, and nobody would miss them."""
    wanted = [each for each in _required(ROOT / "requirements-dev.txt") if not each.marker or each.marker.evaluate()]
    assert {"torch", "pytest", "django"} <= {each.name.lower() for each in wanted}
    installed = {str(found.name).lower().replace("_", "-") for found in metadata.distributions()}
    assert {name for each in wanted if (name := each.name.lower().replace("_", "-")) not in installed} == set()


# ── Settings and migrations ─────────────────────────────────────────────────────────────────────────────────────────


def _read_variables() -> set[str]:
    """The names that settings read: the first argument of every call of a reader in config.env."""
    found = set()
    for path in _sources("platform/config"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            reader, first = node.func, node.args[0]
            if isinstance(reader.value, ast.Name) and reader.value.id == "env" and isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


def test_every_setting_has_its_line() -> None:
    variables = _read_variables()
    assert {"SECRET_KEY", "DATA_DIR", "S3_BUCKET", "PORT"} <= variables
    lines = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert variables - lines == set(), "missing in .env.example"
    assert lines - variables == set(), "in .env.example, but nobody reads it"


def test_only_settings_read_the_environment() -> None:
    """One place, typed; see config.env."""
    readers = re.compile(r"os\.environ\.get|os\.getenv|os\.environ\[")
    folders = ("platform", "accounts", "analytics", "models_registry", "stt", "tts")
    allowed = {ROOT / "platform" / "config" / "env.py"}
    assert not [path for path in _sources(*folders) if path not in allowed and readers.search(path.read_text())]


def test_models_have_their_migrations(database: None) -> None:
    result = manage("makemigrations", "--check", "--dry-run", env=_database_environment())
    assert result.returncode == 0, result.stdout + result.stderr


def _database_environment() -> dict[str, str]:
    import os

    from tests.environment import DATA_DIR

    return environment(DATA_DIR, DATABASE_URL=os.environ.get("DATABASE_URL", ""))
