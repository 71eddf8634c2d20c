"""/api/v1/models/rollouts…: who may try, end and activate versions, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.models import AuditEntry
from models_registry import runtime
from models_registry.models import ModelVersion, Rollout
from tests.conftest import Tenant, error_of
from tests.models.support import models, version_of
from tests.models.test_reload import wait_for
from tests.models.test_rollouts import MANIFEST
from tests.models.test_workers import AN4

SHADOW = {"model": "tiny@2", "mode": "shadow", "share": 0.25, "reason": "it is new"}
CANARY = {"model": "tiny@2", "mode": "canary", "share": 0.1}


@pytest.fixture(autouse=True)
def versions(folder: Callable[..., Path], tmp_path: Path) -> None:
    models("import", folder("tiny", "1"), "--wait", "0")
    models("import", version_of(AN4, tmp_path / "an4", name="tiny", version="2"), "--no-activate")


@pytest.fixture
def operator(tenant: Tenant) -> Any:
    user = tenant.member("owner").user
    user.is_superuser = True
    user.save()
    return tenant.user("owner")


def test_an_admin_tries_a_version_on_the_organisations_requests(tenant: Tenant, other_tenant: Tenant) -> None:
    admin = tenant.user("admin")
    made = admin.post("/models/rollouts", json=SHADOW)
    assert made.status_code == 201, made.text
    body = made.json()
    assert {name: body[name] for name in ("model", "candidate", "active", "mode", "share", "scope", "status")} == {
        "model": "tiny", "candidate": "2", "active": "1", "mode": "shadow", "share": 0.25, "scope": "organization",
        "status": "running",
    }  # fmt: skip
    assert body["started_by"] == tenant.member("admin").user.email
    assert body["comparison"]["candidate"]["requests"] == 0
    wait_for(lambda: len(runtime.current.trials.running()) == 1)
    status = tenant.user("viewer").get("/models/status").json()
    assert [rollout["id"] for rollout in status["rollouts"]] == [body["id"]]
    assert other_tenant.user("viewer").get("/models/status").json()["rollouts"] == []
    assert other_tenant.user("admin").get("/models/rollouts").json()["results"] == []
    (listed,) = admin.get("/models/rollouts?status=running").json()["results"]
    assert listed["reason"] == "it is new"
    error_of(other_tenant.user("admin").post(f"/models/rollouts/{body['id']}/rollback", json={}), 404, "not_found")
    error_of(admin.post("/models/rollouts", json=SHADOW), 409, "rollout_running")
    ended = admin.post(f"/models/rollouts/{body['id']}/rollback", json={"reason": "enough"}).json()
    assert (ended["status"], ended["ended_reason"]) == ("rolled_back", "enough")
    error_of(admin.post(f"/models/rollouts/{body['id']}/finish", json={"activate": False}), 409, "rollout_ended")
    trail = AuditEntry.objects.filter(organization=tenant.organization, action__startswith="rollout.")
    assert {entry.action for entry in trail} == {"rollout.started", "rollout.rolled_back"}


def test_a_canary_needs_an_evaluation_that_is_no_worse(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    error_of(admin.post("/models/rollouts", json=CANARY), 409, "evaluation_missing")
    models("manifest", MANIFEST)
    error_of(admin.post("/models/rollouts", json=CANARY), 409, "evaluation_missing")
    models("evaluate", "--compare", "tiny@1", "tiny@2", "--manifest", MANIFEST)
    worse = error_of(admin.post("/models/rollouts", json=CANARY), 409, "evaluation_worse")
    assert "manifest.jsonl" in worse["message"]
    unsaid = error_of(admin.post("/models/rollouts", json={**CANARY, "force": True}), 400)
    assert unsaid["param"] == "reason"
    made = admin.post("/models/rollouts", json={**CANARY, "force": True, "reason": "to see"}).json()
    assert (made["forced"], made["reason"], made["status"]) == (True, "to see", "running")
    (both,) = made["comparison"]["evaluations"]
    assert both["active_wer"] < both["candidate_wer"]


def test_what_concerns_everybody_is_for_operators(tenant: Tenant, other_tenant: Tenant, operator: Any) -> None:
    admin = tenant.user("admin")
    everybody = {**SHADOW, "scope": "platform"}
    error_of(admin.post("/models/rollouts", json=everybody), 403, "permission_denied")
    rollout = operator.post("/models/rollouts", json=everybody).json()
    assert rollout["scope"] == "platform"
    path = f"/models/rollouts/{rollout['id']}"
    assert other_tenant.user("admin").get(path).status_code == 200
    for action, body in (("rollback", {}), ("finish", {"activate": False})):
        error_of(admin.post(f"{path}/{action}", json=body), 403, "permission_denied")
    error_of(operator.post(f"{path}/finish", json={"activate": True}), 409, "evaluation_missing")
    done = operator.post(f"{path}/finish", json={"activate": True, "force": True, "reason": "it is ours"}).json()
    assert done["status"] == "promoted"
    assert ModelVersion.objects.get(name="tiny", is_active=True).version == "2"


def test_an_admin_may_not_activate(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    rollout = admin.post("/models/rollouts", json=SHADOW).json()
    body = {"activate": True, "force": True, "reason": "I want it"}
    error_of(admin.post(f"/models/rollouts/{rollout['id']}/finish", json=body), 403, "permission_denied")
    ended = admin.post(f"/models/rollouts/{rollout['id']}/finish", json={"activate": False}).json()
    assert ended["status"] == "ended"
    assert ModelVersion.objects.get(name="tiny", is_active=True).version == "1"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"share": 0}, 400, None), ({"share": 1.5}, 400, None), ({"mode": "silent"}, 400, None),
        ({"model": "nonesuch@1"}, 404, "not_found"), ({"model": "tiny@1"}, 409, "model_active"),
        ({"max_slowdown": 0.5}, 400, None), ({"colour": "red"}, 400, "parameter_unknown"),
        ({"model": "pocketsphinx-en-us"}, 409, "model_active"),
    ],
)  # fmt: skip
def test_refuses_what_makes_no_sense(tenant: Tenant, changes: dict, status: int, code: str | None) -> None:
    error_of(tenant.user("admin").post("/models/rollouts", json={**SHADOW, **changes}), status, code)
    assert not Rollout.objects.filter(name="tiny").exists()
