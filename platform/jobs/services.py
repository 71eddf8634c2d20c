"""The life cycle: how a job starts, ends and is accounted for."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor
from analytics import services as usage
from common import context, errors
from jobs.models import UNFINISHED, Job, JobStatus
from ml.errors import Cancelled, MlError

log = logging.getLogger(__name__)

SomeJob = TypeVar("SomeJob", bound=Job)


def credentials(actor: Actor) -> dict[str, Any]:
    """The fields of a new job that say whose it is."""
    return {
        "organization": actor.organization,
        "user": actor.user,
        "api_key": actor.api_key,
        "request_id": context.request_id.get(),
    }


@contextmanager
def ending(job: Job) -> Iterator[None]:
    """Whatever the block raises ends the job: as cancelled or failed, with the reason, and never billed."""
    try:
        yield
    except Cancelled:
        end_without_result(job, status=JobStatus.CANCELLED, code="cancelled", message="The request was cancelled.")
        raise
    except (MlError, errors.ApiError) as error:
        end_without_result(job, status=JobStatus.FAILED, code=error.code, message=error.message)
        raise
    except BaseException:
        log.exception("job failed", extra={"job_id": str(job.id)})
        end_without_result(job, status=JobStatus.FAILED, code="internal_error", message="A fault of the server.")
        raise


def succeed(job: SomeJob, *, metered: usage.Metered, save_result: Callable[[], None] = lambda: None) -> SomeJob:
    """Writes the result, the state and the usage record together. A job that was ended meanwhile stays as it is.

    The job's changed fields are those that the caller set on `job`.
    """
    job.status, job.finished_at = JobStatus.SUCCEEDED, timezone.now()
    with transaction.atomic():
        if not _end(job):
            raise errors.Conflict("The job was cancelled or deleted while it ran.", code="job_cancelled")
        save_result()
        usage.record(job=job, metered=metered)
    return job


def end_without_result(job: Job, *, status: str, code: str, message: str, metered: usage.Metered | None = None) -> bool:
    """Ends a job as failed or cancelled; False when it had ended already.

    metered: what was computed before a cancellation; a failure bills nothing.
    """
    job.status, job.finished_at = status, timezone.now()
    job.error_code, job.error_message = code, message
    with transaction.atomic():
        ended = _end(job)
        if ended:
            usage.record(job=job, metered=metered or usage.Metered())
    return ended


def new_batch_id() -> uuid.UUID:
    return uuid.uuid4()


def _end(job: Job) -> bool:
    """Writes all of the row's plain fields, unless the job has ended: the state machine's only guard."""
    fields = {
        field.attname: getattr(job, field.attname)
        for field in job._meta.concrete_fields
        if field.attname not in ("id", "created_at", "organization_id")
    }
    return bool(type(job)._default_manager.filter(id=job.id, status__in=UNFINISHED).update(**fields))
