"""Synthesis: a text becomes a job, audio in the storage and a usage record."""

from __future__ import annotations

import os
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from accounts.actors import Actor
from accounts.models import Organization
from analytics.quota import Amounts
from analytics.services import Metered
from common import db, errors, storage
from common.concurrency import in_request_context
from jobs import batches
from jobs import services as jobs
from jobs.models import UNFINISHED, JobStatus
from jobs.monitor import monitor
from ml import audio
from ml import tts as engine
from ml.audio import loudness
from ml.errors import Cancelled, MlError
from ml.tts import calibration, pronunciation
from ml.tts.lexicon import Entry
from ml.tts.timeline import Timeline
from ml.types import AudioChunk, Caller, Priority, SynthesisOptions, Voice
from retention import services as retention
from tts import provenance
from tts.models import TtsJob
from tts.options import Settled, SynthesisRequest, kept_options, options_of, request_of, settle
from tts.timer import Timer
from tts.verification import Copy, verify

__all__ = ["SynthesisRequest", "kept_options"]

SPOOL_BYTES = 2 * 1024 * 1024
"""Encoded audio stays in memory up to this size (45 s of 22 kHz wav), then goes to a temporary file."""


BATCH_THREADS = 2 * (os.cpu_count() or 1)
"""Of one batch: enough to keep the engine busy while audio is encoded and stored."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request that has been verified against the engine, and its audio, of which nothing is computed yet."""

    request: SynthesisRequest
    settled: Settled
    voice: Voice
    options: SynthesisOptions  # with the voice settled
    rate: int  # hertz
    chunks: engine.Speech


# ── One text, whole ─────────────────────────────────────────────────────────────────────────────────────────────────


def synthesize(
    *,
    actor: Actor,
    request: SynthesisRequest,
    batch_id: uuid.UUID | None = None,
    cancel: threading.Event | None = None,
) -> TtsJob:
    """Speaks the text and stores the audio; the finished job. Setting `cancel` stops the computing.

    Raises `ml.errors.InvalidRequest` and its kinds before a job exists; later errors end the job as failed.
    """
    cancel, stop = cancel or threading.Event(), threading.Event()
    plan = _plan(request, actor.organization, _caller(actor.organization.id), stop)
    job = jobs.created_in_turn(
        lambda: _create_job(actor, plan, batch_id, jobs.running_now()), in_batch=batch_id is not None, cancel=cancel
    )
    with jobs.ending(job):
        _speak(job, plan.chunks, stop, cancel)
    retention.forget_at_once(job=job, organization=actor.organization)
    return job


def submit(*, actor: Actor, request: SynthesisRequest, batch_id: uuid.UUID | None = None) -> TtsJob:
    """A queued job. What is wrong with the request is raised now, as by `synthesize`."""
    plan = _plan(request, actor.organization, _caller(actor.organization.id, "batch"), None)
    return _create_job(actor, plan, batch_id, {"is_async": True})


def run(*, job: TtsJob) -> None:
    """Speaks a job that a worker has claimed. Raises what goes wrong; the queue decides what becomes of the job."""
    if job.attempts > 1:
        _take_new_key(job)
    stop = threading.Event()
    caller = _caller(job.organization_id, "batch")
    _speak(job, engine.synthesize(job.text, options_of(job), caller=caller, cancel=stop), stop)


def _take_new_key(job: TtsJob) -> None:
    """Each attempt stores its audio under a key of its own: a worker that was thought dead may still be writing."""
    left, job.audio_key = job.audio_key, storage.new_key(job.organization_id, "tts", audio.EXTENSIONS[job.format])
    mine = TtsJob.objects.filter(id=job.id, status=JobStatus.PROCESSING, attempts=job.attempts)
    if not mine.update(audio_key=job.audio_key):
        raise Cancelled("The job was cancelled or taken over.")
    with db.released():
        storage.delete(left)


def _speak(
    job: TtsJob, chunks: Iterator[AudioChunk], stop: threading.Event, client_left: threading.Event | None = None
) -> TtsJob:
    """Encodes the chunks, which `stop` stops, into the storage, and ends the job as succeeded."""
    with (
        monitor.watching(job, stop, client_left) as watch,
        tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file,
        Copy(job.sample_rate) as copy,
    ):
        timer, timeline = Timer(job, watch), Timeline(words=bool(job.options.get("timestamps")))
        passing: Iterator[AudioChunk] = timeline.watched(timer.timed(chunks))
        verified, target = job.options.get("verify"), job.options.get("loudness")
        with db.released():
            if verified:
                passing = copy.kept(passing)
            if target is not None:
                passing = loudness.levelled(passing, job.sample_rate, target)
            encoded = audio.encode_to_file(
                passing, job.format, file, sample_rate=job.sample_rate, tags=provenance.tags(job)
            )
            file.seek(0)
            storage.save(job.audio_key, file)
            if verified:
                watch.report(0.99, "verify")
                job.verification = verify(copy, job.language, _caller(job.organization_id))
        job.duration_seconds = encoded.duration_seconds
        job.timings, job.timestamps = timer.timings(), timeline.told()
        return succeed(job, timer.metered(job.characters))


def succeed(job: TtsJob, metered: Metered) -> TtsJob:
    """Ends a job whose audio is stored. The audio of one that was cancelled, deleted or taken over is not kept."""
    try:
        return jobs.succeed(job, metered=metered)
    except Cancelled:
        storage.delete(job.audio_key)
        raise


# ── One text, streamed ──────────────────────────────────────────────────────────────────────────────────────────────


def synthesize_stream(*, actor: Actor, request: SynthesisRequest) -> tuple[TtsJob, Iterator[bytes]]:
    """The job, and its audio as it is made. What was sent is stored too.

    Closing the iterator early cancels the job and bills the characters that were spoken until then.
    """
    if request.verify:
        raise errors.InvalidRequest("Only a finished text can be verified.", param="verify", code="verify_and_stream")
    cancel, caller = threading.Event(), _caller(actor.organization.id)
    plan = _plan(request, actor.organization, caller, cancel, streaming=True)
    gain_db = _gain_db(plan, caller)
    job = _create_job(actor, plan, None, jobs.running_now())
    timer, timeline = Timer(job), Timeline(words=plan.options.timestamps)
    with jobs.ending(job):
        passing = timeline.watched(timer.timed(plan.chunks))
        if gain_db is not None:
            passing = loudness.turned(passing, plan.rate, gain_db)
        encoded = audio.encode_stream(passing, request.format, sample_rate=plan.rate, tags=provenance.tags(job))
    return job, _Teed(job, timer, timeline, encoded, cancel)


def _gain_db(plan: _Plan, caller: Caller) -> float | None:
    """One for the whole stream, by how loud the voice is."""
    if plan.settled.loudness is None:
        return None
    with db.released():
        return calibration.gain_db(plan.options, plan.settled.loudness, caller=caller)


class _Teed:
    """Passes bytes on, keeps a copy, and ends the job when the bytes do or when it is closed.

    A class rather than a generator: a generator that was never started runs no `finally`.
    """

    def __init__(
        self, job: TtsJob, timer: Timer, timeline: Timeline, encoded: Iterator[bytes], cancel: threading.Event
    ) -> None:
        self._job, self._timer, self._timeline, self._encoded = job, timer, timeline, encoded
        self._watching = ExitStack()  # a slow client's job lives on, and DELETE reaches it, until `close`
        self._watching.enter_context(monitor.watching(job, cancel))
        self._copy = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  (`close` closes it)
        self._ended = False

    def __iter__(self) -> _Teed:
        return self

    def __next__(self) -> bytes:
        with jobs.ending(self._job):
            piece = next(self._encoded, None)
            if piece is None:
                self._finish()
            else:
                self._copy.write(piece)
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        try:
            if not self._ended:
                self._ended = True
                self._end_as_left()
        finally:  # also where the database did not answer
            self._watching.close()
            close = getattr(self._encoded, "close", lambda: None)
            close()
            self._copy.close()

    def _end_as_left(self) -> None:
        jobs.end_without_result(
            self._job,
            status=JobStatus.CANCELLED,
            code="client_disconnected",
            message="The client left before the end of the audio.",
            metered=self._timer.metered(self._timer.characters),
        )

    def _finish(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._copy.seek(0)
        with db.released():
            storage.save(self._job.audio_key, self._copy)
        self._job.duration_seconds = self._timer.audio_seconds
        self._job.timings, self._job.timestamps = self._timer.timings(), self._timeline.told()
        succeed(self._job, self._timer.metered(self._job.characters))


# ── Many texts ──────────────────────────────────────────────────────────────────────────────────────────────────────

BatchOutcome = TtsJob | MlError | errors.ApiError


def synthesize_batch(
    *, actor: Actor, requests: list[SynthesisRequest | errors.ApiError], cancel: threading.Event | None = None
) -> tuple[uuid.UUID, list[BatchOutcome]]:
    """Speaks each text, a few at a time; an outcome for each, in order. One that fails does not stop the others.

    requests: what was asked for, or the error that the item already is.
    """

    def one(request: SynthesisRequest | errors.ApiError) -> BatchOutcome:
        if isinstance(request, errors.ApiError):
            return request
        try:
            if cancel is not None and cancel.is_set():
                raise Cancelled("The request was cancelled.")
            return synthesize(actor=actor, request=request, batch_id=batch_id, cancel=cancel)
        except (MlError, errors.ApiError) as error:
            return error

    with (
        batches.filling(actor=actor, task=TtsJob.task, size=len(requests)) as batch_id,
        db.released(),
        ThreadPoolExecutor(BATCH_THREADS, thread_name_prefix="batch") as threads,
    ):
        return batch_id, list(threads.map(in_request_context(one), requests))


def submit_batch(
    *, actor: Actor, requests: list[SynthesisRequest | errors.ApiError]
) -> tuple[uuid.UUID, list[BatchOutcome]]:
    """Queues each text; an outcome for each, in order. One that is wrong does not stop the others."""

    def one(request: SynthesisRequest | errors.ApiError) -> BatchOutcome:
        if isinstance(request, errors.ApiError):
            return request
        try:
            return submit(actor=actor, request=request, batch_id=batch_id)
        except (MlError, errors.ApiError) as error:
            return error

    with batches.filling(actor=actor, task=TtsJob.task, size=len(requests)) as batch_id:
        return batch_id, [one(request) for request in requests]


def preview(
    *, actor: Actor, request: SynthesisRequest, cancel: threading.Event | None = None
) -> tuple[TtsJob, str, list[Entry]]:
    """A finished job for a short text, its phonemes in the IPA, and the entries that applied. Raises as it."""
    job = synthesize(actor=actor, request=request, cancel=cancel)
    with db.released():
        phonemes, entries = pronunciation.of(job.text, options_of(job))
    return job, phonemes, entries


# ── Deleting ────────────────────────────────────────────────────────────────────────────────────────────────────────


def delete_job(*, actor: Actor, job: TtsJob) -> None:
    """Cancels a job that has not ended; deletes a finished one and its audio."""
    if job.status in UNFINISHED and jobs.cancel(job, actor=actor):
        return
    retention.delete_job(actor=actor, job=job)


def retry(*, actor: Actor, job: TtsJob) -> TtsJob:
    """A new queued job for the text of one that failed or was cancelled. Raises `Conflict` for others."""
    if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise errors.Conflict(f"The job is {job.status}; only failed and cancelled jobs can be retried.")
    return submit(actor=actor, request=request_of(job))


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _caller(organization_id: uuid.UUID, priority: Priority = "synchronous") -> Caller:
    """In whose turn, and before whose work, the engines compute."""
    return Caller(tenant=str(organization_id), priority=priority)


def _plan(
    request: SynthesisRequest,
    organization: Organization,
    caller: Caller,
    cancel: threading.Event | None,
    *,
    streaming: bool = False,
) -> _Plan:
    """Everything that can be wrong with a request is found here, before there is a job."""
    if len(request.text) > settings.TTS_MAX_CHARACTERS:
        raise errors.InvalidRequest(
            f"The text has {len(request.text):,} characters; the limit is {settings.TTS_MAX_CHARACTERS:,}.",
            code="text_too_long",
            param="text",
        )
    settled = settle(request, organization)
    voice = engine.resolve(settled.options)
    native = engine.output_sample_rate(replace(settled.options, sample_rate=None))
    sample_rate = audio.choose_sample_rate(request.format, settled.options.sample_rate, native)
    options = replace(settled.options, voice=voice.id, sample_rate=sample_rate)
    chunks = engine.synthesize(request.text, options, caller=caller, cancel=cancel, streaming=streaming)
    return _Plan(request, settled, voice, options, sample_rate, chunks)


def _create_job(actor: Actor, plan: _Plan, batch_id: uuid.UUID | None, state: dict[str, Any]) -> TtsJob:
    request = plan.request
    job = TtsJob(
        **jobs.credentials(actor),
        **state,
        batch_id=batch_id,
        custom_id=request.custom_id,
        text=request.text,
        characters=len(request.text),
        language=plan.voice.language,
        voice=plan.voice.id,
        model=plan.voice.model,
        format=request.format,
        sample_rate=plan.rate,
        options=plan.settled.kept,
        warnings=list(plan.chunks.warnings) or None,
        audio_key=storage.new_key(actor.organization.id, "tts", audio.EXTENSIONS[request.format]),
    )
    return jobs.create(job, wanted=Amounts(characters=job.characters))
