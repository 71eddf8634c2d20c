"""Jobs: both lists with search, a transcript in step with its recording, and what was spoken."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, quote_etag
from django.utils.translation import get_language
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from accounts.models import Role
from analytics.models import Task
from common import errors, storage
from dashboard import selectors, transcripts
from dashboard.access import Action, Page
from dashboard.forms import succeeds
from dashboard.listing import FilterForm, Listing, listing
from dashboard.nav import NavItem, Section
from jobs.models import UNFINISHED, Job, JobStatus
from ml.stt.stages import STAGES
from stt import editing, exports
from stt import selectors as stt
from stt import services as stt_services
from stt.api import SttJobSerializer
from stt.models import SttJob, Transcription
from tts import selectors as tts
from tts import services as tts_services
from tts.models import TtsJob

PERIODS = {"1": _("Last 24 hours"), "7": _("Last 7 days"), "30": _("Last 30 days")}
MOST_DRAWN_SECONDS = 1800
"""A longer recording would be decoded whole in the browser's memory, for a picture of its waves."""

_SELECTORS: dict[str, Any] = {Task.STT: stt, Task.TTS: tts}
_EDITED = re.compile(r"segment-([0-9]{1,9})")


class JobFilters(FilterForm):
    q = forms.CharField(
        label=_("Search words"), max_length=200, widget=forms.TextInput(attrs={"type": "search"}), required=False
    )
    status = forms.ChoiceField(label=_("Status"), choices=[("", _("Any status")), *JobStatus.choices], required=False)
    period = forms.ChoiceField(label=_("Period"), choices=[("", _("Any time")), *PERIODS.items()], required=False)

    @property
    def for_selector(self) -> dict[str, Any]:
        values = self.values
        if days := values.pop("period", None):
            values["created_after"] = timezone.now() - timedelta(days=int(days))
        return values


class JobsPage(Page):
    def get(self, request: HttpRequest, task: str = Task.STT) -> HttpResponse:
        filters = JobFilters(request)
        rows: Listing[Any] = listing(request, _selectors(task).list_jobs(actor=self.actor, **filters.for_selector))
        if task == Task.TTS:
            selectors.name_voices(actor=self.actor, jobs=rows.rows)
        fields = {
            "task": task,
            "filters": filters,
            "listing": rows,
            "busy": any(row.status in UNFINISHED for row in rows),
            "tabs": _tabs(task),
        }
        return self.render("dashboard/jobs/list.html", fields, part="dashboard/jobs/rows.html")


class JobPage(Page):
    """One job. A transcript is corrected where it stands: `?edit=1`.

    Of a long transcript it carries one part: the first, the one that `?part=` asks for, or one with the words of `?q=`.
    """

    post_role = Role.DEVELOPER

    def get(self, request: HttpRequest, task: str, job_id: uuid.UUID) -> HttpResponse:
        return self._page(request, _job(self, task, job_id), forms.Form())

    def post(self, request: HttpRequest, task: str, job_id: uuid.UUID) -> HttpResponse:
        job = _job(self, task, job_id)
        if not isinstance(job, SttJob):
            raise errors.NotFound(_t("Only transcripts can be corrected."))
        form = forms.Form(request.POST)
        texts = {
            int(edited[1]): str(value) for name, value in request.POST.items() if (edited := _EDITED.fullmatch(name))
        }
        if form.is_valid() and succeeds(
            form, lambda: editing.edit_transcription(actor=self.actor, job=job, texts=texts)
        ):
            return self.done(_t("The transcript was saved."), request.path + _place(request, job, texts))
        return self._page(request, job, form)

    def _page(self, request: HttpRequest, job: SttJob | TtsJob, form: forms.Form) -> HttpResponse:
        fields: dict[str, Any] = {
            "job": job,
            "task": job.task,
            "form": form,
            "timings": _timings(job),
            "unfinished": UNFINISHED,
            "drawn": (job.duration_seconds or 0) < MOST_DRAWN_SECONDS,
        }
        if isinstance(job, TtsJob):
            selectors.name_voices(actor=self.actor, jobs=[job])
        fields |= self._of_recording(request, job) if isinstance(job, SttJob) else {"audio": self._spoken(job)}
        status = 400 if form.errors else 200
        return self.render("dashboard/jobs/job.html", fields, part="dashboard/jobs/state.html", status=status)

    def _of_recording(self, request: HttpRequest, job: SttJob) -> dict[str, Any]:
        transcription: Transcription | None = getattr(job, "transcription", None)
        fields = {
            "audio": storage.signed_url(request, job.audio.key) if job.audio else "",
            "transcription": transcription,
            "formats": ("txt", "srt", "vtt", "docx", "json"),
        }
        return fields | self._first_part(request, transcription) if transcription else fields

    def _first_part(self, request: HttpRequest, transcription: Transcription) -> dict[str, Any]:
        segments, q = transcription.segments, request.GET.get("q", "")[:200]
        correcting = request.method == "POST" or ("edit" in request.GET and self.actor.has_role(Role.DEVELOPER))
        parts = transcripts.parts(segments, whole=correcting)
        number = _number(request.POST.get("part") or request.GET.get("part") or "")
        number = min(number or transcripts.part_with(segments, parts, q), len(parts))
        return {
            "editing": correcting,
            "q": q,
            "parts": parts,
            "part": parts[number - 1] if parts else None,
            "plan": [[round(part.start, 2), part.weight] for part in parts],
            "version": _version(transcription),
            **_shown(segments, parts, number, q=q, correcting=correcting),
        }

    def _spoken(self, job: Any) -> str:
        kept = job.audio_key and job.status == JobStatus.SUCCEEDED
        return storage.signed_url(self.request, job.audio_key) if kept else ""


class JobTranscript(Page):
    """A part of a transcript, for the job's page to fetch when it is needed.

    `?version=` is the one the page was made of: Conflict where somebody has corrected it since, for its parts may begin
    elsewhere now. `?edit=1`, `?q=` as for the page.
    """

    def get(self, request: HttpRequest, job_id: uuid.UUID, number: int) -> HttpResponse:
        transcription = stt.get_transcription(actor=self.actor, job_id=job_id)
        version = _version(transcription)
        if request.GET.get("version", version) != version:
            raise errors.Conflict(_t("The transcript has been corrected meanwhile. Load the page again."))
        state = [str(transcription.id), version, request.get_full_path(), get_language() or "", settings.VERSION]
        etag = quote_etag(hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32])
        kept = get_conditional_response(request, etag=etag)
        response = kept if kept is not None else self._part(request, transcription, number)
        response.headers["ETag"] = etag
        return response

    def _part(self, request: HttpRequest, transcription: Transcription, number: int) -> HttpResponse:
        segments = transcription.segments  # read here: what the browser has already costs no look at them
        q, correcting = request.GET.get("q", "")[:200], "edit" in request.GET
        parts = transcripts.parts(segments, whole=correcting)
        if not 1 <= number <= len(parts):
            raise errors.NotFound(_t("The transcript has no such part."))
        fields = _shown(segments, parts, number, q=q, correcting=correcting)
        return render(request, "dashboard/jobs/part.html", {**fields, "editing": correcting})

    def _finished(self, response: HttpResponseBase) -> HttpResponseBase:
        """Browsers may keep a part, and ask each time whether it still holds and is still theirs."""
        cacheable = response.status_code in (200, 304) and response.has_header("ETag")
        response = super()._finished(response)
        if cacheable:
            response.headers["Cache-Control"] = "private, no-cache"
        return response


class JobExport(Page):
    def get(self, request: HttpRequest, job_id: uuid.UUID, format_name: str) -> HttpResponse:
        job = stt.get_job(actor=self.actor, job_id=job_id)
        if format_name == "json":
            response: HttpResponse = JsonResponse(SttJobSerializer(job, context={"request": request}).data)
        elif format_name in exports.FORMATS:
            content, content_type = exports.export(job, format_name)
            response = HttpResponse(content, content_type=content_type)
        else:
            raise errors.NotFound(_t("There is no such format."))
        stem = job.filename.rpartition(".")[0] or job.filename
        response.headers["Content-Disposition"] = _attachment(f"{stem or job.id}.{format_name}")
        return response


class JobDelete(Action):
    """Cancels what has not ended, deletes what has: as the API does."""

    role = Role.DEVELOPER

    def post(self, request: HttpRequest, task: str, job_id: uuid.UUID) -> HttpResponse:
        job = _job(self, task, job_id)
        ending = job.status in UNFINISHED
        services: Any = stt_services if task == Task.STT else tts_services
        services.delete_job(actor=self.actor, job=job)
        if ending:
            return self.done(_t("The job was cancelled."), "dashboard:job", task, job_id)
        return self.done(_t("The job was deleted, and its audio with it."), "dashboard:jobs", task)


class JobRetry(Action):
    role = Role.DEVELOPER

    def post(self, request: HttpRequest, task: str, job_id: uuid.UUID) -> HttpResponse:
        job = _job(self, task, job_id)
        if isinstance(job, SttJob):
            again: Job = editing.retry(actor=self.actor, job=job)
        else:
            again = tts_services.retry(actor=self.actor, job=job)  # type: ignore[arg-type]
        return self.done(_t("It was queued again."), "dashboard:job", task, again.id)


def _selectors(task: str) -> Any:
    if task not in _SELECTORS:
        raise errors.NotFound(_t("There are no such jobs."))
    return _SELECTORS[task]


def _job(page: Page, task: str, job_id: uuid.UUID) -> SttJob | TtsJob:
    job: SttJob | TtsJob = _selectors(task).get_job(actor=page.actor, job_id=job_id)
    return job


def _tabs(task: str) -> list[dict[str, Any]]:
    labels = ((Task.STT, _("Speech to text")), (Task.TTS, _("Text to speech")))
    return [
        {"label": label, "url": reverse("dashboard:jobs", args=[name]), "current": name == task}
        for name, label in labels
    ]


def _timings(job: Job) -> list[tuple[str, float, float]]:
    """(stage, seconds, share of the longest), in the order in which they run; the database keeps another."""
    timed = [(name, seconds) for name, seconds in job.timings.items() if isinstance(seconds, int | float)]
    named = dict(sorted(timed, key=lambda pair: STAGES.index(pair[0]) if pair[0] in STAGES else len(STAGES)))
    longest = max(named.values(), default=0) or 1
    return [(name.replace("_", " "), seconds, seconds / longest) for name, seconds in named.items()]


def _shown(
    segments: list[dict[str, Any]], parts: list[transcripts.Part], number: int, *, q: str, correcting: bool
) -> dict[str, Any]:
    """What `dashboard/jobs/part.html` shows of a part; nothing of a transcript without speech, which has none."""
    if not parts:
        pieces = []
    elif correcting:
        pieces = transcripts.editable(segments, parts, number)
    else:
        pieces = transcripts.pieces(segments, parts, number, q)
    return {"pieces": pieces, "most": editing.MAX_SEGMENT_CHARACTERS}


def _place(request: HttpRequest, job: SttJob, texts: dict[int, str]) -> str:
    """Of what was corrected last in a long transcript: nothing where the page begins with it anyway."""
    number = _number(request.POST.get("part", ""))
    return f"?part={number}#t={job.transcription.segments[max(texts)]['start']:.2f}" if number > 1 and texts else ""


def _number(text: str) -> int:
    """Of a part as addresses say it; 0 for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0


def _version(transcription: Transcription) -> str:
    return f"{transcription.edited_at.timestamp():.6f}" if transcription.edited_at else "0"


def _attachment(filename: str) -> str:
    return content_disposition_header(True, filename) or "attachment"


urlpatterns = [
    path("dashboard/jobs", JobsPage.as_view(), name="jobs"),
    path("dashboard/jobs/<str:task>", JobsPage.as_view(), name="jobs"),
    path("dashboard/jobs/<str:task>/<uuid:job_id>", JobPage.as_view(), name="job"),
    path("dashboard/jobs/<str:task>/<uuid:job_id>/delete", JobDelete.as_view(), name="job-delete"),
    path("dashboard/jobs/<str:task>/<uuid:job_id>/retry", JobRetry.as_view(), name="job-retry"),
    path("dashboard/jobs/stt/<uuid:job_id>/transcript/<int:number>", JobTranscript.as_view(), name="job-transcript"),
    path("dashboard/jobs/stt/<uuid:job_id>/transcript.<str:format_name>", JobExport.as_view(), name="job-export"),
]
NAV = (
    NavItem(
        _("Jobs"),
        "dashboard:jobs",
        "list-checks",
        Section.SPEECH,
        order=10,
        shortcut="g j",
        keywords="transcripts history queue",
    ),
)
