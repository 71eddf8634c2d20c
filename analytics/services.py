"""Writes usage records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def record(*, job: Job, metered: Metered) -> UsageRecord:
    """The job's one record. Call it in the transaction that ends the job."""
    return UsageRecord.objects.create(
        organization_id=job.organization_id,
        task=job.task,  # type: ignore[attr-defined]
        job_id=job.id,
        status=job.status,
        user_id=job.user_id,
        api_key_id=job.api_key_id,
        model=metered.model,
        characters=metered.characters,
        audio_seconds=metered.audio_seconds,
        compute_seconds=metered.compute_seconds,
    )
