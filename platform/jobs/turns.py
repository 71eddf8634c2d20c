"""Whose job is next.

Organisations take turns: a task's place is a number, one more than that of its organisation's job before it, and at
least that of the task which is next of all. So whoever queues a hundred thousand jobs has one of them run for each of
everybody else's, and whoever queues one waits for one of each other organisation (start-time fair queueing, Goyal et
al. 1996, all jobs alike).

The jobs of an organisation that has as many running as it may are put off, those far behind for longer; when one ends,
the next are called.
"""

from __future__ import annotations

import uuid

from django.apps import apps
from django.db import connection
from django.db.models import QuerySet
from procrastinate.contrib.django.models import ProcrastinateJob

from jobs.models import MODELS, Job, JobStatus

PUT_OFF_SECONDS, PUT_OFF_SECONDS_EACH = 2.0, 0.25
"""Until a job looks again whether it may run, and how much later for each of its organisation's that come before it."""
LONGEST_PUT_OFF_SECONDS = 900
_CALLED = 2
"""Of each kind: one more than there is room for, should another end at the same moment."""

_CALL = """
WITH called AS (
    UPDATE procrastinate_jobs SET scheduled_at = NULL
    WHERE queue_name = %s AND status = 'todo' AND scheduled_at IS NOT NULL AND args->>'job_id' = ANY(%s)
    RETURNING id, queue_name
)
SELECT pg_notify('procrastinate_queue_v1#' || queue_name, json_build_object('type', 'job_inserted', 'job_id', id)::text)
FROM called
"""


def next_turn(job: Job) -> int:
    """The place of a job that is about to be queued. Two queries, each for the first row of an index."""
    waiting = ProcrastinateJob.objects.filter(queue_name=job.task, status="todo", scheduled_at=None)
    first = waiting.order_by("-priority").values_list("priority", flat=True).first()
    last = _queued(job.task, job.organization_id).order_by("-created_at").values_list("turn", flat=True).first()
    return max(0 if first is None else -first, 0 if last is None else last + 1)


def put_off_seconds(job: Job, slots: int) -> int:
    """How long a job waits that found its organisation's slots taken."""
    first = _queued(job.task, job.organization_id).order_by("created_at").values_list("turn", flat=True).first()
    before = max(0, job.turn - first) if first is not None else 0
    return round(min(LONGEST_PUT_OFF_SECONDS, PUT_OFF_SECONDS + PUT_OFF_SECONDS_EACH * before / slots))


def call_next(organization_id: uuid.UUID) -> None:
    """In the transaction that frees a slot: has the organisation's next jobs, where they were put off, taken now."""
    for task in MODELS:
        ids = _queued(task, organization_id).order_by("created_at").values_list("id", flat=True)[:_CALLED]
        if found := [str(job_id) for job_id in ids]:
            with connection.cursor() as cursor:
                cursor.execute(_CALL, [task, found])


def _queued(task: str, organization_id: uuid.UUID) -> QuerySet:
    return apps.get_model(MODELS[task])._default_manager.filter(
        organization_id=organization_id, status=JobStatus.QUEUED
    )
