"""People correct transcripts, and try failed recordings again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.files import File
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor
from common import errors, storage
from jobs.models import JobStatus
from ml.types import TranscriptionOptions
from stt import services
from stt.models import SttJob, Transcription

MAX_SEGMENT_CHARACTERS = 10_000


def edit_transcription(*, actor: Actor, job: SttJob, texts: Mapping[int, str]) -> Transcription:
    """Writes new texts for some segments, by their place. Times stay.

    Words keep their times where a segment has as many as before; else the segment is left without words. Raises
    `Conflict` for a job without a transcription, `InvalidRequest` for a segment that does not exist or is left empty.
    """
    with transaction.atomic():
        row = Transcription.objects.select_for_update().filter(job=job, organization=actor.organization).first()
        if row is None:
            raise errors.Conflict(f"The job is {job.status}: it has no transcription.", code="job_not_succeeded")
        before = list(row.segments)
        for place, text in texts.items():
            if not 0 <= place < len(row.segments):
                raise errors.InvalidRequest(f"There is no segment {place}.", code="unknown_segment", param="segments")
            row.segments[place] = _with_text(row.segments[place], " ".join(text.split()))
        if row.segments == before:
            return row
        row.text = " ".join(segment["text"] for segment in row.segments)
        row.edited_at = timezone.now()
        row.save(update_fields=["segments", "text", "edited_at"])
    return row


def _with_text(segment: dict[str, Any], text: str) -> dict[str, Any]:
    if not text:
        raise errors.InvalidRequest("A segment needs some text.", code="empty_segment", param="segments")
    if text == segment["text"]:
        return segment
    written, words = text.split(), segment.get("words") or []
    if len(written) != len(words):
        return {**segment, "text": text, "words": []}
    return {**segment, "text": text, "words": [{**word, "text": new} for word, new in zip(words, written, strict=True)]}


def retry(*, actor: Actor, job: SttJob) -> SttJob:
    """A new queued job for the recording of one that failed or was cancelled, with the same options.

    Raises `Conflict` for other jobs and for recordings that are not kept; otherwise as `services.submit`.
    """
    if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise errors.Conflict(f"The job is {job.status}; only failed and cancelled jobs can be retried.")
    if job.audio is None:
        raise errors.Conflict("The recording is not kept; send it again.", code="audio_deleted")
    lists = {name: tuple(job.options.get(name, ())) for name in ("hotwords", "disable", "enable")}
    options = TranscriptionOptions(**{**job.options, **lists})
    with storage.local_copy(job.audio.key) as path, path.open("rb") as content:
        upload = UploadedFile(
            File(content), name=job.audio.filename, content_type=job.audio.content_type, size=job.audio.size_bytes
        )
        return services.submit(actor=actor, upload=upload, options=options)
