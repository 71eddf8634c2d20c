"""Archives and folders: manage.py models import and export."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from ml import artifacts
from ml.artifacts import MANIFEST
from models_registry import folders
from models_registry.models import ModelVersion
from tests.models.support import models


def write_tar(file: Path, folder: Path, *members: tuple[tarfile.TarInfo, bytes], manifest: dict | None = None) -> None:
    """An archive of `folder`, whose last members are these."""
    with tarfile.open(file, "w") as archive:
        raw = json.dumps(manifest).encode() if manifest else (folder / MANIFEST).read_bytes()
        add(archive, MANIFEST, raw)
        for name in artifacts.read(folder).manifest.files:
            if name not in {member.name for member, _ in members}:
                archive.add(folder / name, name, recursive=False)
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.fixture
def manifest(folder: Callable[..., Path]) -> tuple[Path, dict]:
    made = folder("tiny", "1")
    return made, json.loads((made / MANIFEST).read_text())


def refuse(file: Path, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        models("import", file, "--wait", "0")
    assert not ModelVersion.objects.filter(name="tiny").exists()
    assert not list(folders.base().glob("stt/*/*/*"))
    assert not list(folders.base().glob(".staging/*"))


def test_carries_a_model_to_another_machine(folder: Callable[..., Path], tmp_path: Path) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    models("export", "tiny", tmp_path / "tiny.tar")
    first = (tmp_path / "tiny.tar").read_bytes()
    models("export", "tiny", tmp_path / "tiny.tar")
    assert (tmp_path / "tiny.tar").read_bytes() == first, "the same model makes the same archive"
    models("remove", "tiny", "--force")
    assert not ModelVersion.objects.filter(name="tiny").exists()
    models("import", tmp_path / "tiny.tar", "--wait", "0")
    row = ModelVersion.objects.get(name="tiny")
    assert (row.version, row.is_active, row.is_default) == ("1", True, True)
    artifacts.verify(folders.folder_of(row))


@pytest.mark.parametrize("name", ["../evil", "/evil", "sub/../../evil", "model.json/../evil"])
def test_refuses_names_that_leave_the_folder(manifest: tuple[Path, dict], tmp_path: Path, name: str) -> None:
    made, _ = manifest
    write_tar(tmp_path / "evil.tar", made, (member(name), b"evil"))
    refuse(tmp_path / "evil.tar", "does not list")
    assert not (folders.base() / "evil").exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "model.json"])
def test_refuses_manifests_that_list_such_names(manifest: tuple[Path, dict], tmp_path: Path, name: str) -> None:
    made, raw = manifest
    raw["files"][name] = {"sha256": "0" * 64, "bytes": 4}
    write_tar(tmp_path / "evil.tar", made, (member(name), b"evil"), manifest=raw)
    refuse(tmp_path / "evil.tar", "is not allowed")


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "tokenizer.json"), (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""), (tarfile.DIRTYPE, ""),
    ],
)  # fmt: skip
def test_refuses_links_and_devices(manifest: tuple[Path, dict], tmp_path: Path, kind: bytes, link: str) -> None:
    made, _ = manifest
    write_tar(tmp_path / "evil.tar", made, (member("config.json", kind, link), b""))
    refuse(tmp_path / "evil.tar", "is not a regular file")


def test_refuses_another_hash(manifest: tuple[Path, dict], tmp_path: Path) -> None:
    made, raw = manifest
    content = b" " * raw["files"]["config.json"]["bytes"]
    write_tar(tmp_path / "evil.tar", made, (member("config.json"), content))
    refuse(tmp_path / "evil.tar", "'config.json' is corrupt")


def test_refuses_another_size(manifest: tuple[Path, dict], tmp_path: Path) -> None:
    made, _ = manifest
    write_tar(tmp_path / "evil.tar", made, (member("config.json"), b"{}" * 4000))
    refuse(tmp_path / "evil.tar", "in the archive, not")


def test_refuses_code(manifest: tuple[Path, dict], tmp_path: Path) -> None:
    made, raw = manifest
    raw["files"]["model.py"] = {"sha256": "0" * 64, "bytes": 4}
    write_tar(tmp_path / "evil.tar", made, (member("model.py"), b"evil"), manifest=raw)
    refuse(tmp_path / "evil.tar", "holds code")


def test_refuses_more_than_the_limit(manifest: tuple[Path, dict], tmp_path: Path) -> None:
    made, raw = manifest
    raw["files"]["model.bin"]["bytes"] = 1 << 50
    write_tar(tmp_path / "evil.tar", made, manifest=raw)
    refuse(tmp_path / "evil.tar", "the limits are")


def test_refuses_a_torn_archive(manifest: tuple[Path, dict], tmp_path: Path) -> None:
    made, _ = manifest
    write_tar(tmp_path / "torn.tar", made)
    whole = (tmp_path / "torn.tar").read_bytes()
    (tmp_path / "torn.tar").write_bytes(whole[: len(whole) // 2])
    refuse(tmp_path / "torn.tar", "damaged|corrupt|lacks")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no tar at all" * 100])
def test_refuses_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "no.tar").write_bytes(content)
    with pytest.raises(CommandError, match=r"not a model archive|begins with"):
        models("import", tmp_path / "no.tar")


def test_refuses_a_folder_with_links(manifest: tuple[Path, dict], tmp_path: Path) -> None:
    made, _ = manifest
    (made / "config.json").rename(tmp_path / "config.json")
    (made / "config.json").symlink_to(tmp_path / "config.json")
    refuse(made, "missing, or it is a link")


def test_refuses_the_same_version_with_other_files(folder: Callable[..., Path], tmp_path: Path) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    other = folder("tiny-other", "1")
    manifest = artifacts.read(other).manifest
    (other / "config.json").unlink()
    (other / "config.json").write_text("{}")
    (other / MANIFEST).unlink()
    from dataclasses import replace

    artifacts.write(other, replace(manifest, name="tiny", files=artifacts.describe_files(other)))
    with pytest.raises(CommandError, match="installed already, with other files"):
        models("import", other, "--wait", "0")
