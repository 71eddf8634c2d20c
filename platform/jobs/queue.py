"""How a job gets from its row to a worker: enqueued in the row's transaction, claimed once, run at most N times."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from analytics import quota
from analytics.models import Reservation
from common import context, errors
from jobs import selectors, services
from jobs.models import MODELS, UNFINISHED, Job, JobStatus
from jobs.monitor import LEASE_SECONDS
from ml.errors import Cancelled, EngineFailed, EngineUnavailable, MlError

log = logging.getLogger(__name__)

RUNNERS = {"tts": "tts.services", "stt": "stt.services"}
"""Modules whose `run(job=…)` computes a claimed job and ends it as succeeded, or raises."""

SLOT_WAIT_SECONDS = 2
"""When a job tries again that found as many of its organisation's jobs running as may."""


class Later(Exception):
    """The task is to run again after `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


def enqueue(job: Job) -> None:
    """Puts a queued job's task beside its row, in the transaction that makes the row."""
    from jobs.tasks import run

    if not connection.in_atomic_block:
        raise RuntimeError("A job's row and task are written in one transaction.")
    run.configure(queue=job.task).defer(kind=job.task, job_id=str(job.id))


def run_job(kind: str, job_id: uuid.UUID) -> None:
    """Claims and runs a job. Raises `Later` where it should be tried again; never anything else."""
    try:
        job = _claim(kind, job_id)
        if job is not None:
            context.request_id.set(job.request_id)
            context.organization_id.set(str(job.organization_id))
            _run_claimed(job)
    except Later:
        raise
    except Exception:
        log.exception("the job's state could not be written; another attempt follows", extra={"job_id": str(job_id)})
        raise Later(int(LEASE_SECONDS)) from None
    finally:
        connection.close()


def _claim(kind: str, job_id: uuid.UUID) -> Job | None:
    """The job, now ours; None when it has ended or used up its attempts; `Later` while another worker may have it."""
    model = apps.get_model(MODELS[kind])
    now = timezone.now()
    lost = Q(status=JobStatus.PROCESSING, heartbeat_at__lt=now - timedelta(seconds=LEASE_SECONDS))
    claimed = model._default_manager.filter(Q(status=JobStatus.QUEUED) | lost, id=job_id).update(
        status=JobStatus.PROCESSING,
        started_at=now,
        heartbeat_at=now,
        attempts=F("attempts") + 1,
        worker=services.WORKER_NAME,
    )
    job = model._default_manager.select_related("organization__quota", "user", "api_key").filter(id=job_id).first()
    if job is None or not claimed:
        if job is not None and job.status == JobStatus.PROCESSING:
            raise Later(int(LEASE_SECONDS))
        return None
    if job.attempts > settings.JOB_MAX_ATTEMPTS:
        services.end_without_result(
            job,
            status=JobStatus.FAILED,
            code="worker_lost",
            message=f"The worker was lost {settings.JOB_MAX_ATTEMPTS} times while it ran this job.",
        )
        return None
    _wait_for_slot(job)
    return job


def _wait_for_slot(job: Job) -> None:
    """Gives a claimed job back, to be run later, where its organisation has more running than it may."""
    limit = quota.limits_of(job.organization).concurrent_jobs
    if limit is None:
        return
    with transaction.atomic():
        services.lock_organization(job.organization_id)
        if selectors.count_running(job.organization_id) <= limit:
            return
        type(job)._default_manager.filter(id=job.id, status=JobStatus.PROCESSING, attempts=job.attempts).update(
            status=JobStatus.QUEUED, attempts=F("attempts") - 1, started_at=None, worker=""
        )
    raise Later(SLOT_WAIT_SECONDS)


def _run_claimed(job: Job) -> None:
    runner: Callable[..., object] = import_module(RUNNERS[job.task]).run
    try:
        runner(job=job)
    except Cancelled:
        if _draining:
            _hand_back(job, "the worker is being stopped")
            raise Later(1) from None
        services.end_cancelled(job)
    except (EngineUnavailable, EngineFailed, errors.Unavailable) as error:
        _retry_or_fail(job, error.code, error.message)
    except (MlError, errors.ApiError) as error:
        services.end_without_result(job, status=JobStatus.FAILED, code=error.code, message=error.message)
    except Exception:
        log.exception("job failed", extra={"job_id": str(job.id), "attempt": job.attempts})
        _retry_or_fail(job, "internal_error", "A fault of the server.")


def _retry_or_fail(job: Job, code: str, message: str) -> None:
    if job.attempts >= settings.JOB_MAX_ATTEMPTS:
        services.end_without_result(job, status=JobStatus.FAILED, code=code, message=message)
        return
    _hand_back(job, message)
    raise Later(min(60, 2**job.attempts))


def _hand_back(job: Job, why: str) -> None:
    log.warning("job goes back to the queue", extra={"job_id": str(job.id), "attempt": job.attempts, "reason": why})
    type(job)._default_manager.filter(id=job.id, status=JobStatus.PROCESSING, attempts=job.attempts).update(
        status=JobStatus.QUEUED, progress=0, stage="", worker=""
    )


def fail_interrupted() -> int:
    """Ends synchronous jobs whose process died: their clients are gone, so nobody waits for another attempt."""
    before = timezone.now() - timedelta(seconds=2 * LEASE_SECONDS)
    ended = 0
    for label in MODELS.values():
        lost = apps.get_model(label)._default_manager.filter(
            status=JobStatus.PROCESSING, is_async=False, heartbeat_at__lt=before
        )
        for job in lost.select_related("organization__quota").order_by("created_at")[:1000]:
            ended += services.end_without_result(
                job,
                status=JobStatus.FAILED,
                code="interrupted",
                message="The server was stopped while it ran this job.",
            )
    return ended


def release_reservations() -> int:
    """Ends reservations that nobody will settle: the process was lost while it stopped, or the limit was lifted."""
    before = timezone.now() - timedelta(seconds=2 * LEASE_SECONDS)
    released = 0
    for task, label in MODELS.items():
        # A job that has just ended may still be settled by the process that computed it.
        alive = apps.get_model(label)._default_manager.filter(Q(status__in=UNFINISHED) | Q(finished_at__gt=before))
        left = Reservation.objects.filter(task=task, created_at__lt=before).exclude(job_id__in=alive.values("id"))
        for job_id in left.values_list("job_id", flat=True)[:1000]:
            released += quota.release(job_id) is not None
    return released


_draining = False


def drain(on: bool) -> None:
    """While it is on, jobs whose computing is stopped go back to the queue instead of ending as cancelled."""
    global _draining  # noqa: PLW0603  (whether this process is being stopped)
    _draining = on
