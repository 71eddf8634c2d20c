"""Jobs while a version of their model is on trial: which version hears them, and what is written down of it.

Live streams have no jobs: they stay with the active version.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from common import db, storage
from jobs.models import JobStatus
from ml import evaluation
from ml import stt as engine
from ml.errors import EngineFailed, EngineUnavailable, MlError
from ml.types import Caller, Transcript, TranscriptionOptions
from models_registry import runtime
from models_registry.announcements import announce
from models_registry.models import Arm, Rollout, RolloutSample, RolloutStatus
from models_registry.trials import Trial
from stt.models import ShadowTranscription, SttJob, Transcription

FELL_BACK = "fell_back"
"""The version failed, or was unsure, and another model answered."""

SHADOWS = Caller(tenant="shadow", priority="batch")
"""One turn for all shadows, behind everything that somebody waits for."""


class NotHere(Exception):
    """A shadow's candidate is not in this process's memory yet."""


def trial_of(job: SttJob, options: TranscriptionOptions) -> Trial | None:
    """The trial that this job is subject to; mostly none."""
    trials = runtime.current.trials
    if not trials.running():
        return None
    try:
        name = engine.resolve(options).model.name
    except MlError:
        return None  # the recognition raises it
    return trials.of(organization_id=job.organization_id, task=SttJob.task, name=name)


def version_for(trial: Trial | None, job: SttJob) -> str | None:
    """The version that is to be asked first, where the job is a canary's."""
    return trial.version if trial is not None and trial.is_canary and trial.takes(job.id) else None


def heard(trial: Trial, job: SttJob, transcript: Transcript) -> None:
    """Call in the transaction that saves the transcript: counts it, and has a shadow's candidate hear it afterwards."""
    if not transcript.quality.speech_ratio:
        return  # nothing was recognised
    arm = Arm.CANDIDATE if transcript.version_tried else Arm.ACTIVE
    answered = transcript.version_used == transcript.version_tried or not transcript.version_tried
    if transcript.model_used != trial.name:
        if not transcript.fallback_reason:
            return  # by its language the recording was another model's
        answered = False
    _count(trial, job, arm, transcript, error_code="" if answered else FELL_BACK)
    if not trial.is_canary and trial.takes(job.id) and answered and _is_kept(job):
        from stt.tasks import shadow

        shadow.defer(rollout_id=str(trial.rollout_id), job_id=str(job.id))


def failed(trial: Trial, job: SttJob, error: BaseException) -> None:
    """Counts a job that no model could recognise; other errors are not the version's."""
    if isinstance(error, EngineFailed | EngineUnavailable):
        arm = Arm.CANDIDATE if version_for(trial, job) else Arm.ACTIVE
        with transaction.atomic():
            _count(trial, job, arm, None, error_code=error.code)


def run_shadow(*, rollout_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Has the candidate hear a finished job, and keeps what it says beside the answer. Raises `NotHere`.

    What was deleted meanwhile is not heard, and of what is deleted while it is heard nothing is kept.
    """
    trial = next((trial for trial in runtime.current.trials.running() if trial.rollout_id == rollout_id), None)
    if trial is None:
        if Rollout.objects.filter(id=rollout_id, status=RolloutStatus.RUNNING).exists():
            raise NotHere(str(rollout_id))
        return
    job = _finished().select_related("audio").filter(id=job_id, audio__isnull=False).first()
    if job is None:
        return
    transcript, error_code = _listen(trial, job)
    with transaction.atomic():
        answer = Transcription.objects.select_for_update(of=("self",)).filter(job_id=job_id).first()
        if answer is None:
            return
        if transcript is None:
            _count(trial, job, Arm.CANDIDATE, None, error_code=error_code)
            return
        words = _difference(answer, transcript)
        _count(trial, job, Arm.CANDIDATE, transcript, words=words)
        ShadowTranscription.objects.get_or_create(
            transcription=answer,
            defaults={
                "organization_id": job.organization_id,
                "rollout_id": rollout_id,
                "version": trial.version,
                "text": transcript.text,
                "language": transcript.language,
                "confidence": transcript.confidence,
            },
        )


def _listen(trial: Trial, job: SttJob) -> tuple[Transcript | None, str]:
    """What the candidate heard; or nothing, and the code of what went wrong."""
    from stt.services import runtime_options

    try:
        with db.released(), ExitStack() as files:
            path = files.enter_context(storage.local_copy(job.audio.key))  # type: ignore[union-attr]
            reference = files.enter_context(storage.local_copy(job.reference_key)) if job.reference_key else None
            transcript = engine.transcribe(
                path,
                runtime_options(job, reference),
                caller=SHADOWS,
                max_duration_seconds=settings.STT_MAX_DURATION_SECONDS,
                trial=trial.version,
            )
    except MlError as error:
        return None, error.code
    used = (transcript.model_used, transcript.version_used)
    return (transcript, "") if used == (trial.name, trial.version) else (None, FELL_BACK)


def _finished() -> QuerySet[SttJob]:
    return SttJob.objects.filter(status=JobStatus.SUCCEEDED, transcription__isnull=False)


def _is_kept(job: SttJob) -> bool:
    """Not where the organisation has everything deleted with the answer: there is nothing to hear, or to compare."""
    organization = job.organization
    return organization.audio_retention_days != 0 and organization.transcript_retention_days != 0


def _difference(answer: Transcription, transcript: Transcript) -> evaluation.Errors:
    """The answer's text is taken for the truth."""
    texts = (evaluation.normalise(text, answer.language) for text in (answer.text, transcript.text))
    return evaluation.word_errors(*texts)


def _count(
    trial: Trial,
    job: SttJob,
    arm: str,
    transcript: Transcript | None,
    *,
    error_code: str = "",
    words: evaluation.Errors | None = None,
) -> None:
    """Once for each job and version, however often it is tried. A candidate's failure is told to those who watch."""
    sample = RolloutSample(
        organization_id=job.organization_id,
        rollout_id=trial.rollout_id,
        job_id=job.id,
        arm=arm,
        error_code=error_code,
        confidence=transcript.confidence if transcript and not error_code else None,
        audio_seconds=transcript.duration_seconds if transcript else 0.0,
        recognise_seconds=transcript.timings.get("recognise") if transcript and not error_code else None,
        words=words.total if words else None,
        wrong_words=words.wrong if words else None,
    )
    RolloutSample.objects.bulk_create([sample], ignore_conflicts=True)
    if error_code and arm == Arm.CANDIDATE:
        announce()
