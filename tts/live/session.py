"""A session of the speech socket: its voice, its encoder, its job row, what it reserves and is billed.

Everything here may block, on the database, a model or an encoder: the socket calls it in threads.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from django.conf import settings

from accounts.actors import Actor
from accounts.authentication import renewed
from analytics import quota
from analytics.quota import Amounts
from analytics.services import Metered
from common import db, errors, storage
from jobs import services as jobs
from jobs.monitor import monitor
from ml import audio
from ml import tts as engine
from ml.types import Caller, PcmSamples
from retention import services as retention
from sockets.places import Limits, Places
from tts import provenance, services
from tts.live.protocol import Start
from tts.models import TtsJob
from tts.options import for_live

log = logging.getLogger(__name__)

RESERVED_CHARACTERS = 500
"""A text that comes letter by letter is reserved this many at a time."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A piece of the text, and its sound. Seconds are those of the session's audio, from its beginning."""

    text: str
    start: float
    end: float
    characters: int  # that are billed
    samples: PcmSamples


class Interrupt(threading.Event):
    """A cancellation that also wakes somebody up."""

    def __init__(self, wake: Callable[[], object]) -> None:
        super().__init__()
        self._wake = wake

    def set(self) -> None:
        super().set()
        self._wake()


class SpeechSession:
    """Open one with `open_session`; `close` it whatever happens."""

    def __init__(self, job: TtsJob, narrator: engine.Narrator, cancel: Interrupt) -> None:
        self.job, self.narrator = job, narrator
        self.characters = 0  # spoken, and so billed
        self._cancel = cancel
        self._lock = threading.Lock()  # the encoder must not be closed under a thread that uses it
        self._encoder = audio.StreamEncoder(job.format, job.sample_rate, provenance.tags(job))
        self._copy = tempfile.SpooledTemporaryFile(max_size=services.SPOOL_BYTES)  # noqa: SIM115  (`close` closes it)
        self._watching = ExitStack()
        self._watching.enter_context(monitor.watching(job, cancel))
        self._texts: list[str] = []
        self._reserved = 0
        self._engine_seconds = 0.0
        self._first_audio_seconds: float | None = None
        self._started = time.perf_counter()
        self._ended = False

    @property
    def duration_seconds(self) -> float:
        """Of the audio that was made."""
        return self._encoder.samples / self.job.sample_rate

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it to end: the client left, or the job was cancelled."""
        return self._cancel.is_set()

    # ── Quota ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def needs_reservation(self, characters: int) -> bool:
        """Whether `reserve` has anything to do before so many characters in all can be spoken."""
        return characters > self._reserved and quota.limits_of(self.job.organization).metered

    def reserve(self, characters: int) -> None:
        """Reserves so many characters in all, rounded up where the quota has room for it. Raises QuotaExceeded."""
        rounded = -(-characters // RESERVED_CHARACTERS) * RESERVED_CHARACTERS
        for wanted in (rounded, characters):
            try:
                quota.reserve(self.job, Amounts(characters=wanted))
            except errors.QuotaExceeded:
                if wanted == characters:
                    raise
            else:
                self._reserved = wanted
                return

    # ── Sound ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def speak(self, piece: str) -> Spoken:
        """Computes a piece. It counts once it was `delivered`. Raises what `Narrator.speak` raises."""
        started = time.perf_counter()
        with self._lock:
            chunk = self.narrator.speak(piece, self._cancel)
        self._engine_seconds += time.perf_counter() - started
        start = self.duration_seconds
        return Spoken(chunk.text, start, start + chunk.duration_seconds, len(piece), chunk.samples)

    def delivered(self, spoken: Spoken) -> None:
        """The piece is being sent: it is billed from now on."""
        if self._first_audio_seconds is None and len(spoken.samples):
            self._first_audio_seconds = time.perf_counter() - self._started
        self.characters += spoken.characters
        self._texts.append(spoken.text)
        self.job.metered = self.metered()

    def encode(self, samples: PcmSamples) -> bytes:
        """The next part of the session's audio; a copy is kept."""
        with self._lock:
            return self._kept(self._encoder.write(samples))

    def end_utterance(self) -> bytes:
        """What resampler and encoder hold back, pushed out by a little silence."""
        with self._lock:
            rest = self.narrator.end_utterance().samples
            return self._kept(self._encoder.write(rest) + self._encoder.pad())

    def finish(self) -> bytes:
        """The end of the audio."""
        with self._lock:
            rest = self.narrator.end_utterance().samples
            return self._kept(self._encoder.write(rest) + self._encoder.finish())

    def _kept(self, data: bytes) -> bytes:
        if self._is_kept:
            self._copy.write(data)
        return data

    @property
    def _is_kept(self) -> bool:
        return self.job.organization.audio_retention_days != 0

    # ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def succeed(self) -> None:
        """After `finish`: stores the audio and ends the job. Raises Cancelled where it was cancelled meanwhile."""
        if self._ended:
            return
        self._ended = True
        with jobs.ending(self.job):
            self._note_result()
            self._store()
            services.succeed(self.job, self.metered())
        retention.forget_at_once(job=self.job, organization=self.job.organization)

    def _store(self) -> None:
        """The client has heard everything: a storage that does not answer costs the copy, not the session."""
        stored = bool(self._encoder.samples) and self._is_kept
        if stored:
            self._copy.seek(0)
            try:
                with db.released():
                    storage.save(self.job.audio_key, self._copy)
            except errors.Unavailable:
                log.exception("the audio of a session was not stored", extra={"job_id": str(self.job.id)})
                stored = False
        if not stored:
            self.job.audio_key = ""

    def close(self, error: BaseException | None = None) -> None:
        """Frees everything. A job that has not ended ends as failed by `error`, or else as cancelled, because the
        client left; what was spoken is billed."""
        self._cancel.set()
        self._watching.close()
        with self._lock:
            self._encoder.close()
            self._copy.close()
        if self._ended:
            return
        self._ended = True
        self._note_result()
        jobs.end_session(self.job, error, metered=self.metered())
        retention.forget_at_once(job=self.job, organization=self.job.organization)

    def metered(self) -> Metered:
        return Metered(
            model=self.job.model,
            characters=self.characters,
            audio_seconds=round(self.duration_seconds, 3),
            compute_seconds=self._engine_seconds,
        )

    def _note_result(self) -> None:
        self.job.text, self.job.characters = " ".join(filter(None, self._texts)), self.characters
        self.job.duration_seconds = round(self.duration_seconds, 3)
        self.job.timings = {
            "first_audio": round(self._first_audio_seconds or 0.0, 4),
            "engine": round(self._engine_seconds, 4),
            "total": round(time.perf_counter() - self._started, 4),
        }


def open_session(*, actor: Actor, start: Start, cancel: Interrupt) -> SpeechSession:
    """A session whose job row says that it runs. Setting `cancel` stops the computing; the job's deletion sets it.

    Raises `ml.errors.InvalidRequest` and its kinds, QuotaExceeded where nothing is left, RateLimited where too many of
    the organisation's jobs run; then there is no job.
    """
    actor = renewed(actor)
    quota.require_left(actor.organization, TtsJob.task)
    narrator = _narrator(actor, start)
    voice = narrator.voice
    job = jobs.create(
        TtsJob(
            **jobs.credentials(actor),
            **jobs.running_now(),
            text="",
            characters=0,
            language=voice.language,
            voice=voice.id,
            model=voice.model,
            format=start.format,
            sample_rate=narrator.sample_rate,
            options=services.kept_options(start.options),
            audio_key=storage.new_key(actor.organization.id, "tts", audio.EXTENSIONS[start.format]),
        )
    )
    with jobs.ending(job):
        return SpeechSession(job, narrator, cancel)


def _narrator(actor: Actor, start: Start) -> engine.Narrator:
    options = for_live(start.options, actor.organization)
    native = engine.output_sample_rate(replace(options, sample_rate=None))
    rate = audio.choose_sample_rate(start.format, options.sample_rate, native)
    caller = Caller(tenant=str(actor.organization.id))
    return engine.Narrator(replace(options, sample_rate=rate), caller=caller)


# ── How many ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _limits() -> Limits:
    return Limits(settings.TTS_LIVE_MAX_SESSIONS, settings.TTS_LIVE_MAX_SESSIONS_PER_ORGANIZATION)


places = Places(_limits, does="speaks", sessions="speech sessions")
