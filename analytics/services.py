"""Writes usage records, and settles what was reserved for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analytics import quota
from analytics.models import UsageRecord

if TYPE_CHECKING:
    from jobs.models import Job


@dataclass(frozen=True, slots=True)
class Metered:
    """What a job used, in the units that are billed."""

    model: str = ""
    characters: int = 0
    audio_seconds: float = 0.0
    compute_seconds: float = 0.0


def record(*, job: Job, metered: Metered) -> None:
    """The job's one record, its reservation settled; a second call changes nothing. In the transaction that ends it."""
    UsageRecord.objects.bulk_create([_new_record(job, metered)], ignore_conflicts=True)
    quota.settle(job, metered)


def _new_record(job: Job, metered: Metered) -> UsageRecord:
    return UsageRecord(
        organization_id=job.organization_id,
        task=job.task,
        job_id=job.id,
        status=job.status,
        user_id=job.user_id,
        api_key_id=job.api_key_id,
        model=metered.model,
        characters=metered.characters,
        audio_seconds=metered.audio_seconds,
        compute_seconds=metered.compute_seconds,
    )
