"""Promoting, trying and rolling back versions: `manage.py models promote|rollback|rollouts`, and what requests get."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from analytics.models import UsageRecord
from audit.models import AuditEntry
from models_registry import folders, rollouts, runtime, watching
from models_registry.comparing import compare
from models_registry.models import Arm, ModelVersion, Rollout, RolloutMode, RolloutSample, RolloutStatus
from models_registry.rollouts import Override, Terms
from models_registry.trials import Trial
from stt.models import ShadowTranscription, Transcription
from tests.conftest import OWNED_AUDIO, Tenant, make_tenant
from tests.models.support import models, version_of
from tests.models.test_reload import TEXT, requests_under_way, transcribe, wait_for
from tests.models.test_workers import AN4

MANIFEST = OWNED_AUDIO / "manifest.jsonl"


@pytest.fixture
def versions(folder: Callable[..., Path], tmp_path: Path) -> None:
    """tiny@1 serves and knows the clips by heart; tiny@2 is another model, which knows none of them."""
    models("import", folder("tiny", "1"), "--wait", "0")
    models("import", version_of(AN4, tmp_path / "an4", name="tiny", version="2"), "--no-activate")


def version(number: str) -> ModelVersion:
    return ModelVersion.objects.get(name="tiny", version=number)


def served() -> str:
    return ModelVersion.objects.get(name="tiny", is_active=True).version


def only_rollout() -> Rollout:
    return Rollout.objects.select_related("candidate").get(name="tiny")


def begin(mode: str, tenant: Tenant | None = None, **terms: float) -> Rollout:
    """On all of the tenant's requests, once this process has the candidate in memory."""
    rollout = rollouts.start(
        actor=None,
        candidate=version("2"),
        terms=Terms(mode=mode, share=1.0, organization=tenant.organization if tenant else None, **terms),
        override=Override("a test"),
    )
    wait_for(lambda: [trial.rollout_id for trial in runtime.current.trials.running()] == [rollout.id])
    return rollout


def text_for(tenant: Tenant) -> str:
    answer = transcribe(tenant.key("stt"), model="tiny")
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_used"] == "tiny"
    return answer.json()["text"].lower().strip(" .")


# ── The gate ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_worse_version_is_refused_and_a_reason_overrides(versions: None, capsys) -> None:
    with pytest.raises(CommandError, match="no evaluation manifest"):
        models("promote", "tiny@2", "--wait", "0")
    models("manifest", MANIFEST)
    with pytest.raises(CommandError, match="worse than the version that serves"):
        models("promote", "tiny@2", "--wait", "0")
    assert served() == "1"
    assert version("1").results[-1]["wer"] < version("2").results[-1]["wer"]
    with pytest.raises(CommandError, match="--force needs a --reason"):
        models("promote", "tiny@2", "--force", "--wait", "0")
    models("promote", "tiny@2", "--force", "--reason", "the other one may not be used", "--wait", "0")
    assert served() == "2"
    entry = AuditEntry.objects.get(action="model.promoted", object_id=str(version("2").id))
    assert (entry.details["forced"], entry.details["reason"]) == (True, "the other one may not be used")


def test_a_version_that_is_no_worse_is_promoted_and_rolled_back(versions: None, folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "3"), "--no-activate")
    models("promote", "tiny@3", "--manifest", MANIFEST, "--wait", "0")
    assert served() == "3"
    models("promote", "tiny@2", "--force", "--reason", "a test", "--wait", "0")
    models("rollback", "tiny", "--reason", "it was nothing", "--wait", "0")
    assert served() == "3"
    models("rollback", "tiny", "--wait", "0")
    assert served() == "1", "one step at a time, and not to what was just left"
    with pytest.raises(CommandError, match="took over from no other version"):
        models("rollback", "tiny", "--wait", "0")
    assert AuditEntry.objects.filter(action="model.rolled_back", object_id=str(version("3").id)).count() == 1


def test_versions_are_measured_beside_the_one_that_serves(tenant: Tenant, versions: None) -> None:
    """In a process that serves another version of the name, each is measured itself."""
    assert text_for(tenant) == TEXT
    models("evaluate", "--compare", "tiny@1", "tiny@2", "--manifest", MANIFEST, "--limit", 1)
    one, two = version("1").results[-1], version("2").results[-1]
    assert (one["wer"], one["failed"], two["failed"]) == (0.0, 0, 0)
    assert two["wer"] > 0.5
    assert text_for(tenant) == TEXT


def test_what_cannot_be_compared_is_refused(versions: None) -> None:
    with pytest.raises(CommandError, match="serves already"):
        models("promote", "tiny@1")
    with pytest.raises(CommandError, match="There is no model 'espeak-ng'"):
        models("promote", "espeak-ng")
    with pytest.raises(CommandError, match=r"no file|No such file"):
        models("manifest", "/nowhere.jsonl")
    with pytest.raises(CommandError, match="--org is for --canary"):
        models("promote", "tiny@2", "--org", "acme", "--manifest", MANIFEST)


# ── Canaries ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_share_is_decided_by_the_jobs_id() -> None:
    one, other = (Trial(uuid.uuid4(), "stt", "tiny", "2", RolloutMode.CANARY, 0.3, None) for _ in range(2))
    jobs = [uuid.uuid4() for _ in range(2000)]
    taken = [one.takes(job) for job in jobs]
    assert taken == [one.takes(job) for job in jobs]
    assert 0.25 < sum(taken) / len(taken) < 0.35
    assert taken != [other.takes(job) for job in jobs], "each rollout meets other requests"


def test_a_canary_answers_its_organisation_alone(tenant: Tenant, other_tenant: Tenant, versions: None) -> None:
    assert text_for(tenant) == TEXT
    rollout = begin(RolloutMode.CANARY, tenant)
    heard = text_for(tenant)
    assert heard != TEXT
    assert text_for(other_tenant) == TEXT
    sample = RolloutSample.objects.get(rollout=rollout)
    assert (sample.arm, sample.error_code, sample.organization_id) == ("candidate", "", tenant.organization.id)
    assert sample.recognise_seconds > 0
    named = transcribe(tenant.key("stt"), model="tiny@2")
    assert named.status_code == 400, "nobody can ask for what is on trial"
    models("rollback", "tiny", "--reason", "enough", "--wait", "0")
    wait_for(lambda: not runtime.current.trials.running())
    assert text_for(tenant) == TEXT
    ended = only_rollout()
    assert (ended.status, ended.ended_reason, served()) == (RolloutStatus.ROLLED_BACK, "enough", "1")


def test_a_failing_canary_fails_no_request_and_is_rolled_back(
    tenant: Tenant, folder: Callable[..., Path], tmp_path: Path
) -> None:
    """The candidate trusts itself never, so that the active version has to answer for it each time."""
    models("import", folder("tiny", "1"))
    unsure = {"decoding_method": "greedy_search", "fallback_confidence": 1.0}
    models("import", version_of(AN4, tmp_path / "2", name="tiny", version="2", settings=unsure), "--no-activate")
    begin(RolloutMode.CANARY)
    with requests_under_way(tenant, model="tiny") as answers:
        wait_for(lambda: only_rollout().status != RolloutStatus.RUNNING)
        wait_for(lambda: not runtime.current.trials.running())
    assert len(answers) == 1
    assert {status for status, _ in answers} == {200}
    ended = only_rollout()
    assert ended.status == RolloutStatus.ROLLED_BACK
    assert "requests failed on tiny@2; the limit is 5 %" in ended.ended_reason
    assert compare(ended).candidate.failures >= 2
    entry = AuditEntry.objects.get(action="rollout.rolled_back", object_id=str(ended.id))
    assert (entry.actor_type, entry.actor_label) == ("system", "")


def test_limits(versions: None, database: None) -> None:
    """Failures count at once; speed only once there is enough to compare."""
    organization = make_tenant("").organization
    rollout = Rollout.objects.create(
        task="stt", name="tiny", candidate=version("2"), active_version="1", mode=RolloutMode.CANARY, share=0.5,
        organization=organization, max_failure_rate=0.1, max_slowdown=2.0, min_samples=10, status=RolloutStatus.ENDED,
    )  # fmt: skip

    def add(count: int, arm: str, seconds: float, error_code: str = "") -> None:
        RolloutSample.objects.bulk_create(
            RolloutSample(
                rollout=rollout, organization=organization, job_id=uuid.uuid4(), arm=arm, error_code=error_code,
                audio_seconds=10.0, recognise_seconds=seconds, confidence=0.9,
            )
            for _ in range(count)
        )  # fmt: skip

    add(10, Arm.ACTIVE, 1.0)
    add(9, Arm.CANDIDATE, 5.0)
    assert watching.passed_limit(rollout) == "", "nine are too few"
    add(1, Arm.CANDIDATE, 5.0)
    assert "took 5 times as long as 1; the limit is 2" in watching.passed_limit(rollout)
    add(30, Arm.CANDIDATE, 1.0)
    assert watching.passed_limit(rollout) == "", "the median, so that a few slow ones do not count"
    add(4, Arm.CANDIDATE, 1.0, "engine_failed")
    assert watching.passed_limit(rollout) == ""
    add(1, Arm.CANDIDATE, 1.0, "engine_failed")
    assert "5 of 45 requests failed" in watching.passed_limit(rollout)
    compared = compare(rollout)
    assert (compared.candidate.failure_rate, compared.active.failures) == (round(5 / 45, 4), 0)


def test_a_candidate_that_does_not_load_is_rolled_back(versions: None) -> None:
    row = version("2")
    path = folders.base() / row.path / "tokens.txt"
    path.unlink()
    path.write_text("no tokens\n")
    rollout = Rollout.objects.create(
        task="stt", name="tiny", candidate=row, active_version="1", mode=RolloutMode.CANARY, share=0.5,
        max_failure_rate=0.1, max_slowdown=2.0, min_samples=10,
    )  # fmt: skip
    runtime.current.follow_trials()
    rollout.refresh_from_db()
    assert (rollout.status, rollout.ended_reason.startswith("It does not load in")) == ("rolled_back", True)
    assert runtime.current.trials.running() == ()


def test_activating_ends_the_trial(tenant: Tenant, versions: None) -> None:
    rollout = begin(RolloutMode.CANARY)
    with pytest.raises(CommandError, match="Another version of tiny is on trial"):
        models("promote", "tiny@2", "--shadow", "10")
    with pytest.raises(CommandError, match="is on trial"):
        models("remove", "tiny@2")
    models("activate", "tiny@2")
    rollout.refresh_from_db()
    assert (rollout.status, served()) == (RolloutStatus.PROMOTED, "2")
    wait_for(lambda: not runtime.current.trials.running())
    assert text_for(tenant) != TEXT


# ── Shadows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_shadow_is_compared_and_never_an_answer_nor_billed(tenant: Tenant, versions: None, capsys) -> None:
    rollout = begin(RolloutMode.SHADOW, tenant)
    key = tenant.key("stt")
    answer = transcribe(key, model="tiny").json()
    assert answer["text"].lower().strip(" .") == TEXT
    wait_for(lambda: RolloutSample.objects.filter(rollout=rollout).count() == 2)
    shadow = ShadowTranscription.objects.get(transcription__job_id=answer["job_id"])
    assert (shadow.version, shadow.organization_id) == ("2", tenant.organization.id)
    assert shadow.text.lower().strip(" .") != TEXT
    shown = key.get(f"/stt/jobs/{answer['job_id']}").text
    assert shadow.text not in shown
    assert UsageRecord.objects.filter(organization=tenant.organization).count() == 1
    compared = compare(rollout)
    assert (compared.active.requests, compared.candidate.requests, compared.candidate.failures) == (1, 1, 0)
    assert compared.compared_words == len(TEXT.split())
    assert compared.wer_against_active > 0.5
    capsys.readouterr()
    models("rollouts", "--json")
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["mode"], listed["comparison"]["wer_against_active"]) == ("shadow", compared.wer_against_active)
    models("rollouts")
    assert "shadow 100 %" in capsys.readouterr().out
    Transcription.objects.filter(job_id=answer["job_id"]).delete()
    assert not ShadowTranscription.objects.filter(id=shadow.id).exists()
    assert RolloutSample.objects.filter(rollout=rollout).count() == 2, "numbers stay"


def test_nothing_is_heard_twice_where_nothing_is_kept(tenant: Tenant, versions: None) -> None:
    tenant.organization.transcript_retention_days = 0
    tenant.organization.save()
    rollout = begin(RolloutMode.SHADOW, tenant)
    assert text_for(tenant) == TEXT
    from procrastinate.contrib.django.models import ProcrastinateJob

    assert not ProcrastinateJob.objects.filter(queue_name="shadow").exists()
    assert RolloutSample.objects.filter(rollout=rollout).count() == 1
