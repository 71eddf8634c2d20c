"""Studio, speech to text: speak, or drop recordings; see how far they are, go to their transcripts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from accounts.models import Role
from common import errors
from common.display import language_name
from common.errors import error_body
from dashboard.access import Page
from dashboard.nav import Command, NavItem, Section
from ml.errors import MlError
from models_registry import selectors as models
from stt import selectors, services

LATEST = 8


class ListenForm(forms.Form):
    language_hint = forms.ChoiceField(label=_("Language"), required=False)
    model = forms.ChoiceField(label=_("Model"), required=False)
    hotwords = forms.CharField(
        label=_("Words to favour"),
        required=False,
        max_length=4000,
        help_text=_("Names and terms, with commas between them."),
    )
    diarize = forms.BooleanField(label=_("Tell speakers apart"), required=False)
    redact = forms.BooleanField(label=_("Mask addresses and numbers"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = [row for row in models.list_models() if row.task == "stt" and row.is_active]
        tags = {tag for row in rows for tag in row.languages}
        languages = sorted(((tag, language_name(tag)) for tag in tags), key=lambda pair: pair[1])
        self.fields["language_hint"].choices = [("", _("As the model hears it")), *languages]  # type: ignore[attr-defined]
        self.fields["model"].choices = [("", _("By language")), *((row.name, row.name) for row in rows)]  # type: ignore[attr-defined]

    def options(self) -> dict[str, Any]:
        """What was chosen, as the services name it; what was not is the organisation's default."""
        chosen = {name: value for name, value in self.cleaned_data.items() if value}
        if "hotwords" in chosen:
            chosen["hotwords"] = tuple(word.strip() for word in chosen["hotwords"].split(",") if word.strip())
        return chosen


class ListenPage(Page):
    role = Role.DEVELOPER

    def get(self, request: HttpRequest) -> HttpResponse:
        fields = {
            "form": ListenForm(),
            "latest": selectors.list_jobs(actor=self.actor)[:LATEST],
            "most_bytes": settings.STT_MAX_ASYNC_UPLOAD_BYTES,
            "keeps_audio": self.actor.organization.audio_retention_days != 0,
        }
        return self.render("dashboard/studio/listen.html", fields, part="dashboard/studio/latest.html")


class ListenUpload(Page):
    """One recording, queued; what is wrong comes in the contract's shape."""

    role = Role.DEVELOPER
    http_method_names = ["post", "options"]  # noqa: RUF012  (Django's way)

    def post(self, request: HttpRequest) -> HttpResponse:
        form, upload = ListenForm(request.POST), request.FILES.get("audio_file")
        try:
            if not form.is_valid():
                name, problems = next(iter(form.errors.items()))
                raise errors.InvalidRequest(str(problems[0]), param=name)
            if upload is None:
                raise errors.InvalidRequest("Send a recording as audio_file.", param="audio_file")
            options = services.with_defaults(actor=self.actor, options=form.options())
            job = services.submit(actor=self.actor, upload=upload, options=options)
        except (errors.ApiError, MlError) as error:
            body = error_body(error.status, code=error.code, message=error.message, param=error.param)
            return JsonResponse(body, status=error.status)
        return JsonResponse({"job_id": str(job.id), "url": reverse("dashboard:job", args=["stt", job.id])}, status=202)


urlpatterns = [
    path("dashboard/studio/listen", ListenPage.as_view(), name="studio-listen"),
    path("dashboard/studio/listen/upload", ListenUpload.as_view(), name="studio-listen-upload"),
]
NAV = (
    NavItem(
        _("Speech to text"), "dashboard:studio-listen", "audio-lines", Section.STUDIO, order=20, role=Role.DEVELOPER,
        shortcut="g r", keywords="transcribe upload recognise stt",
    ),
)  # fmt: skip
COMMANDS = (
    Command(_("Transcribe a recording"), "dashboard:studio-listen", "upload", role=Role.DEVELOPER, keywords="stt"),
)
