"""How a job gets from its row to a worker: enqueued in the row's transaction, claimed once, run at most N times."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from analytics import quota
from analytics.models import Reservation
from common import context, errors, outages
from jobs import selectors, services, turns
from jobs.models import MODELS, UNFINISHED, Job, JobStatus
from jobs.monitor import LEASE_SECONDS, monitor
from ml.errors import Cancelled, EngineFailed, EngineUnavailable, MlError
from observability import tracing

log = logging.getLogger(__name__)

RUNNERS = {"tts": "tts.services", "stt": "stt.services"}
"""Modules whose `run(job=…)` computes a claimed job and ends it as succeeded, or raises."""

LONGEST_WAIT_SECONDS = 60
"""Until a job is tried again that could not be run."""
ROWLESS_LIFETIME = timedelta(hours=6)
"""Work without a row (`services.without_row`) gives no sign of life; what it reserved is its own for so long."""
LAST_ATTEMPT_WAIT_SECONDS = 2


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
    # Only where it is traced: workers of the version before know no such argument.
    carried = {"traceparent": traceparent} if (traceparent := tracing.traceparent()) else {}
    run.configure(queue=job.task, priority=-job.turn).defer(kind=job.task, job_id=str(job.id), **carried)


def run_job(kind: str, job_id: uuid.UUID, traceparent: str = "") -> None:
    """Claims and runs a job. Raises `Later` where it should be tried again; never anything else.

    traceparent: of the request that asked for it.
    """
    context.begin("", job=str(job_id), trace=tracing.trace_id_of(traceparent))
    try:
        job = _claim(kind, job_id)
        if job is not None:
            context.request_id.set(job.request_id)
            context.organization_id.set(str(job.organization_id))
            with tracing.span("job", kind="consumer", parent=traceparent, task=kind, attempt=job.attempts) as span:
                tracing.past("queue", job.created_at, job.started_at or job.created_at, queue=kind)
                with _alone_if_last(job):
                    _run_claimed(job)
                span.note(status=job.status)
                _log_end(job)
    except Later:
        raise
    except Exception:
        log.exception("the job's state could not be written; another attempt follows", extra={"job_id": str(job_id)})
        raise Later(int(LEASE_SECONDS)) from None
    finally:
        connection.close()


def _log_end(job: Job) -> None:
    """One line a job, as servers write one a request."""
    begun, ended = job.started_at, job.finished_at
    seconds = (ended - begun).total_seconds() if begun and ended else 0.0
    facts = {"task": job.task, "status": job.status, "attempt": job.attempts, "duration_ms": round(seconds * 1000, 1)}
    log.info("job", extra={**facts, **({"code": job.error_code} if job.error_code else {})})


def _claim(kind: str, job_id: uuid.UUID) -> Job | None:
    """The job, now ours; None when it has ended or used up its attempts; `Later` while another worker may have it, or
    where its organisation has as many running as may."""
    rows = apps.get_model(MODELS[kind])._default_manager.filter(id=job_id)
    job = rows.select_related("organization__quota", "user", "api_key").first()
    if job is None:
        return None
    if not _take(job):
        status = rows.values_list("status", flat=True).first()
        if status == JobStatus.PROCESSING:
            raise Later(int(LEASE_SECONDS))
        if status == JobStatus.CANCELLED:
            services.end_cancelled(job)  # in place of a worker that died before it could
        return None
    if job.attempts > settings.JOB_MAX_ATTEMPTS:
        services.end_without_result(
            job,
            status=JobStatus.FAILED,
            code="worker_lost",
            message=f"The worker was lost {settings.JOB_MAX_ATTEMPTS} times while it ran this job.",
        )
        return None
    return job


def _take(job: Job) -> bool:
    """Marks the job as ours, in a slot of its organisation's; False where it has ended or is another worker's."""
    limit = quota.limits_of(job.organization).concurrent_jobs
    if limit is None or job.status not in UNFINISHED:
        return _mark(job)
    with transaction.atomic():
        services.lock_organization(job.organization_id)
        if selectors.count_running(job.organization_id, but=job.id) >= limit:
            raise Later(turns.put_off_seconds(job, limit))
        return _mark(job)


def _mark(job: Job) -> bool:
    now = timezone.now()
    lost = Q(status=JobStatus.PROCESSING, heartbeat_at__lt=now - timedelta(seconds=LEASE_SECONDS))
    free = type(job)._default_manager.filter(Q(status=JobStatus.QUEUED) | lost, id=job.id, attempts=job.attempts)
    mark = {
        "status": JobStatus.PROCESSING,
        "started_at": now,
        "heartbeat_at": now,
        "attempts": job.attempts + 1,
        "worker": services.WORKER_NAME,
        "progress": 0,
        "stage": "",
    }
    if not free.update(**mark):
        return False
    for name, value in mark.items():
        setattr(job, name, value)
    return True


_last_attempts = threading.Lock()


@contextmanager
def _alone_if_last(job: Job) -> Iterator[None]:
    """A process runs one job at a time of those whose last attempt it is; the others come later.

    A job that kills its worker each time takes along what runs beside it. Those are tried again with it, and would
    fail with it: in the end it dies alone.
    """
    if job.attempts < max(2, settings.JOB_MAX_ATTEMPTS):
        yield
        return
    if not _last_attempts.acquire(blocking=False):
        _hand_back(job, counted=False)
        raise Later(LAST_ATTEMPT_WAIT_SECONDS)
    try:
        yield
    finally:
        _last_attempts.release()


def _run_claimed(job: Job) -> None:
    runner: Callable[..., object] = import_module(RUNNERS[job.task]).run
    try:
        runner(job=job)
    except Cancelled:
        if monitor.stopping and _hand_back(job, counted=False):
            log.info("job goes back to the queue: the worker is being stopped", extra={"job_id": str(job.id)})
            raise Later(1) from None
        services.end_cancelled(job)
    except Exception as error:
        _failed(job, error)


def _failed(job: Job, error: Exception) -> None:
    """What becomes of a job whose computing raised `error`: it waits, is tried again, or has failed."""
    outage = outages.recognise(error)
    if outage is not None:
        _wait_out(job, outage)
    elif isinstance(error, EngineUnavailable | EngineFailed):
        _retry_or_fail(job, error.code, error.message)
    elif isinstance(error, MlError | errors.ApiError):
        services.end_without_result(job, status=JobStatus.FAILED, code=error.code, message=error.message)
    else:
        log.error("job failed", exc_info=error, extra={"job_id": str(job.id), "attempt": job.attempts})
        _retry_or_fail(job, "internal_error", "A fault of the server.")


def _wait_out(job: Job, outage: errors.ApiError) -> None:
    """A storage or a database that is away is no fault of the job's: it waits, the longer the longer it has waited."""
    age = (timezone.now() - job.created_at).total_seconds()
    if age > settings.JOB_PATIENCE_HOURS * 3600:
        services.end_without_result(job, status=JobStatus.FAILED, code=outage.code, message=outage.message)
        return
    log.warning("job waits: %s", outage.message, extra={"job_id": str(job.id)})
    _hand_back(job, counted=False)
    raise Later(round(min(LONGEST_WAIT_SECONDS, 2 + age / 4)))


def _retry_or_fail(job: Job, code: str, message: str) -> None:
    if job.attempts >= settings.JOB_MAX_ATTEMPTS:
        services.end_without_result(job, status=JobStatus.FAILED, code=code, message=message)
        return
    log.warning("job is tried again: %s", message, extra={"job_id": str(job.id), "attempt": job.attempts})
    _hand_back(job, counted=True)
    raise Later(min(LONGEST_WAIT_SECONDS, 2**job.attempts))


def _hand_back(job: Job, *, counted: bool) -> bool:
    """Queues a claimed job again; False when it is no longer ours. counted: whether this was one of its attempts."""
    ours = type(job)._default_manager.filter(id=job.id, status=JobStatus.PROCESSING, attempts=job.attempts)
    attempts = job.attempts if counted else job.attempts - 1
    return bool(
        ours.update(status=JobStatus.QUEUED, attempts=attempts, progress=0, stage="", worker="", started_at=None)
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
                message=services.INTERRUPTED,
            )
    return ended


def release_reservations() -> int:
    """Ends reservations that nobody will settle: the process was lost while it stopped, or the limit was lifted."""
    now = timezone.now()
    before = now - timedelta(seconds=2 * LEASE_SECONDS)
    released = 0
    for task, label in MODELS.items():
        row = apps.get_model(label)._default_manager.filter(id=OuterRef("job_id"))
        # A job that has just ended may still be settled by the process that computed it.
        ended = Exists(row.exclude(status__in=UNFINISHED).filter(finished_at__lte=before))
        rowless = Q(~Exists(row), created_at__lt=now - ROWLESS_LIFETIME)
        left = Reservation.objects.filter(Q(ended) | rowless, task=task, created_at__lt=before)
        for job_id in left.values_list("job_id", flat=True)[:1000]:
            released += quota.release(job_id) is not None
    return released
