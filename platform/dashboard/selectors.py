"""What the pages show, put together from the selectors of the other applications."""

from __future__ import annotations

import heapq
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.core.cache import cache
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.actors import Actor
from analytics.models import Task
from analytics.selectors import quota_state, usage_summary
from common import errors
from common.display import duration
from common.health import readiness
from dashboard.charts import Chart, jobs_chart
from jobs import statistics
from ml.errors import MlError
from models_registry.models import ModelVersion
from models_registry.selectors import list_models, list_workers
from stt import selectors as stt
from stt.models import SttJob
from tts import selectors as tts
from tts.models import TtsJob
from tts.voices import selectors as voices

RECENT_JOBS = 10
PERIOD_DAYS = 30
_HEALTH_SECONDS = 10  # a check writes to the storage: not at every look

_PARTS = {
    "database": gettext_lazy("Database"),
    "storage": gettext_lazy("Audio storage"),
    "tts_engine": gettext_lazy("Speech synthesis"),
    "stt_engine": gettext_lazy("Speech recognition"),
}


@dataclass(frozen=True, slots=True)
class PartHealth:
    name: str
    status: str  # "ok" or "not available"
    detail: str


@dataclass(frozen=True, slots=True)
class RecentJob:
    id: uuid.UUID
    task: str
    task_label: str
    summary: str
    status: str
    status_label: str
    detail: str
    duration_seconds: float | None
    created_at: datetime
    has_audio: bool


@dataclass(frozen=True, slots=True)
class Usage:
    today: dict[str, Any]
    totals: dict[str, Any]
    failed_jobs: int
    daily: list[dict[str, Any]]
    chart: Chart

    @property
    def today_jobs(self) -> int:
        return self.today["tts_jobs"] + self.today["stt_jobs"] + self.today["failed_jobs"]

    @property
    def newest_first(self) -> list[dict[str, Any]]:
        return self.daily[::-1]


@dataclass(frozen=True, slots=True)
class Home:
    health: tuple[PartHealth, ...]
    usage: Usage
    jobs: tuple[RecentJob, ...]
    latencies: tuple[statistics.Latency, ...]
    states: statistics.States
    processes: dict[str, int]  # that serve, by kind
    quota: dict[str, Any]

    @property
    def measured(self) -> bool:
        """Whether there are jobs whose times are known."""
        return any(latency.answer or latency.wait for latency in self.latencies)

    @property
    def healthy(self) -> bool:
        return all(part.status == "ok" for part in self.health)


def home(*, actor: Actor) -> Home:
    return Home(
        health=_health(),
        usage=_usage(actor),
        jobs=recent_jobs(actor=actor),
        latencies=tuple(statistics.latencies(actor=actor)),
        states=statistics.states(actor=actor),
        processes=dict(Counter(worker.kind for worker in list_workers())),
        quota=quota_meters(actor),
    )


def audio_key(*, actor: Actor, task: str, job_id: uuid.UUID) -> str:
    """Where a job's audio lies; NotFound when there is none."""
    if task == Task.TTS:
        spoken = tts.get_job(actor=actor, job_id=job_id)
        key = spoken.audio_key if _has_audio(spoken) else ""
    elif task == Task.STT:
        upload = stt.get_job(actor=actor, job_id=job_id).audio
        key = upload.key if upload else ""
    else:
        key = ""
    if not key:
        raise errors.NotFound(_("This job has no audio."))
    return key


def quota_meters(actor: Actor) -> dict[str, Any]:
    """What `dashboard/quota_meters.html` shows of the organisation's month."""
    state = quota_state(organization=actor.organization)
    year, month = map(int, state["period"].split("-"))
    limits, used = state["limits"], state["used"]
    seconds, most_seconds = used["audio_seconds"], limits["monthly_audio_seconds"]
    return {
        "state": state,
        "month": date(year, month, 1),
        "resets_at": parse_datetime(state["resets_at"]),
        "limits": limits,
        "used": used,
        "held": state["reserved"],
        "audio_detail": f"{duration(seconds)} / {duration(most_seconds)}"
        if most_seconds
        else _("%s · no limit") % duration(seconds),
        "priced": limits["price_per_million_characters"] or limits["price_per_audio_hour"],
    }


def _health() -> tuple[PartHealth, ...]:
    checks = cache.get("dashboard:readiness")
    if checks is None:
        checks = readiness()
        cache.set("dashboard:readiness", checks, _HEALTH_SECONDS)
    models = list(list_models())
    return tuple(
        PartHealth(
            name=str(_PARTS.get(name, name)),
            status="ok" if outcome == "ok" else "not available",
            detail=_engine_detail(name, models) if outcome == "ok" else outcome.partition(":")[0],
        )
        for name, outcome in checks.items()
    )


def _engine_detail(part: str, models: list[ModelVersion]) -> str:
    rows = [row for row in models if row.is_active and f"{row.task}_engine" == part]
    shown = [f"{row.name} · {_languages(len(row.languages))}" if row.languages else row.name for row in rows]
    return ", ".join(shown) or (_("Connected") if part == "database" else _("Writable"))


def _languages(count: int) -> str:
    return ngettext("%d language", "%d languages", count) % count


def _usage(actor: Actor) -> Usage:
    summary = usage_summary(actor=actor, days=PERIOD_DAYS)
    daily = summary["daily"]
    return Usage(
        today=daily[-1],
        totals=summary,
        failed_jobs=sum(day["failed_jobs"] for day in daily),
        daily=daily,
        chart=jobs_chart(daily),
    )


def recent_jobs(*, actor: Actor) -> tuple[RecentJob, ...]:
    """Of both kinds, newest first."""
    jobs = list(tts.list_jobs(actor=actor)[:RECENT_JOBS])
    name_voices(actor=actor, jobs=jobs)
    spoken = [_spoken(job) for job in jobs]
    heard = [_heard(job) for job in stt.list_jobs(actor=actor).select_related("audio", "transcription")[:RECENT_JOBS]]
    return tuple(heapq.nlargest(RECENT_JOBS, [*spoken, *heard], key=lambda job: job.created_at))


def _spoken(job: TtsJob) -> RecentJob:
    return RecentJob(
        id=job.id,
        task=Task.TTS,
        task_label=_("Speech out"),
        summary=job.text[:120],
        status=job.status,
        status_label=job.get_status_display(),
        detail=job.error_message or f"{job.voice_name} · {job.format}",  # type: ignore[attr-defined]
        duration_seconds=job.duration_seconds,
        created_at=job.created_at,
        has_audio=_has_audio(job),
    )


def _heard(job: SttJob) -> RecentJob:
    transcription = getattr(job, "transcription", None)
    text = transcription.text[:120] or _("(no speech)") if transcription else ""
    return RecentJob(
        id=job.id,
        task=Task.STT,
        task_label=_("Speech in"),
        summary=text or str(job.audio or job.filename or _("(recording not kept)")),
        status=job.status,
        status_label=job.get_status_display(),
        detail=job.error_message or " · ".join(filter(None, [str(job.audio or ""), job.model])),
        duration_seconds=job.duration_seconds,
        created_at=job.created_at,
        has_audio=job.audio is not None,
    )


def _has_audio(job: TtsJob) -> bool:
    return bool(job.audio_key) and job.status == "succeeded"


def name_voices(*, actor: Actor, jobs: Sequence[TtsJob]) -> None:
    """Gives each job a `voice_name`: what its voice is called, or each of a mix; of one that is gone, the id."""
    ids = {own for job in jobs for own in voices.own_ids_in(job.voice)}
    names = {str(row.id): row.name for row in voices.list_voices(actor=actor).filter(id__in=ids)} if ids else {}
    names |= _built_in_voices() if jobs else {}
    for job in jobs:
        job.voice_name = names.get(job.voice) or _mix_name(job.voice, names)  # type: ignore[attr-defined]


def _mix_name(voice: str, names: dict[str, str]) -> str:
    """`vctk:p225(2)+p226` as "Anna (2) + Ben": a part may leave out the model of the first, or be a timbre."""
    model = voice.partition(":")[0]
    words = []
    for part in voice.split("+"):
        voice_id, bracket, weight = part.partition("(")
        plain = voice_id.partition("@")[0]  # the same voice in another language: "<id>@de"
        found = (names.get(id_) for id_ in (voice_id, plain, f"{model}:{voice_id}", f"{model}:{plain}"))
        words.append(next(filter(None, found), voice_id) + (f" ({weight}" if bracket else ""))
    return " + ".join(words)


def _built_in_voices() -> dict[str, str]:
    """Their names by id; none while no engine answers: what was spoken is listed all the same."""
    try:
        return {voice.id: voice.name for voice in tts.list_voices()}
    except MlError:
        return {}
