"""Sums usage by day and by group; says what a quota has left."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, Model, Q, QuerySet, Sum
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import ApiKey, Organization, User
from analytics import quota
from analytics.models import Task, UsageDay
from common.serializers import json_time
from jobs.models import JobStatus
from jobs.selectors import count_running

_DONE = Q(status=JobStatus.SUCCEEDED)

_SUMS = {
    "tts_characters": Sum("characters", filter=Q(task=Task.TTS), default=0),
    "stt_seconds": Sum("audio_seconds", filter=Q(task=Task.STT), default=Decimal(0)),
    "tts_jobs": Sum("jobs", filter=Q(task=Task.TTS) & _DONE, default=0),
    "stt_jobs": Sum("jobs", filter=Q(task=Task.STT) & _DONE, default=0),
    "failed_jobs": Sum("jobs", filter=Q(status=JobStatus.FAILED), default=0),
}
_GROUPS = {"model": "model", "api_key": "api_key_id", "user": "user_id"}
_NAMES: dict[str, tuple[type[Model], str]] = {"api_key": (ApiKey, "name"), "user": (User, "email")}
"""Of groups whose key is an id: whose, and the field that people know it by."""


def usage_summary(*, actor: Actor, days: int, group_by: Iterable[str] = ()) -> dict[str, Any]:
    """Totals, one row for each of the last `days` UTC days (zeros included), and sums for each group asked for."""
    last = timezone.now().astimezone(UTC).date()
    first = last - timedelta(days=days - 1)
    used = UsageDay.objects.filter(organization_id=actor.organization.id, day__gte=first, day__lte=last)
    daily = _daily(used, first, days)
    groups = _grouped(used, [group for group in group_by if group in _GROUPS])
    return {
        "total_tts_characters": sum(day["tts_characters"] for day in daily),
        "total_stt_seconds": round(sum(day["stt_seconds"] for day in daily), 3),
        "total_jobs": sum(day["tts_jobs"] + day["stt_jobs"] + day["failed_jobs"] for day in daily),
        "period": {"start": first.isoformat(), "end": last.isoformat(), "days": days},
        "daily": daily,
        **({"groups": groups} if groups else {}),
    }


def _daily(used: QuerySet[UsageDay], first: date, days: int) -> list[dict[str, Any]]:
    found = {row["date"]: row for row in used.order_by().values(date=F("day")).annotate(**_SUMS)}
    zeros = dict.fromkeys(_SUMS, 0)
    dates = [first + timedelta(days=offset) for offset in range(days)]
    return [_rounded({**zeros, **found.get(day, {}), "date": day.isoformat()}) for day in dates]


def _grouped(used: QuerySet[UsageDay], groups: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The sums of each group, of one query over all that is grouped by."""
    if not groups:
        return {}
    rows = list(used.order_by().values(*(_GROUPS[group] for group in groups)).annotate(**_SUMS))
    return {group: _named(_folded(rows, _GROUPS[group]), group) for group in groups}


def _folded(rows: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for row in rows:
        sums = found.setdefault(row[field], {"key": row[field], **dict.fromkeys(_SUMS, 0)})
        for name in _SUMS:
            sums[name] += row[name]
    by_use = sorted(found.values(), key=lambda row: (row["tts_characters"], row["stt_seconds"]), reverse=True)
    return [_rounded(row) for row in by_use]


def _named(rows: list[dict[str, Any]], group: str) -> list[dict[str, Any]]:
    if group not in _NAMES:
        return rows
    model, field = _NAMES[group]
    ids = [row["key"] for row in rows if row["key"] is not None]
    names = dict(model._default_manager.filter(id__in=ids).values_list("id", field)) if ids else {}
    return [{**row, "name": names.get(row["key"])} for row in rows]


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "stt_seconds": round(float(row["stt_seconds"]), 3)}


# ── Quota ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def quota_state(*, organization: Organization) -> dict[str, Any]:
    """The organisation's limits, what it has used of them, and what it holds for jobs under way. None: no limit."""
    limits, month = quota.limits_of(organization), quota.current_month()
    period = quota.period_of(organization.id, month) if limits.metered else None
    used = quota.used(period) if period else quota.used_by_records(organization.id, month)
    reserved = quota.reserved(period) if period else quota.Amounts()
    taken = used + reserved

    def cost(amounts: quota.Amounts) -> float:
        return round(float(limits.cost(amounts.characters, amounts.audio_seconds)), 6)

    def shown(amounts: quota.Amounts) -> dict[str, Any]:
        return {
            "characters": amounts.characters, "audio_seconds": float(amounts.audio_seconds), "cost": cost(amounts)
        }  # fmt: skip

    def left(limit: int | Decimal | None, amount: float) -> float | None:
        return None if limit is None else round(max(0, float(limit) - amount), 6)

    characters = left(limits.characters, taken.characters)
    return {
        "period": f"{month:%Y-%m}",
        "resets_at": json_time(quota.resets_at(month)),
        "limits": {
            "monthly_characters": limits.characters,
            "monthly_audio_seconds": limits.audio_seconds,
            "monthly_budget": None if limits.budget is None else float(limits.budget),
            "price_per_million_characters": float(limits.price_per_million_characters),
            "price_per_audio_hour": float(limits.price_per_audio_hour),
        },
        "used": shown(used),
        "reserved": shown(reserved),
        "remaining": {
            "characters": None if characters is None else int(characters),
            "audio_seconds": left(limits.audio_seconds, float(taken.audio_seconds)),
            "budget": left(limits.budget, cost(taken)),
        },
        "concurrency": {"limit": limits.concurrent_jobs, "running": count_running(organization.id)},
    }
