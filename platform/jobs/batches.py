"""Batches: how far one is, and the one moment at which it is over.

A batch is open while its request adds jobs to it, so that a quick worker cannot end it before the last one is there.
The batch's row is the lock: whoever ends a job or closes the batch holds it until the commit, so the last one sees all.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone
from rest_framework.utils.encoders import JSONEncoder

from accounts.actors import Actor
from jobs.models import MODELS, UNFINISHED, Batch, Job, JobStatus
from webhooks import events
from webhooks.models import Event

ABANDONED_AFTER = timedelta(minutes=10)
"""An open batch in which nothing has happened for so long has lost the process that filled it."""


@contextmanager
def filling(*, actor: Actor, task: str, size: int) -> Iterator[uuid.UUID]:
    """A new batch, for the time in which the block creates its jobs. size: items asked for; some may be refused."""
    batch = Batch.objects.create(organization=actor.organization, task=task, size=size)
    try:
        yield batch.id
    finally:
        _close(batch.id)


def job_ended(job: Job) -> None:
    """Call it in the transaction that ends the job: the last one's ends its batch, and says so."""
    if job.batch_id is not None:
        _finish_if_over(job.batch_id)


def close_abandoned() -> int:
    """Closes batches that nobody fills any more; how many."""
    before = timezone.now() - ABANDONED_AFTER
    closed = 0
    for batch in Batch.objects.filter(closed=False, created_at__lt=before)[:1000]:
        if not _jobs(batch).filter(Q(status__in=UNFINISHED) | Q(finished_at__gt=before)).exists():
            _close(batch.id)
            closed += 1
    return closed


def _close(batch_id: uuid.UUID) -> None:
    with transaction.atomic():
        Batch.objects.filter(id=batch_id).update(closed=True)
        _finish_if_over(batch_id)


def _finish_if_over(batch_id: uuid.UUID) -> None:
    # Locked whether it is closed or not: of a job's end and the closing, which do not see each other, one must wait.
    batch = Batch.objects.select_for_update(no_key=True).filter(id=batch_id, finished_at=None).first()
    if batch is None or not batch.closed or _jobs(batch).filter(status__in=UNFINISHED).exists():
        return
    batch.finished_at = timezone.now()
    batch.save(update_fields=["finished_at"])
    events.publish(
        organization_id=batch.organization_id,
        event=Event.BATCH_FINISHED,
        data=lambda: _announced(batch),
        object_id=batch.id,
    )


# ── How far it is ───────────────────────────────────────────────────────────────────────────────────────────────────


def find(*, organization_id: uuid.UUID, batch_id: uuid.UUID) -> Batch | None:
    return Batch.objects.filter(organization_id=organization_id, id=batch_id).first()


def summaries(batches: Iterable[Batch]) -> list[dict[str, Any]]:
    """`{batch_id, task, total, counts, progress, created_at, finished_at}` of each; a query for each task."""
    batches = list(batches)
    counted = {}
    for task in {batch.task for batch in batches}:
        ids = [batch.id for batch in batches if batch.task == task]
        counted.update(_counted(apps.get_model(MODELS[task])._default_manager.filter(batch_id__in=ids)))
    return [
        {
            "batch_id": batch.id,
            "task": batch.task,
            **_summary(counted.get(batch.id, {}), batch),
            "created_at": batch.created_at,
            "finished_at": batch.finished_at,
        }
        for batch in batches
    ]


def summary_of_jobs(jobs: list[Any], batch: Batch | None) -> dict[str, Any]:
    """`{total, counts, progress}` from a batch's jobs, where they have been read anyway."""
    row = {status: sum(job.status == status for job in jobs) for status in JobStatus.values}
    under_way = sum(job.progress for job in jobs if job.status == JobStatus.PROCESSING)
    return _summary({**row, "under_way": under_way}, batch)


def _jobs(batch: Batch) -> QuerySet:
    model = apps.get_model(MODELS[batch.task])
    return model._default_manager.filter(organization_id=batch.organization_id, batch_id=batch.id)


def _counted(jobs: QuerySet) -> dict[uuid.UUID, dict[str, Any]]:
    columns = {status: Count("id", filter=Q(status=status)) for status in JobStatus.values}
    under_way = Sum("progress", filter=Q(status=JobStatus.PROCESSING))
    rows = jobs.order_by().values("batch_id").annotate(**columns, under_way=under_way)
    return {row.pop("batch_id"): row for row in rows}


def _summary(row: dict[str, Any], batch: Batch | None) -> dict[str, Any]:
    """row: how many jobs are in each state, and the sum of the progress of those that run."""
    counts = {status: row.get(status, 0) for status in JobStatus.values}
    jobs = sum(counts.values())
    total = max(jobs, batch.size) if batch is not None and not batch.closed else jobs
    done = jobs - sum(counts[status] for status in UNFINISHED) + (row.get("under_way") or 0.0)
    return {"total": total, "counts": counts, "progress": round(done / total, 3) if total else 1.0}


def _announced(batch: Batch) -> dict[str, Any]:
    """What webhooks are told: the summary, and each job's id and state, in order."""
    (data,) = summaries([batch])
    rows = _jobs(batch).order_by("created_at", "id").values("id", "custom_id", "status")
    jobs = [{"job_id": row["id"], "custom_id": row["custom_id"], "status": row["status"]} for row in rows]
    return json.loads(json.dumps({**data, "jobs": jobs}, cls=JSONEncoder))  # times as the API writes them
