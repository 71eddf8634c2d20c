"""The life cycle: how a job starts, ends and is accounted for."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.apps import apps
from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import Organization
from analytics import quota
from analytics import services as usage
from audit import services as audit
from common import context, db, errors, outages
from jobs import announcing, selectors, turns
from jobs.models import MODELS, UNFINISHED, Job, JobStatus
from jobs.monitor import monitor
from ml.errors import Cancelled, MlError
from observability import metrics

log = logging.getLogger(__name__)

WORKER_NAME = f"{socket.gethostname()}:{os.getpid()}"

_KEPT = ("id", "created_at", "organization_id", "heartbeat_at", "attempts")

SLOT_RETRY_SECONDS = 2
BATCH_SLOT_SECONDS = 60
"""How long an item of a batch waits for others of its organisation to end."""

PATIENCE_SECONDS, QUEUED_PATIENCE_SECONDS = 15, 300
"""How long the end of a job is tried to be written while the database does not answer."""

INTERRUPTED = "The server was stopped while it ran this job."

SomeJob = TypeVar("SomeJob", bound=Job)


def credentials(actor: Actor) -> dict[str, Any]:
    """The fields of a new job that say whose it is."""
    return {
        "organization": actor.organization,
        "user": actor.user,
        "api_key": actor.api_key,
        "request_id": context.request_id.get(),
    }


def running_now() -> dict[str, Any]:
    """The fields of a new job that runs while its client waits."""
    now = timezone.now()
    times = {"created_at": now, "started_at": now, "heartbeat_at": now}
    return {"status": JobStatus.PROCESSING, **times, "worker": WORKER_NAME}


def create(job: SomeJob, *, wanted: quota.Amounts = quota.Amounts()) -> SomeJob:  # noqa: B008  frozen
    """Writes a new job's row with what it reserves, and a queued job's task.

    Raises, and then there is no row: QuotaExceeded; RateLimited `concurrency_limit` for a job that would run now while
    as many of its organisation's run as may. A queued job waits for its turn instead (`jobs.queue`).
    """
    from jobs import queue

    limits = quota.limits_of(job.organization)
    if not (job.is_async and job.batch_id):  # one of many that only wait is not what this request is about
        context.job_id.set(str(job.id))
    if limits.none and not job.is_async:
        job.save(force_insert=True)
        return job
    try:
        with transaction.atomic():
            if limits.concurrent_jobs is not None and job.status == JobStatus.PROCESSING:
                _take_slot(job.organization_id, limits.concurrent_jobs)
            if job.is_async:
                job.turn = turns.next_turn(job)
            job.save(force_insert=True)
            if wanted:
                quota.reserve(job, wanted)
            if job.is_async:
                queue.enqueue(job)
    except errors.QuotaExceeded:
        quota.warn_of_refusal(job.organization)
        raise
    return job


def _take_slot(organization_id: uuid.UUID, limit: int) -> None:
    lock_organization(organization_id)
    if selectors.count_running(organization_id) >= limit:
        raise errors.RateLimited(
            f"The organisation may have {limit} jobs running at once; wait for one to end, or send async=true.",
            code="concurrency_limit",
            retry_after_seconds=SLOT_RETRY_SECONDS,
        )


def lock_organization(organization_id: uuid.UUID) -> None:
    """Until the transaction ends, nobody else counts the organisation's running jobs. Rows may still refer to it."""
    Organization.objects.select_for_update(no_key=True).filter(id=organization_id).values_list("id").first()


def created_in_turn(make: Callable[[], SomeJob], *, in_batch: bool, cancel: threading.Event) -> SomeJob:
    """The job that `make` creates. An item of a batch waits while the concurrency limit refuses it."""
    deadline = time.monotonic() + (BATCH_SLOT_SECONDS if in_batch else 0)
    while True:
        try:
            return make()
        except errors.RateLimited:
            if time.monotonic() >= deadline:
                raise
        with db.released():
            if cancel.wait(0.1):
                raise Cancelled("The client left.")


@contextmanager
def ending(job: Job) -> Iterator[None]:
    """Whatever the block raises ends the job: as failed, or as cancelled with what was computed until then billed."""
    try:
        yield
    except Cancelled:
        if monitor.stopping:
            end_without_result(job, status=JobStatus.FAILED, code="interrupted", message=INTERRUPTED)
            raise errors.Unavailable(
                "The server is being stopped; send the request again.", code="server_stopping", retry_after_seconds=1
            ) from None
        end_cancelled(job, code="client_disconnected", message="The client left before the end.")
        raise
    except (MlError, errors.ApiError) as error:
        end_without_result(job, status=JobStatus.FAILED, code=error.code, message=error.message)
        raise
    except BaseException as error:
        known = outages.recognise(error)
        if known is None:
            known = errors.ApiError("A fault of the server.")
            log.exception("job failed", extra={"job_id": str(job.id)})
        # A database that did not answer has been waited for.
        patience = 0 if isinstance(error, outages.DATABASE_ERRORS) else PATIENCE_SECONDS
        end_without_result(
            job, status=JobStatus.FAILED, code=known.code, message=known.message, patience_seconds=patience
        )
        raise


def succeed(job: SomeJob, *, metered: usage.Metered, save_result: Callable[[], None] = lambda: None) -> SomeJob:
    """Writes the result, the state and the usage record together. A job that was ended meanwhile stays as it is.

    The job's changed fields are those that the caller set on `job`.
    """
    job.status, job.finished_at, job.progress, job.stage = JobStatus.SUCCEEDED, timezone.now(), 1.0, ""

    def write() -> None:
        save_result()
        usage.record(job=job, metered=metered)
        _ended(job)

    if not _end(job, write):
        raise Cancelled("The job was cancelled or deleted while it ran.")
    metrics.job_computed(
        task=job.task,
        model=metered.model,
        audio_seconds=metered.audio_seconds,
        compute_seconds=metered.compute_seconds,
    )
    return job


def end_without_result(
    job: Job,
    *,
    status: str,
    code: str,
    message: str,
    metered: usage.Metered | None = None,
    patience_seconds: float | None = None,
) -> bool:
    """Ends a job as failed or cancelled; False when it had ended already.

    metered: what was computed before a cancellation; a failure bills nothing.
    patience_seconds: how long a database that does not answer is waited for, where not as usual.
    """
    job.status, job.finished_at = status, timezone.now()
    job.error_code, job.error_message = code, message

    def write() -> None:
        usage.record(job=job, metered=metered or usage.Metered())
        _ended(job)

    return _end(job, write, patience_seconds)


def end_session(job: Job, error: BaseException | None, *, metered: usage.Metered) -> None:
    """Ends the job of a live session that came to no end of its own: as failed by `error`, or else as cancelled,
    because the client left. metered: what was done until then is billed."""
    status, code, message = _end_of(error)
    if not end_without_result(job, status=status, code=code, message=message, metered=metered):
        end_cancelled(job)  # somebody else cancelled it: what was done is billed all the same


def _end_of(error: BaseException | None) -> tuple[str, str, str]:
    """Status, code and message."""
    if error is None:
        return JobStatus.CANCELLED, "client_disconnected", "The client left before the end."
    if isinstance(error, Cancelled):
        return JobStatus.CANCELLED, "cancelled", "The job was cancelled."
    if isinstance(error, errors.ApiError | MlError):
        return JobStatus.FAILED, error.code, error.message
    return JobStatus.FAILED, "internal_error", "A fault of the server."


def cancel(job: Job, *, actor: Actor | None) -> bool:
    """Cancels a job that has not ended; False when it had. Whoever computes it stops, and bills what was done."""
    rows = type(job)._default_manager.filter(id=job.id)
    end = {
        "status": JobStatus.CANCELLED,
        "finished_at": timezone.now(),
        "error_code": "cancelled",
        "error_message": "The job was cancelled.",
    }
    with transaction.atomic():
        queued = rows.filter(status=JobStatus.QUEUED).update(**end)
        if not queued and not rows.filter(status=JobStatus.PROCESSING).update(**end):
            return False
        for field, value in end.items():
            setattr(job, field, value)
        if queued:
            usage.record(job=job, metered=usage.Metered())
        _ended(job)
        audit.record(actor=actor, action="job.cancelled", target=job)
    _count_end(job)
    return True


def _ended(job: Job) -> None:
    """In the transaction that ends it: whoever listens is told, and whoever waits for its slot is called."""
    announcing.ended(job)
    if quota.limits_of(job.organization).concurrent_jobs is not None:
        turns.call_next(job.organization_id)


def delete(job: Job, *, actor: Actor) -> None:
    """Deletes a job that has ended, and what webhooks say of it. Its audio is the caller's to delete."""
    with transaction.atomic():
        audit.record(
            actor=actor, action="job.deleted", target=job, status=job.status, made_at=job.created_at.isoformat()
        )
        announcing.deleted(job)
        job.delete()


@contextmanager
def without_row(*, actor: Actor, task: str) -> Iterator[Job]:
    """For work that is metered like a job's but leaves none: reserve for the job, and set its `metered`.

    When the block ends it is billed; after a cancellation what was done until then, after an error nothing.
    """
    job: Job = apps.get_model(MODELS[task])(**credentials(actor), **running_now())
    quota.require_left(actor.organization, task)
    try:
        yield job
        job.status = JobStatus.SUCCEEDED
    except Cancelled:
        job.status = JobStatus.CANCELLED
        raise
    finally:
        if job.status == JobStatus.PROCESSING:
            quota.release(job.id)
        else:
            with transaction.atomic():
                usage.record(job=job, metered=job.metered or usage.Metered())


def end_cancelled(job: Job, *, code: str = "cancelled", message: str = "The job was cancelled.") -> None:
    """Called by whoever computed a job that was cancelled: ends it unless `cancel` did, and bills what was done."""
    metered = job.metered or usage.Metered()
    if not end_without_result(job, status=JobStatus.CANCELLED, code=code, message=message, metered=metered):
        rows = type(job)._default_manager.filter(id=job.id, status=JobStatus.CANCELLED, attempts=job.attempts)
        if rows.exists():
            usage.record(job=job, metered=metered)


def _end(job: Job, write: Callable[[], None], patience_seconds: float | None = None) -> bool:
    """Writes all of the row's plain fields, unless the job has ended or was taken over: the state machine's guard.

    `write` adds, in the same transaction, what belongs to the end. A database that does not answer is waited for.
    """
    fields = {
        field.attname: getattr(job, field.attname) for field in job._meta.concrete_fields if field.attname not in _KEPT
    }
    rows = type(job)._default_manager.filter(id=job.id, attempts=job.attempts)

    def once() -> bool:
        with transaction.atomic():
            if rows.filter(status__in=UNFINISHED).update(**fields):
                write()
                return True
        # Written before, by a transaction whose answer was lost.
        return rows.filter(status=job.status, finished_at=job.finished_at).exists()

    if patience_seconds is None:
        patience_seconds = QUEUED_PATIENCE_SECONDS if job.is_async else PATIENCE_SECONDS
    ended = db.persistently(once, seconds=patience_seconds)
    if ended:
        _count_end(job)
    return ended


def _count_end(job: Job) -> None:
    begun, ended = job.started_at, job.finished_at
    metrics.job_ended(
        task=job.task,
        status=job.status,
        queued=job.is_async,
        code=job.error_code,
        wait_seconds=(begun - job.created_at).total_seconds() if begun else 0.0,
        run_seconds=(ended - begun).total_seconds() if begun and ended else 0.0,
    )
