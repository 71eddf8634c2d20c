"""Deletes what is no longer to be kept, and keeps the proof."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import Organization
from audit import services as audit
from common import errors, storage
from common.models import write
from jobs import announcing, idempotency
from jobs import services as jobs
from jobs.models import UNFINISHED, Job
from retention.models import DeletionRecord, Reason
from stt.models import SttJob, Transcription
from tts.models import TtsJob
from tts.voices.models import Consent, Voice

log = logging.getLogger(__name__)

BATCH = 500
"""Jobs that one pass of a purge takes at once; memory and transactions stay small."""


def record(
    *, organization_id: uuid.UUID, object_type: str, object_id: uuid.UUID, reason: str, files: int, by: str = ""
) -> None:
    DeletionRecord.objects.create(
        organization_id=organization_id,
        object_type=object_type,
        object_id=object_id,
        reason=reason,
        stored_objects=files,
        deleted_by=by,
    )


# ── Retention ───────────────────────────────────────────────────────────────────────────────────────────────────────


def purge(*, now: datetime | None = None) -> int:
    """Deletes audio and transcripts that are older than their organisation keeps them; how many jobs it touched.

    Zero days keeps nothing after the answer: what a queued job or an audio link still needs lives as long as the link.
    """
    now = now or timezone.now()
    touched = 0
    for organization in Organization.objects.exclude(audio_retention_days=None, transcript_retention_days=None):
        if organization.audio_retention_days is not None:
            before = _deadline(now, organization.audio_retention_days)
            touched += _purge_audio(organization, before)
        if organization.transcript_retention_days is not None:
            before = _deadline(now, organization.transcript_retention_days)
            touched += _purge_texts(organization, before)
    return touched


def _deadline(now: datetime, days: int) -> datetime:
    return now - (timedelta(days=days) if days else timedelta(seconds=settings.AUDIO_URL_TTL_SECONDS))


def _purge_audio(organization: Organization, before: datetime) -> int:
    old = {"organization": organization, "finished_at__lt": before}
    spoken = TtsJob.objects.filter(**old).exclude(audio_key="")
    heard = SttJob.objects.filter(**old).exclude(Q(audio=None) & Q(reference_key="")).select_related("audio")
    return _each(spoken, delete_audio) + _each(heard, delete_audio)


def _purge_texts(organization: Organization, before: datetime) -> int:
    old = {"organization": organization, "finished_at__lt": before}
    spoken = TtsJob.objects.filter(**old).exclude(text="")
    heard = SttJob.objects.filter(**old).exclude(transcription=None, filename="")
    return _each(spoken, delete_text) + _each(heard, delete_text)


def _each(rows: QuerySet, delete: Callable[..., None]) -> int:
    touched = 0
    while batch := list(rows.order_by("finished_at")[:BATCH]):
        for job in batch:
            delete(job=job, reason=Reason.RETENTION)
        touched += len(batch)
    return touched


def delete_audio(*, job: Job, reason: str, by: str = "") -> None:
    """Deletes a job's audio from the storage and from its row."""
    files = 0
    if isinstance(job, TtsJob):
        files = _delete_objects(job.audio_key)
        TtsJob.objects.filter(id=job.id).update(audio_key="")
        job.audio_key = ""
    elif isinstance(job, SttJob):
        audio = job.audio
        files = _delete_objects(job.reference_key, audio.key if audio else "")
        SttJob.objects.filter(id=job.id).update(audio=None, reference_key="")
        job.audio, job.reference_key = None, ""
        if audio is not None:
            audio.delete()
    record(
        organization_id=job.organization_id,
        object_type="audio",
        object_id=job.id,
        reason=reason,
        files=files,
        by=by,
    )


def delete_text(*, job: Job, reason: str, by: str = "") -> None:
    """Deletes what was said; times, sizes and usage stay."""
    idempotency.forget(job=job)
    if isinstance(job, TtsJob):
        options = {name: value for name, value in job.options.items() if name != "lexicon"}  # it may bring words
        TtsJob.objects.filter(id=job.id).update(
            text="", options=options, timestamps=None, verification=None, warnings=None
        )
    else:
        Transcription.objects.filter(job_id=job.id).delete()
        SttJob.objects.filter(id=job.id).update(options={}, filename="")
    announcing.deleted(job)
    record(
        organization_id=job.organization_id,
        object_type="transcript",
        object_id=job.id,
        reason=reason,
        files=0,
        by=by,
    )


def delete_job(*, actor: Actor, job: Job) -> None:
    """Deletes a finished job: its row, its audio and all that was derived."""
    keys = [job.audio_key] if isinstance(job, TtsJob) else _stt_keys(job)
    files = _delete_objects(*keys)
    idempotency.forget(job=job)
    with transaction.atomic():
        audio = getattr(job, "audio", None)
        record(
            organization_id=job.organization_id,
            object_type=f"{job.task}_job",
            object_id=job.id,
            reason=Reason.REQUEST,
            files=files,
            by=actor.id,
        )
        jobs.delete(job, actor=actor)
        if audio is not None:
            audio.delete()


def forget_at_once(*, job: Job, organization: Organization) -> None:
    """After the answer of a synchronous transcription: an organisation that keeps nothing has nothing kept."""
    if organization.audio_retention_days == 0 and isinstance(job, SttJob):
        delete_audio(job=job, reason=Reason.RETENTION)
    if organization.transcript_retention_days == 0:
        delete_text(job=job, reason=Reason.RETENTION)


def _stt_keys(job: Job) -> list[str]:
    if not isinstance(job, SttJob):
        return []
    return [job.reference_key, job.audio.key if job.audio else ""]


def _delete_objects(*keys: str) -> int:
    """Deletes what exists; raises Unavailable rather than forget an object that the storage would not delete."""
    present = [key for key in keys if key]
    for key in present:
        storage.delete_or_fail(key)
    return len(present)


# ── An organisation's end ───────────────────────────────────────────────────────────────────────────────────────────


def delete_organization(*, organization: Organization, by: str = "") -> int:
    """Deletes an organisation with all that it owns; how many stored files went. Users stay, they may be in others.

    Its credentials stop working first, so that nothing new is made meanwhile; audio goes before rows, so that nothing
    is left that no row names.
    """
    organization_id = organization.id  # deleting the row takes it away
    Organization.objects.filter(id=organization_id).update(is_active=False)
    for model in (TtsJob, SttJob):
        running = model.objects.filter(organization=organization, status__in=UNFINISHED)
        for job in running:
            jobs.cancel(job, actor=None)
    files = 0
    for key in _all_keys(organization):
        storage.delete_or_fail(key)
        files += 1
    with transaction.atomic(), audit.deletion_allowed():
        audit.record(
            actor=None, action="organization.deleted", target=organization, by=by
        )  # in nobody's trail: it stays
        record(
            organization_id=organization.id,
            object_type="organization",
            object_id=organization.id,
            reason=Reason.ORGANIZATION,
            files=files,
            by=by,
        )
        organization.delete()
    _delete_strays(organization_id)
    log.warning("organisation deleted", extra={"organization_id": str(organization_id), "files": files})
    return files


def _delete_strays(organization_id: uuid.UUID) -> None:
    """Objects that no row names: of workers that were killed, or that stored while the organisation was deleted."""
    try:
        strays = storage.delete_below(str(organization_id))
    except Exception:
        log.exception(
            "could not look for objects of a deleted organisation", extra={"organization_id": organization_id}
        )
    else:
        log.info("stray objects deleted", extra={"organization_id": str(organization_id), "files": strays})


def _all_keys(organization: Organization) -> list[str]:
    spoken = TtsJob.objects.filter(organization=organization).exclude(audio_key="").values_list("audio_key", flat=True)
    heard = SttJob.objects.filter(organization=organization)
    recordings = heard.exclude(audio=None).values_list("audio__key", flat=True)
    references = heard.exclude(reference_key="").values_list("reference_key", flat=True)
    voices = [key for voice in Voice.objects.filter(organization=organization) for key in voice.keys]
    consents = Consent.objects.filter(organization=organization).exclude(audio_key="")
    return [*spoken, *recordings, *references, *voices, *consents.values_list("audio_key", flat=True)]


def update_organization(*, actor: Actor, changes: dict[str, Any]) -> Organization:
    organization = actor.organization
    with transaction.atomic():
        if written := write(organization, changes):
            audit.record(actor=actor, action="organization.changed", target=organization, changes=written)
    return organization


def require_confirmation(*, actor: Actor, confirm: str) -> None:
    if confirm != actor.organization.slug:
        raise errors.InvalidRequest(
            f"To delete the organisation, send its slug ({actor.organization.slug}) as confirm.",
            param="confirm",
            code="confirmation_required",
        )
