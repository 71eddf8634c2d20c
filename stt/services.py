"""Transcription: an upload becomes a job, a transcription and a usage record."""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction

from accounts.actors import Actor
from analytics.services import Metered
from common import db, errors, storage
from common.concurrency import in_request_context
from jobs import queue
from jobs import services as jobs
from jobs.models import UNFINISHED
from jobs.monitor import monitor
from ml import stt as engine
from ml.errors import AudioEmpty, AudioError, MlError
from ml.types import Transcript, TranscriptionOptions
from stt.models import AudioFile, SttJob, Transcription

BATCH_THREADS = os.cpu_count() or 1

_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")

BatchOutcome = SttJob | MlError | errors.ApiError


def transcribe(
    *,
    actor: Actor,
    upload: UploadedFile,
    options: TranscriptionOptions,
    batch_id: uuid.UUID | None = None,
    cancel: threading.Event | None = None,
) -> SttJob:
    """Recognises the upload; the finished job with its `transcription`. Setting `cancel` stops the computing.

    Raises `ml.errors.InvalidRequest` and its kinds, and `TooLarge`, before a job exists; later errors end the job as
    failed. Audio that nobody can decode is not kept.
    """
    engine.resolve(options)
    _check_size(upload, settings.STT_MAX_UPLOAD_BYTES)
    cancel = cancel or threading.Event()
    key = _store(actor, upload)
    with transaction.atomic():
        job = _create_job(actor, upload, options, batch_id, jobs.running_now(), key)
    with jobs.ending(job):
        return _recognise(job, _local_path(job, upload), cancel)


def submit(
    *, actor: Actor, upload: UploadedFile, options: TranscriptionOptions, batch_id: uuid.UUID | None = None
) -> SttJob:
    """A queued job. Wrong options and sizes are raised now, as by `transcribe`; wrong audio fails the job."""
    engine.resolve(options)
    _check_size(upload, settings.STT_MAX_ASYNC_UPLOAD_BYTES)
    key = _store(actor, upload)
    with transaction.atomic():
        job = _create_job(actor, upload, options, batch_id, {"is_async": True}, key)
        queue.enqueue(job)
    return job


def run(*, job: SttJob) -> None:
    """Recognises a job that a worker has claimed. Raises what goes wrong; the queue decides what becomes of the job."""
    if job.audio is None:
        raise errors.NotFound("The audio has been deleted.", code="audio_deleted")
    _recognise(job, storage.local_copy(job.audio.key), threading.Event())


def _recognise(job: SttJob, audio: AbstractContextManager[Path], cancel: threading.Event) -> SttJob:
    """Transcribes and ends the job as succeeded. Audio that nobody can decode is not kept."""
    options = TranscriptionOptions(**{**job.options, "hotwords": tuple(job.options.get("hotwords", ()))})
    try:
        with monitor.watching(job, cancel) as watch, db.released(), audio as path:
            # Word times cost nothing more and make subtitles and the dashboard's player possible later.
            transcript = engine.transcribe(
                path,
                replace(options, word_timestamps=True),
                max_duration_seconds=settings.STT_MAX_DURATION_SECONDS,
                cancel=cancel,
                progress=watch.report,
            )
    except AudioError:
        _discard_audio(job)
        raise
    return _save(job, transcript)


def transcribe_batch(
    *,
    actor: Actor,
    uploads: list[UploadedFile],
    options: TranscriptionOptions,
    cancel: threading.Event | None = None,
) -> tuple[uuid.UUID, list[BatchOutcome]]:
    """Recognises each upload, as many at a time as there are cores; an outcome for each, in order."""
    engine.resolve(options)
    batch_id = jobs.new_batch_id()

    def one(upload: UploadedFile) -> BatchOutcome:
        try:
            return transcribe(actor=actor, upload=upload, options=options, batch_id=batch_id, cancel=cancel)
        except (MlError, errors.ApiError) as error:
            return error

    with db.released(), ThreadPoolExecutor(BATCH_THREADS, thread_name_prefix="batch") as threads:
        return batch_id, list(threads.map(in_request_context(one), uploads))


def submit_batch(
    *, actor: Actor, uploads: list[UploadedFile], options: TranscriptionOptions
) -> tuple[uuid.UUID, list[BatchOutcome]]:
    """Queues each upload; an outcome for each, in order."""
    engine.resolve(options)
    batch_id = jobs.new_batch_id()

    def one(upload: UploadedFile) -> BatchOutcome:
        try:
            return submit(actor=actor, upload=upload, options=options, batch_id=batch_id)
        except (MlError, errors.ApiError) as error:
            return error

    return batch_id, [one(upload) for upload in uploads]


def delete_job(*, job: SttJob) -> None:
    """Cancels a job that has not ended; deletes a finished one with its transcription and audio."""
    if job.status in UNFINISHED and jobs.cancel(job):
        return
    _discard_audio(job)
    job.delete()


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_size(upload: UploadedFile, limit: int) -> None:
    if not upload.size:
        raise AudioEmpty("The file is empty.", param="audio_file")
    if upload.size > limit:
        hint = " Send it with async=true." if limit < settings.STT_MAX_ASYNC_UPLOAD_BYTES else ""
        raise errors.TooLarge(
            f"The file has {upload.size:,} bytes; the limit is {limit:,}.{hint}",
            code="file_too_large",
            param="audio_file",
        )


def _store(actor: Actor, upload: UploadedFile) -> str:
    """Streams the upload to the storage; its key. No transaction is open meanwhile."""
    suffix = Path(upload.name or "").suffix.lower()
    key = storage.new_key(actor.organization.id, "stt", suffix if _SUFFIX.fullmatch(suffix) else ".audio")
    storage.save(key, upload)
    return key


def _create_job(
    actor: Actor,
    upload: UploadedFile,
    options: TranscriptionOptions,
    batch_id: uuid.UUID | None,
    state: dict[str, Any],
    key: str,
) -> SttJob:
    audio = AudioFile.objects.create(
        organization=actor.organization,
        filename=(upload.name or "")[:255],
        content_type=(upload.content_type or "")[:100],
        size_bytes=upload.size or 0,
        key=key,
    )
    return SttJob.objects.create(
        **jobs.credentials(actor), **state, batch_id=batch_id, audio=audio, options=asdict(options)
    )


@contextmanager
def _local_path(job: SttJob, upload: UploadedFile) -> Iterator[Path]:
    """Where the audio can be read: the upload's temporary file while it is there, else the stored object."""
    temporary = Path(upload.temporary_file_path()) if hasattr(upload, "temporary_file_path") else None
    if temporary and temporary.exists():
        yield temporary
        return
    with storage.local_copy(job.audio.key) as path:  # type: ignore[union-attr]
        yield path


def _save(job: SttJob, transcript: Transcript) -> SttJob:
    job.duration_seconds = transcript.duration_seconds
    job.model = transcript.model_used
    job.timings = transcript.timings
    transcription = Transcription(
        organization_id=job.organization_id,
        job=job,
        text=transcript.text,
        language=transcript.language,
        language_confidence=transcript.language_confidence,
        confidence=transcript.confidence,
        segments=[asdict(segment) for segment in transcript.segments],
        model_used=transcript.model_used,
        fallback_reason=transcript.fallback_reason or "",
        quality=asdict(transcript.quality),
        stages=list(transcript.stages),
    )
    metered = Metered(
        model=transcript.model_used,
        audio_seconds=transcript.duration_seconds,
        compute_seconds=sum(transcript.timings.values()),
    )
    return jobs.succeed(job, metered=metered, save_result=transcription.save)


def _discard_audio(job: SttJob) -> None:
    audio = job.audio
    if audio is not None:
        storage.delete(audio.key)
        SttJob.objects.filter(id=job.id).update(audio=None)
        audio.delete()
        job.audio = None
