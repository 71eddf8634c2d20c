"""Dockerfile, compose files and nginx's configuration, as far as tools can look at them without a container engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.checks import grace_problems, tool
from tests.platform_process import ROOT, environment, manage

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_dockerfile_is_clean() -> None:
    checked = subprocess.run([tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_dockerfile_names_what_is_there() -> None:
    """COPY's sources exist, and the context keeps out what is secret, local or of no use at run time."""
    text = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE)
    assert all((ROOT / source).exists() for sources in copied for source in sources.split())
    assert re.findall(r"^FROM \S+ AS (\w+)", text, flags=re.MULTILINE)[-2:] == ["cuda", "cpu"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".env", "data", "tests", "deploy"} <= set(ignored)
    # Of the one runtime stage that both targets stand on.
    assert "USER 10001:10001" in text


def test_compose_files_follow_the_specification() -> None:
    files = ["compose.yaml", "compose.gpu.yaml"]
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *files]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_compose_names_what_is_there() -> None:
    text = (ROOT / "compose.yaml").read_text() + (ROOT / "compose.gpu.yaml").read_text()
    variables = set(re.findall(r"\$\{([A-Z0-9_]+)", text))
    example = set(re.findall(r"^([A-Z0-9_]+)=", (ROOT / "deploy/compose.env.example").read_text(), flags=re.MULTILINE))
    assert variables == example
    for name, service in COMPOSE["services"].items():
        for kind in ("secrets", "networks"):
            assert set(service.get(kind, ())) <= set(COMPOSE[kind]), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or "$" in source or (ROOT / source).exists(), (name, source)
        assert set(service.get("depends_on", ())) <= set(COMPOSE["services"])
        assert "healthcheck" in service or name == "web", f"{name}: the image's is used by web alone"


def test_compose_settings_are_the_platforms(tmp_path: Path) -> None:
    """Every variable is one that the platform reads, and every secret one that the script makes."""
    settings: dict[str, Any] = COMPOSE["x-platform"]["environment"]
    known = set(re.findall(r"^([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert {name.removesuffix("_FILE") for name in settings} <= known
    named = {Path(str(value)).name for name, value in settings.items() if name.endswith("_FILE")}
    assert named == set(COMPOSE["x-platform"]["secrets"])
    made = [str(ROOT / "deploy/make-secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(made, check=True, capture_output=True)
    before = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(before) == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert all(len(value) >= 15 for value in before.values())
    assert json.loads(before["s3_identities"])["identities"][0]["credentials"][0]["secretKey"] in before.values()
    assert oct((tmp_path / "secrets").stat().st_mode)[-3:] == "700"
    subprocess.run(made, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == before, "they stay"


def test_compose_services_are_locked_down() -> None:
    for name in ("release", "web", "worker", "nginx", "redis"):
        service = COMPOSE["services"][name]
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    published = {name for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"nginx"}
    assert COMPOSE["networks"]["inside"]["internal"] is True


def test_compose_gives_processes_the_time_to_end() -> None:
    drain = int(COMPOSE["x-platform"]["environment"]["DRAIN_SECONDS"])
    for name in ("web", "worker"):
        grace = int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s"))
        assert not grace_problems(drain=drain, grace=grace), name


def test_a_secret_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    result = manage("check", env=environment(tmp_path / "data", SECRET_KEY_FILE=str(tmp_path / "nowhere")))
    assert result.returncode != 0
    (sentence,) = result.stderr.strip().splitlines()
    assert "SECRET_KEY_FILE" in sentence


def upload_pattern() -> re.Pattern[str]:
    text = (ROOT / "deploy/nginx/platform.conf").read_text()
    found = re.search(r"location ~ (\S+) \{[^}]*proxy_request_buffering off", text)
    assert found
    return re.compile(found[1])


def test_nginx_lets_every_recording_through_unbuffered() -> None:
    """Every route of the schema that hears files, and no other: small forms may be buffered."""
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator().get_schema(request=None, public=True)
    recordings, others = set(), set()
    for path, operations in schema["paths"].items():
        kinds = {kind for each in operations.values() for kind in each.get("requestBody", {}).get("content", {})}
        takes_files = bool(kinds & {"multipart/form-data", "application/octet-stream"})
        (recordings if takes_files and re.search(r"transcri|translat|listen", path) else others).add(path)
    assert len(recordings) >= 6
    assert {path for path in recordings if not upload_pattern().search(path)} == set(), "what is large is refused there"
    assert {path for path in others if upload_pattern().search(path)} == set()


def test_nginx_agrees_with_the_platforms_limits() -> None:
    from django.conf import settings

    text = (ROOT / "deploy/nginx/platform.conf").read_text()
    megabytes = [int(number) for number in re.findall(r"client_max_body_size (\d+)m;", text)]
    assert megabytes == [settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20, settings.MAX_BODY_BYTES // 2**20]


@pytest.mark.skipif(
    not (sys.platform == "linux" and shutil.which("debootstrap")), reason="debootstrap is not installed here"
)
def test_dockerfile_builds(tmp_path: Path) -> None:
    """Minutes, and the package registry: with DRY_RUN_DOCKERFILE=cpu (or cuda) in the environment."""
    import os

    target = os.environ.get("DRY_RUN_DOCKERFILE")
    if not target:
        pytest.skip("set DRY_RUN_DOCKERFILE=cpu to run the Dockerfile's instructions")
    root = tmp_path / "root"
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(
        [str(shutil.which("debootstrap")), "--variant=minbase", packages, "bookworm", str(root)],
        check=True,
        timeout=900,
    )
    script = [sys.executable, "scripts/dry_run_dockerfile.py", "--target", target, "--base", str(root)]
    subprocess.run([*script, "--work", str(tmp_path / "work")], cwd=ROOT, check=True, timeout=1800)
