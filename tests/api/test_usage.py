"""GET /analytics/usage."""

from __future__ import annotations

import csv
import io
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import ApiKey
from analytics.models import UsageDay, UsageRecord
from retention.services import delete_organization
from tests.api.support import silence
from tests.conftest import Client, Tenant, error_of

SUMS = ("tts_characters", "stt_seconds", "tts_jobs", "stt_jobs", "failed_jobs")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def test_nothing_is_thirty_days_of_zeros(tenant: Tenant) -> None:
    body = tenant.user("viewer").get("/analytics/usage").json()
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=29 - offset)).isoformat() for offset in range(30)]
    assert [row["date"] for row in body["daily"]] == days
    assert all(row[name] == 0 for row in body["daily"] for name in SUMS)
    assert body["period"] == {"start": days[0], "end": days[-1], "days": 30}
    assert (body["total_tts_characters"], body["total_stt_seconds"], body["total_jobs"]) == (0, 0, 0)


def test_counts_what_was_done(tenant: Tenant, other_tenant: Tenant) -> None:
    client = tenant.key()
    client.post("/tts/synthesize", json={"text": "Hello there."})
    client.post("/tts/synthesize", json={"text": "x", "voice": "nobody"})
    client.post("/stt/transcribe", files={"audio_file": ("s.wav", silence(1.5))})
    client.post("/stt/transcribe", files={"audio_file": ("x.wav", b"no audio")})
    other_tenant.key("tts").post("/tts/synthesize", json={"text": "Somebody else's words."})

    body = tenant.user("viewer").get("/analytics/usage?days=2").json()
    *_, today = body["daily"]
    assert today["date"] == _today()
    counted = (today["tts_characters"], today["tts_jobs"], today["stt_jobs"], today["failed_jobs"])
    assert counted == (12, 1, 1, 1)
    assert today["stt_seconds"] == pytest.approx(1.5, abs=0.05)
    assert (body["total_tts_characters"], body["total_jobs"]) == (12, 3)
    assert body["total_stt_seconds"] == today["stt_seconds"]
    failed = UsageRecord.objects.get(organization=tenant.organization, status="failed")
    assert (failed.characters, failed.audio_seconds) == (0, 0)


def test_days_are_utc_and_bounded(tenant: Tenant) -> None:
    tenant.key("tts").post("/tts/synthesize", json={"text": "Hello"})
    record = UsageRecord.objects.get(organization=tenant.organization)
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)

    def counted_on(moment: datetime, days: int) -> list[int]:
        UsageRecord.objects.filter(id=record.id).update(created_at=moment)
        daily = tenant.user("viewer").get(f"/analytics/usage?days={days}").json()["daily"]
        return [row["tts_jobs"] for row in daily]

    assert counted_on(midnight, 2) == [0, 1]
    assert counted_on(midnight - timedelta(microseconds=1), 2) == [1, 0]
    assert counted_on(midnight - timedelta(days=2), 2) == [0, 0]
    assert counted_on(midnight, 1) == [1]
    assert sum(counted_on(midnight - timedelta(days=365), 366)) == 1


def test_groups(tenant: Tenant) -> None:
    row, key = tenant.new_key("tts")
    Client(tenant.server, {"x-api-key": key}).post("/tts/synthesize", json={"text": "by a key"})
    tenant.user("developer").post("/tts/synthesize", json={"text": "by a person"})
    body = tenant.user("viewer").get("/analytics/usage?group_by=day,model,api_key,user").json()
    groups = body["groups"]
    assert set(groups) == {"model", "api_key", "user"}
    (model,) = groups["model"]
    assert (model["key"], model["tts_characters"], model["tts_jobs"]) == ("espeak-ng", 19, 2)
    by_key = {group["key"]: group for group in groups["api_key"]}
    assert by_key[str(row.id)]["tts_characters"] == 8
    assert by_key[str(row.id)]["name"] == "tests"
    assert by_key[None]["tts_characters"] == 11
    by_user = {group["name"]: group["tts_characters"] for group in groups["user"]}
    assert by_user == {None: 8, tenant.member("developer").user.email: 11}


def test_csv(tenant: Tenant) -> None:
    tenant.key("tts").post("/tts/synthesize", json={"text": "Hello"})
    answer = tenant.user("viewer").get("/analytics/usage?days=3", headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 3
    assert set(rows[0]) == {"date", *SUMS}
    assert (rows[-1]["date"], rows[-1]["tts_characters"], rows[-1]["tts_jobs"]) == (_today(), "5", "1")


def test_errors_stay_json(tenant: Tenant, anonymous: Client) -> None:
    csv_wanted = {"Accept": "text/csv"}
    error_of(tenant.user("viewer").get("/analytics/usage?days=0", headers=csv_wanted), 400)
    error_of(anonymous.get("/analytics/usage", headers=csv_wanted), 401)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("days=0", "days"),
        ("days=367", "days"),
        ("days=x", "days"),
        ("group_by=shoe_size", "group_by"),
        ("dayz=7", "dayz"),
    ],
)
def test_rejects_wrong_queries(tenant: Tenant, query: str, param: str) -> None:
    assert error_of(tenant.user("viewer").get(f"/analytics/usage?{query}"), 400)["param"] == param


# ── The sums of days ────────────────────────────────────────────────────────────────────────────────────────────────


def _kept(tenant: Tenant) -> list[tuple[object, ...]]:
    fields = ("day", "task", "status", "model", "user_id", "api_key_id", "jobs", "characters", "audio_seconds")
    return sorted(UsageDay.objects.filter(organization=tenant.organization).values_list(*fields), key=repr)


def _summed(tenant: Tenant) -> list[tuple[object, ...]]:
    """What `_kept` has to be, from the records."""
    sums: dict[tuple[object, ...], list[Any]] = {}
    for row in UsageRecord.objects.filter(organization=tenant.organization):
        key = (row.created_at.astimezone(UTC).date(), row.task, row.status, row.model, row.user_id, row.api_key_id)
        added = sums.setdefault(key, [0, 0, Decimal(0)])
        added[0] += 1
        added[1] += row.characters
        added[2] += Decimal(repr(row.audio_seconds)).quantize(Decimal("0.000001"))
    return sorted(((*key, *added) for key, added in sums.items()), key=repr)


def _records(tenant: Tenant, count: int, chance: random.Random) -> list[UsageRecord]:
    key, _ = tenant.new_key()
    users, keys = [None, tenant.member("owner").user, tenant.member("viewer").user], [None, key]
    return [
        UsageRecord(
            organization=tenant.organization, task=chance.choice(["tts", "stt"]), job_id=uuid.uuid4(),
            status=chance.choice(["succeeded", "failed", "cancelled"]), model=chance.choice(["", "a", "b"]),
            user=chance.choice(users), api_key=chance.choice(keys), characters=chance.randrange(500),
            audio_seconds=round(chance.uniform(0, 90), chance.randrange(7)),
        )
        for _ in range(count)
    ]  # fmt: skip


def test_sums_of_days_are_those_of_the_records(tenant: Tenant, other_tenant: Tenant) -> None:
    chance = random.Random(5)
    untouched = _records(other_tenant, 5, chance)
    UsageRecord.objects.bulk_create(untouched)
    rows = UsageRecord.objects.filter(organization=tenant.organization)
    UsageRecord.objects.bulk_create(_records(tenant, 120, chance))
    for row in _records(tenant, 10, chance):
        row.save()
    assert _kept(tenant) == _summed(tenant)
    assert len(_kept(tenant)) > 10

    rows.update(created_at=timezone.now() - timedelta(days=3))
    rows.filter(task="tts").update(created_at=timezone.now() - timedelta(hours=30))
    assert _kept(tenant) == _summed(tenant)
    tenant.member("viewer").user.delete()  # the records lose their names, and lines become one
    ApiKey.objects.filter(organization=tenant.organization).delete()
    assert _kept(tenant) == _summed(tenant)
    rows.filter(model="a").delete()
    UsageRecord.objects.bulk_create([rows.first()], ignore_conflicts=True)  # type: ignore[list-item]
    assert _kept(tenant) == _summed(tenant)
    rows.all().delete()
    assert _kept(tenant) == []
    assert _kept(other_tenant) == _summed(other_tenant)
    delete_organization(organization=other_tenant.organization)
    assert not UsageDay.objects.filter(organization_id=other_tenant.organization.id).exists()


def test_sums_of_days_stand_what_happens_at_once(tenant: Tenant) -> None:
    """Eight write at the same time, one record or many; half of the transactions are rolled back."""

    def write(number: int) -> None:
        chance = random.Random(number)
        try:
            for turn in range(6):
                with suppress(RuntimeError), transaction.atomic():
                    UsageRecord.objects.bulk_create(made[number][turn])
                    if chance.random() < 0.5:
                        raise RuntimeError
        finally:
            connection.close()

    chance = random.Random(8)
    made = [[_records(tenant, chance.choice([1, 15]), chance) for _ in range(6)] for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert _kept(tenant) == _summed(tenant)
    assert _kept(tenant)
