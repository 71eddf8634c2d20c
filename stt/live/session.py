"""A live session as the database knows it: a job that grows while somebody speaks.

Everything here may block on the database: `listening` calls it in threads.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection

from accounts.actors import Actor
from accounts.authentication import renewed
from analytics import quota
from analytics.services import Metered
from common import errors, storage
from jobs import services as jobs
from jobs.monitor import monitor
from ml.stt import live
from ml.types import AudioQuality, Segment, TranscriptionOptions
from retention import services as retention
from sockets.places import Limits, Places
from stt import services
from stt.live.recording import Recording
from stt.models import AudioFile, SttJob, Transcription

RESERVED_SECONDS = 15
"""Audio is reserved so much at a time: one statement for a quarter of a minute."""


class LiveJob:
    """Open one with `open_job`; `close` it whatever happens."""

    def __init__(self, job: SttJob, options: TranscriptionOptions) -> None:
        self.job, self.options = job, options
        self.cancelled = threading.Event()  # somebody deleted the job
        self.audio_seconds = 0.0
        self._finals: list[live.Final] = []
        self._reserved = 0.0
        self._ended = False
        self._ending = threading.Lock()  # no reservation comes behind the end
        self._recording: Recording | None = None
        self._watching = ExitStack()
        self._watching.enter_context(monitor.watching(job, self.cancelled))

    def heard(self, seconds: float) -> None:
        """So much audio in all is about to be heard: reserves it. Raises QuotaExceeded, or `stopped`."""
        with self._ending:
            if self.cancelled.is_set() or self._ended:
                raise self.stopped()
            if seconds > self._reserved:
                self._reserve(seconds)
            self.audio_seconds = seconds
        self.job.metered = self._metered()

    def stopped(self) -> errors.ApiError:
        """Why it was cancelled."""
        if monitor.stopping:
            return errors.Unavailable(
                "The server is being stopped; connect again.", code="server_stopping", retry_after_seconds=1
            )
        return errors.Conflict("The session was cancelled.", code="job_cancelled")

    def record(self, encoding: str, sample_rate: int) -> None:
        """Keeps the sound from now on, unless the organisation keeps none."""
        if self.job.organization.audio_retention_days != 0:
            self._recording = Recording(encoding, sample_rate)

    def keep(self, data: bytes) -> None:
        """Sound as it came, where it is recorded."""
        if self._recording is not None:
            self._recording.write(data)

    def _reserve(self, seconds: float) -> None:
        rounded = float(math.ceil(seconds / RESERVED_SECONDS) * RESERVED_SECONDS)
        try:
            for wanted in (rounded, seconds):
                try:
                    quota.reserve(self.job, quota.Amounts.of(audio_seconds=wanted))
                except errors.QuotaExceeded:
                    if wanted == seconds:
                        raise
                else:
                    self._reserved = wanted
                    return
        finally:
            connection.close()

    def wrote(self, final: live.Final) -> None:
        if final.text:
            self._finals.append(final)

    def succeed(self, stages: tuple[str, ...], quality: AudioQuality) -> None:
        """Writes what was said, and ends the job."""
        with self._ending:
            self._ended = True
        with jobs.ending(self.job):
            self._note_result()
            with self._stored_sound() as sound:
                transcription = self._transcription(stages, quality)

                def save() -> None:
                    if sound is not None:
                        sound.save(force_insert=True)
                    transcription.save()

                jobs.succeed(self.job, metered=self._metered(), save_result=save)
        retention.forget_at_once(job=self.job, organization=self.job.organization)

    @contextmanager
    def _stored_sound(self) -> Iterator[AudioFile | None]:
        """The recording as the job's audio, if it is kept; without a job that succeeds it is not."""
        sound = self._recording.store(self.job.organization_id) if self._recording is not None else None
        self.job.audio = sound
        try:
            yield sound
        except BaseException:
            self.job.audio = None
            if sound is not None:
                storage.delete(sound.key)
            raise

    def close(self, error: BaseException | None) -> None:
        """Frees everything. A job that has not ended ends as failed by `error`, or else as cancelled, because the
        client left; what was heard is billed."""
        self.cancelled.set()
        self._watching.close()
        if self._recording is not None:
            self._recording.close()
        with self._ending:
            if self._ended:
                return
            self._ended = True
        self._note_result()
        jobs.end_session(self.job, error, metered=self._metered())
        retention.forget_at_once(job=self.job, organization=self.job.organization)

    def _note_result(self) -> None:
        self.job.duration_seconds = round(self.audio_seconds, 3)
        if self._finals:
            self.job.model = self._finals[-1].model

    def _metered(self) -> Metered:
        return Metered(model=self.job.model, audio_seconds=round(self.audio_seconds, 3))

    def _transcription(self, stages: tuple[str, ...], quality: AudioQuality) -> Transcription:
        finals = self._finals
        spoken = sum(final.end - final.start for final in finals)
        segments = [Segment(item.start, item.end, item.text, item.confidence, item.words) for item in finals]
        confidence = sum(item.confidence * (item.end - item.start) for item in finals) / spoken if spoken else 0.0
        last = finals[-1] if finals else None
        return Transcription(
            organization_id=self.job.organization_id,
            job=self.job,
            text=" ".join(segment.text for segment in segments),
            language=last.language if last else self.options.language_hint or "und",
            language_confidence=last.language_confidence if last else 0.0,
            confidence=round(confidence, 4),
            segments=[asdict(segment) for segment in segments],
            model_used=self.job.model,
            fallback_reason=(last.fallback_reason or "") if last else "",
            quality=asdict(quality),
            stages=list(stages),
        )


def open_job(*, actor: Actor, options: dict[str, Any], session_id: uuid.UUID | None) -> LiveJob:
    """A session whose job row says that it runs. session_id: of a client token, which opens one session only.

    Raises `ml.errors.InvalidRequest` and its kinds, QuotaExceeded where nothing is left, RateLimited where too many of
    the organisation's jobs run; then there is no job.
    """
    actor = renewed(actor)
    wanted = services.with_defaults(actor=actor, options=options)
    services.verify(wanted)
    quota.require_left(actor.organization, SttJob.task)
    if session_id is not None and SttJob.objects.filter(id=session_id).exists():
        raise _used()
    job = SttJob(**jobs.credentials(actor), **jobs.running_now(), options=services.kept_options(wanted))
    if session_id is not None:
        job.id = session_id
    try:
        return LiveJob(jobs.create(job), wanted)
    except IntegrityError:  # two came with one token at the same moment
        raise _used() from None


def _used() -> errors.PermissionDenied:
    return errors.PermissionDenied("This client token has been used.", code="client_token_used")


# ── How many ────────────────────────────────────────────────────────────────────────────────────────────────────────


def live_limits() -> Limits:
    return Limits(settings.STT_LIVE_MAX_SESSIONS, settings.STT_LIVE_MAX_SESSIONS_PER_ORGANIZATION)


places = Places(live_limits, does="listens", sessions="live sessions")
