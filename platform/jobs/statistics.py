"""How an organisation's jobs do: how long they take, how many wait, why they fail."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db.models import Aggregate, Case, Count, F, FloatField, Min, Q, When
from django.db.models.expressions import Expression
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Extract
from django.utils import timezone

from accounts.actors import Actor
from common.access import owned_by
from jobs.models import MODELS, UNFINISHED, JobStatus

NEWEST = 1000
"""Succeeded jobs of a kind that latencies are taken from."""
LATENCY_DAYS = 30
FAILURE_DAYS = 7


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the newest jobs of a task. None: there were none.

    answer: until the first audio of speech out, until the transcript of a recording, from the start of the job. A live
    session is none: it takes as long as somebody speaks.
    wait: from the request to the start, of queued jobs.
    """

    task: str
    jobs: int
    answer: Percentiles | None
    wait: Percentiles | None


@dataclass(frozen=True, slots=True)
class States:
    """Of jobs under way now, and of those that failed in the last FAILURE_DAYS, by the code of their error."""

    queued: int
    processing: int
    oldest_queued_at: datetime | None
    failures: tuple[tuple[str, int], ...]

    @property
    def failed(self) -> int:
        return sum(count for _, count in self.failures)


class _PercentileCont(Aggregate):
    """PostgreSQL's `percentile_cont`, of several shares at once."""

    function = "PERCENTILE_CONT"
    template = "%(function)s(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field: ClassVar = ArrayField(FloatField())


def latencies(*, actor: Actor) -> list[Latency]:
    """One a task; one query each, of at most NEWEST rows."""
    return [_latency(actor, task) for task in MODELS]


def _latency(actor: Actor, task: str) -> Latency:
    since = timezone.now() - timedelta(days=LATENCY_DAYS)
    jobs = owned_by(actor, apps.get_model(MODELS[task])).filter(status=JobStatus.SUCCEEDED, created_at__gte=since)
    measured = jobs.annotate(answer=_answer(task), wait=_seconds(F("started_at") - F("created_at")))
    newest = measured.order_by("-created_at").values("answer", "wait", "is_async")[:NEWEST]
    found = newest.aggregate(
        count=Count("*"),
        answers=_PercentileCont("answer"),
        waits=_PercentileCont("wait", filter=Q(is_async=True)),
    )
    return Latency(task, found["count"], _percentiles(found["answers"]), _percentiles(found["waits"]))


def _answer(task: str) -> Expression:
    if task == "tts":
        return Cast(KeyTextTransform("first_audio", "timings"), FloatField())
    live = When(timings={}, then=None)  # of recordings the stages are timed
    return Case(live, default=_seconds(F("finished_at") - F("started_at")), output_field=FloatField())


def _seconds(interval: Any) -> Expression:
    return Extract(interval, "epoch", output_field=FloatField())


def _percentiles(seconds: list[float] | None) -> Percentiles | None:
    return Percentiles(*seconds) if seconds and None not in seconds else None


def states(*, actor: Actor) -> States:
    """One query over all tasks."""
    first, *others = [_counts(actor, task) for task in MODELS]
    rows = list(first.union(*others, all=True))
    totals = Counter[str]()
    failures = Counter[str]()
    for row in rows:
        totals[row["status"]] += row["jobs"]
        if row["status"] == JobStatus.FAILED:
            failures[row["error_code"]] += row["jobs"]
    waiting = [row["oldest"] for row in rows if row["status"] == JobStatus.QUEUED]
    return States(
        queued=totals[JobStatus.QUEUED],
        processing=totals[JobStatus.PROCESSING],
        oldest_queued_at=min(waiting, default=None),
        failures=tuple(failures.most_common()),
    )


def _counts(actor: Actor, task: str) -> Any:
    since = timezone.now() - timedelta(days=FAILURE_DAYS)
    wanted = Q(status__in=UNFINISHED) | Q(status=JobStatus.FAILED, created_at__gte=since)
    jobs = owned_by(actor, apps.get_model(MODELS[task])).filter(wanted).order_by()
    return jobs.values("status", "error_code").annotate(jobs=Count("id"), oldest=Min("created_at"))
