"""Transcription: an upload becomes a job, a transcription and a usage record."""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction

from accounts.actors import Actor
from analytics import quota
from analytics.services import Metered
from audit import services as audit
from common import db, errors, storage
from common.concurrency import in_request_context
from common.models import write
from jobs import batches
from jobs import services as jobs
from jobs.models import UNFINISHED, JobStatus
from jobs.monitor import Watch, monitor
from ml import stt as engine
from ml.errors import AudioEmpty, AudioError, MlError
from ml.stt.stages import check_switches
from ml.types import Caller, KnownSpeaker, Segment, Transcript, TranscriptionOptions
from models_registry.trials import Trial
from retention import services as retention
from stt import rollouts, selectors
from stt.models import AudioFile, SttJob, Transcription, TranscriptionDefaults

BATCH_THREADS = os.cpu_count() or 1

_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")

BatchOutcome = SttJob | MlError | errors.ApiError


class Follower(Protocol):
    """Whoever wants to know before the end."""

    def began(self, job: SttJob) -> None:
        """The recording could be read, and its seconds are reserved; only now is it recognised."""
        ...

    def wrote(self, segment: Segment) -> None:
        """The next segment of the transcript; nothing will change it any more."""
        ...


def transcribe(
    *,
    actor: Actor,
    upload: UploadedFile,
    options: TranscriptionOptions,
    reference: UploadedFile | None = None,
    batch_id: uuid.UUID | None = None,
    cancel: threading.Event | None = None,
    follower: Follower | None = None,
) -> SttJob:
    """Recognises the upload; the finished job with its `transcription`. Setting `cancel` stops the computing.

    reference: the far end's signal, for echo cancellation. follower: is told how it goes, in this thread.

    Raises `ml.errors.InvalidRequest` and its kinds, and `TooLarge`, before a job exists; later errors end the job as
    failed. Audio that nobody can decode is not kept.
    """
    verify(options)
    cancel = cancel or threading.Event()
    limit = settings.STT_MAX_UPLOAD_BYTES
    job = _create_job(actor, upload, reference, options, batch_id, jobs.running_now(), limit, cancel)
    with jobs.ending(job):
        _recognise(job, cancel, follower, options.known_speakers)
    retention.forget_at_once(job=job, organization=actor.organization)
    return job


def submit(
    *,
    actor: Actor,
    upload: UploadedFile,
    options: TranscriptionOptions,
    reference: UploadedFile | None = None,
    batch_id: uuid.UUID | None = None,
) -> SttJob:
    """A queued job. Wrong options and sizes are raised now, as by `transcribe`; wrong audio fails the job."""
    verify(options)
    limit = settings.STT_MAX_ASYNC_UPLOAD_BYTES
    return _create_job(actor, upload, reference, options, batch_id, {"is_async": True}, limit, threading.Event())


def run(*, job: SttJob) -> None:
    """Recognises a job that a worker has claimed. Raises what goes wrong; the queue decides what becomes of the job."""
    _recognise(job)


def _recognise(
    job: SttJob,
    client_left: threading.Event | None = None,
    follower: Follower | None = None,
    known_speakers: tuple[KnownSpeaker, ...] = (),
) -> SttJob:
    """Transcribes and ends the job as succeeded. Audio that nobody can decode, or the quota refuses, is not kept."""
    if job.audio is None:
        raise errors.NotFound("The audio has been deleted.", code="audio_deleted")
    heard, stop = _Heard(job, follower), threading.Event()
    caller = Caller(tenant=str(job.organization_id), priority="batch" if job.is_async else "synchronous")
    options = replace(runtime_options(job, None), known_speakers=known_speakers)
    trial = rollouts.trial_of(job, options)
    try:
        with monitor.watching(job, stop, client_left) as watch, db.released(), ExitStack() as files:
            path = files.enter_context(storage.local_copy(job.audio.key))
            reference = files.enter_context(storage.local_copy(job.reference_key)) if job.reference_key else None
            transcript = engine.transcribe(
                path,
                replace(options, reference_audio=reference),
                caller=caller,
                max_duration_seconds=settings.STT_MAX_DURATION_SECONDS,
                cancel=stop,
                progress=heard.reporting(watch),
                on_duration=heard.reserve,
                on_segment=follower.wrote if follower else None,
                trial=rollouts.version_for(trial, job),
            )
    except (AudioError, errors.QuotaExceeded):
        _discard_audio(job)
        raise
    except MlError as error:
        if trial is not None:
            rollouts.failed(trial, job, error)
        raise
    return _save(job, transcript, trial)


def transcribe_batch(
    *,
    actor: Actor,
    uploads: list[UploadedFile],
    options: TranscriptionOptions,
    cancel: threading.Event | None = None,
) -> tuple[uuid.UUID, list[BatchOutcome]]:
    """Recognises each upload, as many at a time as there are cores; an outcome for each, in order."""
    verify(options)

    def one(upload: UploadedFile) -> BatchOutcome:
        try:
            return transcribe(actor=actor, upload=upload, options=options, batch_id=batch_id, cancel=cancel)
        except (MlError, errors.ApiError) as error:
            return error

    with (
        batches.filling(actor=actor, task=SttJob.task, size=len(uploads)) as batch_id,
        db.released(),
        ThreadPoolExecutor(BATCH_THREADS, thread_name_prefix="batch") as threads,
    ):
        return batch_id, list(threads.map(in_request_context(one), uploads))


def submit_batch(
    *, actor: Actor, uploads: list[UploadedFile], options: TranscriptionOptions
) -> tuple[uuid.UUID, list[BatchOutcome]]:
    """Queues each upload; an outcome for each, in order."""
    verify(options)

    def one(upload: UploadedFile) -> BatchOutcome:
        try:
            return submit(actor=actor, upload=upload, options=options, batch_id=batch_id)
        except (MlError, errors.ApiError) as error:
            return error

    with batches.filling(actor=actor, task=SttJob.task, size=len(uploads)) as batch_id:
        return batch_id, [one(upload) for upload in uploads]


def delete_job(*, actor: Actor, job: SttJob) -> None:
    """Cancels a job that has not ended; deletes a finished one with its transcription and audio."""
    if job.status in UNFINISHED and jobs.cancel(job, actor=actor):
        return
    retention.delete_job(actor=actor, job=job)


def with_defaults(
    *, actor: Actor, options: dict[str, Any], otherwise: dict[str, Any] | None = None
) -> TranscriptionOptions:
    """The request's options over the organisation's defaults over the platform's.

    otherwise: defaults of the protocol in which the request came, in place of the platform's.
    """
    defaults = selectors.get_defaults(actor=actor)
    merged: dict[str, Any] = dict(otherwise or {})
    if defaults is not None:
        switches = {name: getattr(defaults, name) for name in ("itn", "punctuate", "profanity_filter", "redact")}
        merged |= {name: value for name, value in switches.items() if value is not None}
        merged["disable"] = tuple(defaults.disable)
    return TranscriptionOptions(**{**merged, **options})


def save_defaults(*, actor: Actor, changes: dict[str, Any]) -> TranscriptionDefaults:
    with transaction.atomic():
        row, _ = TranscriptionDefaults.objects.select_for_update().get_or_create(organization=actor.organization)
        if written := write(row, changes):
            audit.record(actor=actor, action="stt_defaults.changed", changes=written)
    actor.organization.transcription_defaults = row
    return row


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def verify(options: TranscriptionOptions) -> None:
    """Raises for what no installed model can do and for unknown stages, before anything is stored."""
    engine.resolve(options)
    check_switches(options)


def _check_size(upload: UploadedFile, limit: int, param: str) -> None:
    if not upload.size:
        raise AudioEmpty("The file is empty.", param=param)
    if upload.size > limit:
        hint = " Send it with async=true." if limit < settings.STT_MAX_ASYNC_UPLOAD_BYTES else ""
        raise errors.TooLarge(
            f"The file has {upload.size:,} bytes; the limit is {limit:,}.{hint}",
            code="file_too_large",
            param=param,
        )


def _store(actor: Actor, upload: UploadedFile) -> str:
    """Streams the upload to the storage; its key. No transaction is open meanwhile."""
    suffix = Path(upload.name or "").suffix.lower()
    key = storage.new_key(actor.organization.id, "stt", suffix if _SUFFIX.fullmatch(suffix) else ".audio")
    with db.released():  # gigabytes to another machine take minutes
        storage.save(key, upload)
    return key


def _create_job(
    actor: Actor,
    upload: UploadedFile,
    reference: UploadedFile | None,
    options: TranscriptionOptions,
    batch_id: uuid.UUID | None,
    state: dict[str, Any],
    limit: int,
    cancel: threading.Event,
) -> SttJob:
    """Stores the audio, with no transaction open, then writes the rows, and the task of a queued job."""
    _check_size(upload, limit, "audio_file")
    if reference is not None:
        _check_size(reference, limit, "reference_audio")
    quota.require_left(actor.organization, SttJob.task)
    with _stored(actor, upload, reference) as keys:
        return jobs.created_in_turn(
            lambda: _write_rows(actor, upload, options, batch_id, state, *keys),
            in_batch=batch_id is not None,
            cancel=cancel,
        )


def _kind_of(upload: UploadedFile) -> str:
    """What the client calls it, for people to read; empty where it is no text."""
    kind = upload.content_type or ""
    return kind[:100] if kind.isascii() and kind.isprintable() else ""


@contextmanager
def _stored(actor: Actor, upload: UploadedFile, reference: UploadedFile | None) -> Iterator[tuple[str, str]]:
    """The keys of the audio and of the far end's signal (or an empty one). Without a job they are not kept."""
    keys = [_store(actor, upload)]
    try:
        keys.append(_store(actor, reference) if reference is not None else "")
        yield keys[0], keys[1]
    except BaseException:
        for key in keys:
            storage.delete(key)
        raise


def _write_rows(
    actor: Actor,
    upload: UploadedFile,
    options: TranscriptionOptions,
    batch_id: uuid.UUID | None,
    state: dict[str, Any],
    key: str,
    reference_key: str,
) -> SttJob:
    with transaction.atomic():
        audio = AudioFile.objects.create(
            organization=actor.organization,
            filename=(upload.name or "")[:255],
            content_type=_kind_of(upload),
            size_bytes=upload.size or 0,
            key=key,
        )
        return jobs.create(
            SttJob(
                **jobs.credentials(actor),
                **state,
                batch_id=batch_id,
                filename=audio.filename,
                audio=audio,
                options=kept_options(options),
                reference_key=reference_key,
            )
        )


def kept_options(options: TranscriptionOptions) -> dict[str, Any]:
    """Without files, and without voices: whoever is recognised by one is named in the transcript alone."""
    apart = ("reference_audio", "known_speakers")
    return {name: value for name, value in asdict(options).items() if name not in apart}


def runtime_options(job: SttJob, reference: Path | None) -> TranscriptionOptions:
    """The job's options for the runtime. Word times cost nothing more, and subtitles and players need them later."""
    lists = {name: tuple(job.options.get(name, ())) for name in ("hotwords", "disable", "enable")}
    return TranscriptionOptions(**{**job.options, **lists, "word_timestamps": True, "reference_audio": reference})


class _Heard:
    """Reserves the audio once its length is known, and knows how much of it was heard, should the job be stopped."""

    def __init__(self, job: SttJob, follower: Follower | None) -> None:
        self._job, self._follower = job, follower
        self._duration_seconds = 0.0
        self._before: float | None = None  # the share of the work that precedes recognition

    def reserve(self, duration_seconds: float) -> None:
        """Called between decoding and recognising; QuotaExceeded stops the work."""
        self._duration_seconds = duration_seconds
        try:
            quota.reserve(self._job, quota.Amounts.of(audio_seconds=duration_seconds))
        finally:
            connection.close()  # a model runs next: see `db.released`
        if self._follower is not None:
            self._follower.began(self._job)

    def reporting(self, watch: Watch) -> Callable[[float, str], None]:
        """What the engine reports its progress to."""

        def report(share: float, stage: str) -> None:
            watch.report(share, stage)
            if stage == "recognise":
                self._before = share if self._before is None else self._before
                heard = (share - self._before) / (1 - self._before)
                self._job.metered = Metered(audio_seconds=round(heard * self._duration_seconds, 3))

        return report


def _rounded(measured: Mapping[str, float | None]) -> dict[str, float | None]:
    """For people to read: a tenth of a millisecond is finer than any of it is measured. None: it could not be."""
    return {name: None if value is None else round(value, 4) for name, value in measured.items()}


def _save(job: SttJob, transcript: Transcript, trial: Trial | None) -> SttJob:
    job.duration_seconds = transcript.duration_seconds
    job.model = transcript.model_used
    job.timings = _rounded(transcript.timings)
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
        quality=_rounded(asdict(transcript.quality)),
        stages=list(transcript.stages),
    )
    metered = Metered(
        model=transcript.model_used,
        audio_seconds=transcript.duration_seconds * transcript.channels,
        compute_seconds=sum(transcript.timings.values()),
    )
    job.metered = metered

    def save() -> None:
        transcription.save()
        if trial is not None:
            rollouts.heard(trial, job, transcript)

    return jobs.succeed(job, metered=metered, save_result=save)


def _discard_audio(job: SttJob) -> None:
    """Unless the job was taken over: then the audio is another worker's to judge. Its name stays, to know it by."""
    audio, mine = job.audio, SttJob.objects.filter(id=job.id, status=JobStatus.PROCESSING, attempts=job.attempts)
    if audio is None or not mine.update(audio=None):
        return
    job.audio = None
    audio.delete()
    with db.released():
        storage.delete(job.reference_key)
        storage.delete(audio.key)
