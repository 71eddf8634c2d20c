"""From rows to events. Nothing here trusts a notification: its ids only say which rows to look at."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db.models import Q, QuerySet
from django.utils import timezone
from rest_framework.utils.encoders import JSONEncoder

from jobs import batches
from jobs.models import MODELS, UNFINISHED, Batch

SNAPSHOT_JOBS = 500
"""The newest of each kind; `truncated` says that there are more."""

_FIELDS = (
    "id", "status", "progress", "stage", "batch_id", "custom_id", "created_at", "started_at", "finished_at",
    "error_code", "error_message",
)  # fmt: skip
_LONGEST_WAIT = timedelta(days=1)
"""Between a job's beginning and its end, where what has ended lately is looked for: an index is by beginning."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a trigger said. event: `job.queued`, `job.started`, `job.progress`, `job.ended` or `batch.finished`."""

    organization_id: uuid.UUID
    task: str
    event: str
    object_id: uuid.UUID

    @classmethod
    def parse(cls, payload: str) -> Notice:
        organization_id, task, event, object_id = payload.split(" ")
        return cls(uuid.UUID(organization_id), task, event, uuid.UUID(object_id))


@dataclass(frozen=True, slots=True)
class Event:
    """What listeners are sent, ready to be written, and what decides which of them are."""

    organization_id: uuid.UUID
    task: str
    name: str
    data: dict[str, Any]
    job_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None

    def encoded(self) -> bytes:
        return encode(self.name, self.data)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a listener may and wants to hear of. `since`: also what ended after it, for one that comes back."""

    organization_id: uuid.UUID
    tasks: tuple[str, ...]
    job_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None
    since: datetime | None = field(default=None, compare=False)

    def coming_back(self) -> Scope:
        """As after a `Last-Event-ID` of a minute ago: for a stream that has missed something."""
        return replace(self, since=timezone.now() - timedelta(minutes=1))

    def has(self, event: Event) -> bool:
        return (
            event.organization_id == self.organization_id
            and event.task in self.tasks
            and (self.job_id is None or event.job_id == self.job_id)
            and (self.batch_id is None or event.batch_id == self.batch_id)
        )


def encode(name: str, data: dict[str, Any]) -> bytes:
    """As the HTML standard has it. The id is the time in milliseconds, from which `Last-Event-ID` goes on."""
    body = json.dumps(data, cls=JSONEncoder, ensure_ascii=False)
    return f"event: {name}\nid: {time.time_ns() // 1_000_000}\ndata: {body}\n\n".encode()


# ── Snapshots ───────────────────────────────────────────────────────────────────────────────────────────────────────


def exists(scope: Scope) -> bool:
    """Whether there is what the scope names."""
    return any(_jobs(scope, task).exists() for task in scope.tasks)


def snapshot(scope: Scope) -> dict[str, Any]:
    """What has not ended, newest first; of a scope that names a job or a batch, all of it."""
    jobs, truncated = [], False
    for task in scope.tasks:
        rows = list(_snapshot_rows(scope, task).order_by("-created_at").values(*_FIELDS)[: SNAPSHOT_JOBS + 1])
        truncated = truncated or len(rows) > SNAPSHOT_JOBS
        jobs += [_described(row, task) for row in rows[:SNAPSHOT_JOBS]]
    jobs.sort(key=lambda job: job["created_at"], reverse=True)
    return {"jobs": jobs, "batches": _batches(scope), "truncated": truncated}


def _jobs(scope: Scope, task: str) -> QuerySet:
    rows = apps.get_model(MODELS[task])._default_manager.filter(organization_id=scope.organization_id)
    if scope.job_id is not None:
        rows = rows.filter(id=scope.job_id)
    return rows if scope.batch_id is None else rows.filter(batch_id=scope.batch_id)


def _snapshot_rows(scope: Scope, task: str) -> QuerySet:
    rows = _jobs(scope, task)
    if scope.job_id is not None or scope.batch_id is not None:
        return rows
    wanted = Q(status__in=UNFINISHED)
    if scope.since is not None:
        wanted |= Q(finished_at__gte=scope.since, created_at__gte=scope.since - _LONGEST_WAIT)
    return rows.filter(wanted)


def _batches(scope: Scope) -> list[dict[str, Any]]:
    if scope.job_id is not None:
        return []
    rows = Batch.objects.filter(organization_id=scope.organization_id, task__in=scope.tasks)
    if scope.batch_id is not None:
        rows = rows.filter(id=scope.batch_id)
    else:
        rows = rows.filter(Q(finished_at=None) | Q(finished_at__gte=scope.since or timezone.now()))
    return batches.summaries(rows.order_by("-created_at")[:SNAPSHOT_JOBS])


# ── Notifications ───────────────────────────────────────────────────────────────────────────────────────────────────


def events_of(notices: Iterable[Notice]) -> list[Event]:
    """In the order of the notices; a batch's progress comes after the jobs that ended. Rows that are gone are left out.

    A query for each organisation and task.
    """
    notices = list(notices)
    groups: dict[tuple[uuid.UUID, str], list[Notice]] = {}
    for notice in notices:
        groups.setdefault((notice.organization_id, notice.task), []).append(notice)
    return [event for (owner, task), group in groups.items() for event in _of_group(owner, task, group)]


def _of_group(organization_id: uuid.UUID, task: str, notices: list[Notice]) -> Iterator[Event]:
    scope = Scope(organization_id, (task,))
    ids = {notice.object_id for notice in notices if notice.event.startswith("job.")}
    rows = {row["id"]: row for row in _jobs(scope, task).filter(id__in=ids).values(*_FIELDS)}
    touched: dict[uuid.UUID, str] = {}
    for notice in notices:
        if notice.event == "batch.finished":
            touched[notice.object_id] = notice.event
        elif row := rows.get(notice.object_id):
            name = f"job.{row['status']}" if notice.event == "job.ended" else notice.event
            yield Event(organization_id, task, name, _described(row, task), row["id"], row["batch_id"])
            if notice.event == "job.ended" and row["batch_id"]:
                touched.setdefault(row["batch_id"], "batch.progress")
    found = Batch.objects.filter(organization_id=organization_id, task=task, id__in=touched)
    for summary in batches.summaries(found):
        batch_id = summary["batch_id"]
        yield Event(organization_id, task, touched[batch_id], summary, batch_id=batch_id)


def _described(row: dict[str, Any], task: str) -> dict[str, Any]:
    """A job without what was said: small, and nothing that retention would have to find again."""
    code, message = row["error_code"], row["error_message"]
    kept = {name: row[name] for name in _FIELDS if name not in ("id", "error_code", "error_message")}
    return {"job_id": row["id"], "task": task, **kept, "error": {"code": code, "message": message} if code else None}


def since(last_event_id: str | None) -> datetime | None:
    """The moment of a `Last-Event-ID`, a little earlier for clocks and commits; at most an hour ago."""
    if not last_event_id or not last_event_id.isdecimal() or len(last_event_id) > 15:
        return None
    now = timezone.now()
    seconds = min(int(last_event_id) / 1000, now.timestamp())
    moment = datetime.fromtimestamp(seconds, tz=now.tzinfo) - timedelta(seconds=10)
    return max(moment, now - timedelta(hours=1))
