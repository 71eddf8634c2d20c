"""Who installed, activated, reloaded and removed models."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from audit.models import AuditEntry
from models_registry import folders
from models_registry.models import ModelVersion
from tests.conftest import Tenant
from tests.models.support import models


def trail(*ids: Any) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(object_id__in=map(str, ids)).order_by("created_at"))


def test_commands_are_recorded_under_the_account(folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    models("import", folder("tiny", "2"), "--wait", "0")
    models("reload", "tiny", "--wait", "0")
    one, two = ModelVersion.objects.filter(name="tiny").order_by("version")
    models("remove", "tiny@2", "--force")
    entries = trail(one.id, two.id)
    assert [(entry.action, entry.object_label) for entry in entries] == [
        ("model.installed", "tiny@1"), ("model.activated", "tiny@1"), ("model.installed", "tiny@2"),
        ("model.activated", "tiny@2"), ("model.reloaded", "tiny@2"), ("model.removed", "tiny@2"),
    ]  # fmt: skip
    assert entries[0].details == {"came_from": "tiny-1"}
    assert entries[3].details == {"former": "1", "default": True}
    assert entries[5].details == {"was_active": True}
    account = f"{pwd.getpwuid(os.getuid()).pw_name} (command line)"
    assert {(entry.organization_id, entry.actor_type, entry.actor_label) for entry in entries} == {
        (None, "system", account)
    }


def test_reload_is_in_the_trail_of_who_asked(tenant: Tenant, other_tenant: Tenant, folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"))
    admin = tenant.user("admin")
    admin.post("/models/reload", json={"model": "tiny"})
    admin.post("//ml/stt/reload", json={"model": "tiny"})
    found = admin.get("/audit?action=model").json()["results"]
    assert [(entry["action"], entry["object"]["label"]) for entry in found] == [("model.reloaded", "tiny@1")] * 2
    assert {entry["actor"]["label"] for entry in found} == {tenant.member("admin").user.email}
    assert other_tenant.user("owner").get("/audit?action=model").json()["results"] == []


def test_refused_reload_is_recorded_with_its_reason(tenant: Tenant, folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    row = ModelVersion.objects.get(name="tiny")
    (folders.base() / row.path / "config.json").unlink()
    with pytest.raises(CommandError, match="refused"):
        models("reload", "tiny", "--wait", "0")
    (entry,) = [entry for entry in trail(row.id) if entry.action == "model.reload_refused"]
    assert "config.json" in entry.details["reason"]


def test_refused_import_leaves_no_entry(folder: Callable[..., Path]) -> None:
    made = folder("tiny", "1")
    (made / "config.json").unlink()
    before = AuditEntry.objects.filter(action="model.installed").count()
    with pytest.raises(CommandError):
        models("import", made, "--wait", "0")
    assert AuditEntry.objects.filter(action="model.installed").count() == before
