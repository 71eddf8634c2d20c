"""How a queued voice is trained: claimed by its row, computed with no transaction open, ended once.

A task whose worker died is given to another, as jobs are; the number of the attempt is the fence.
"""

from __future__ import annotations

import io
import logging
import threading
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from audit import services as audit
from common import context, db, errors, outages, storage
from jobs.monitor import monitor
from jobs.queue import Later
from ml import audio
from ml.errors import Cancelled, EngineFailed, EngineUnavailable, MlError, SampleUnsuitable
from ml.tts import cloning
from ml.types import Caller
from tts import provenance
from tts.voices import announcing, consenting
from tts.voices.models import Consent, Voice, VoiceStatus

log = logging.getLogger(__name__)

PREVIEW_FORMAT = "mp3"
WAIT_SECONDS = 30
"""Until a voice is tried again that could not be trained."""


class _Stop(threading.Event):
    """Set while this process is being stopped."""

    def is_set(self) -> bool:
        return monitor.stopping or super().is_set()


@dataclass(frozen=True, slots=True)
class _Result:
    """What an attempt found."""

    sample: cloning.Sample
    learned: cloning.Learned
    consent: consenting.Heard | None


def run(voice_id: uuid.UUID) -> None:
    """Trains a voice that is to be trained. Raises `Later` where it should be tried again; never anything else."""
    try:
        voice = _claim(voice_id)
        if voice is not None:
            context.request_id.set(voice.request_id)
            context.organization_id.set(str(voice.organization_id))
            _train(voice)
    except Later:
        raise
    except Exception:
        log.exception("the voice could not be written; another attempt follows", extra={"voice_id": str(voice_id)})
        raise Later(WAIT_SECONDS) from None
    finally:
        connection.close()


def _claim(voice_id: uuid.UUID) -> Voice | None:
    """The voice, now ours; None where it has ended or used up its attempts."""
    training = Voice.objects.filter(id=voice_id, status=VoiceStatus.TRAINING)
    voice = training.select_related("organization", "consent").first()
    if voice is None or not training.filter(attempts=voice.attempts).update(attempts=F("attempts") + 1):
        return None
    voice.attempts += 1
    if voice.attempts > settings.JOB_MAX_ATTEMPTS:
        _fail(
            voice, "worker_lost", f"The worker was lost {settings.JOB_MAX_ATTEMPTS} times while it trained this voice."
        )
        return None
    return voice


def _train(voice: Voice) -> None:
    try:
        with db.released():
            result = _learn(voice, _Stop())
        _succeed(voice, result)
    except Cancelled:
        _hand_back(voice, counted=False)
        raise Later(1) from None
    except SampleUnsuitable as error:
        _fail(voice, error.reason, error.message)
    except Exception as error:
        _failed(voice, error)


def _failed(voice: Voice, error: Exception) -> None:
    outage = outages.recognise(error)
    age = (timezone.now() - voice.created_at).total_seconds()
    if outage is not None and age < settings.JOB_PATIENCE_HOURS * 3600:
        log.warning("voice waits: %s", outage.message, extra={"voice_id": str(voice.id)})
        _hand_back(voice, counted=False)
        raise Later(WAIT_SECONDS)
    known = outage or error
    final = voice.attempts >= settings.JOB_MAX_ATTEMPTS
    if isinstance(known, MlError | errors.ApiError) and (
        final or not isinstance(known, EngineFailed | EngineUnavailable)
    ):
        _fail(voice, known.code, known.message)
        return
    log.error("training failed", exc_info=error, extra={"voice_id": str(voice.id), "attempt": voice.attempts})
    if final:
        _fail(voice, "internal_error", "A fault of the server.")
        return
    raise Later(2**voice.attempts)


def _learn(voice: Voice, stop: threading.Event) -> _Result:
    """Everything that is computed. No transaction is open, and no connection is held."""
    caller = Caller(tenant=str(voice.organization_id), priority="batch")
    with storage.local_copy(voice.sample_key) as path:
        sample = cloning.examine(path, max_duration_seconds=settings.VOICE_SAMPLE_MAX_SECONDS, cancel=stop)
        heard = consenting.check(voice.consent, voice.language, sample, caller=caller, cancel=stop)
    learned = cloning.learn(
        sample, voice_id=str(voice.id), name=voice.name, language=voice.language, caller=caller, cancel=stop
    )
    return _Result(sample, learned, heard)


# ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _succeed(voice: Voice, result: _Result) -> None:
    """Stores what was learned, then writes the row; of a voice that was deleted meanwhile nothing is kept."""
    learned = result.learned
    voice.status, voice.finished_at = VoiceStatus.READY, timezone.now()
    voice.method, voice.base_voice = learned.method, learned.own.base
    voice.engine, voice.model = learned.own.voice.engine, learned.own.voice.model
    voice.profile, voice.similarity = learned.profile.as_json(), learned.similarity
    voice.sample = _described(result.sample)
    with db.released():
        voice.latents_key = _stored(voice, ".safetensors", cloning.pack(learned.own.likeness))
        voice.preview_key = _stored(voice, audio.EXTENSIONS[PREVIEW_FORMAT], _preview(voice, learned))
    fields = (
        "status", "finished_at", "method", "engine", "model", "base_voice", "latents_key", "preview_key", "sample",
        "profile", "similarity",
    )  # fmt: skip
    with transaction.atomic():
        written = _mine(voice).update(**{name: getattr(voice, name) for name in fields})
        if written:
            if result.consent is not None:
                Consent.objects.filter(voice=voice).update(**result.consent.as_fields())
            audit.record(actor=None, action="voice.ready", target=voice, method=voice.method, model=voice.model)
            announcing.ended(voice)
    if not written:
        for key in (voice.latents_key, voice.preview_key):
            storage.delete(key)


def _fail(voice: Voice, code: str, message: str) -> None:
    """Ends a voice of which nothing will come. Its recordings are not kept: they are no use, and somebody's voice."""
    voice.status, voice.finished_at = VoiceStatus.FAILED, timezone.now()
    voice.error_code, voice.error_message = code[:64], message
    keys = [*voice.keys, voice.consent.audio_key]
    with transaction.atomic():
        written = _mine(voice).update(
            status=voice.status, finished_at=voice.finished_at, error_code=voice.error_code, error_message=message,
            sample_key="",
        )  # fmt: skip
        if written:
            Consent.objects.filter(voice=voice).update(audio_key="")
            audit.record(actor=None, action="voice.failed", target=voice, code=code)
            announcing.ended(voice)
    if written:
        for key in keys:
            storage.delete(key)


def _hand_back(voice: Voice, *, counted: bool) -> None:
    _mine(voice).update(attempts=voice.attempts if counted else voice.attempts - 1)


def _mine(voice: Voice) -> Any:
    return Voice.objects.filter(id=voice.id, status=VoiceStatus.TRAINING, attempts=voice.attempts)


def _stored(voice: Voice, extension: str, content: bytes) -> str:
    key = storage.new_key(voice.organization_id, "voices", extension)
    storage.save(key, io.BytesIO(content))
    return key


def _preview(voice: Voice, learned: cloning.Learned) -> bytes:
    file = io.BytesIO()
    chunk = learned.preview
    rate = audio.choose_sample_rate(PREVIEW_FORMAT, None, chunk.sample_rate)
    tags = provenance.tags_of(voice.organization, str(voice.id), made=timezone.now())
    audio.encode_to_file(cloning.at_rate(chunk, rate), PREVIEW_FORMAT, file, sample_rate=rate, tags=tags)
    return file.getvalue()


def _described(sample: cloning.Sample) -> dict[str, Any]:
    return {
        "speech_seconds": sample.speech_seconds,
        "snr_db": sample.snr_db,
        "clipping_ratio": sample.clipping_ratio,
        "denoised": sample.denoised,
        "speakers_told_by": sample.speakers_told_by,
    }
