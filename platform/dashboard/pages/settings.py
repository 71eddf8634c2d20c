"""The organisation: name, defaults of speech and transcriptions, what it may use, what it keeps, and its end."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.actors import Actor
from accounts.models import Role
from audit import services as audit
from common.display import language_name
from common.streaming import in_thread
from dashboard.access import Action, Page
from dashboard.forms import attempt, succeeds
from dashboard.nav import Command, NavItem, Section
from dashboard.selectors import quota_meters
from dashboard.toasts import toast
from ml import audio
from ml.types import TranscriptionOptions
from retention import export
from retention import services as retention
from stt import selectors as stt
from stt import services as stt_services
from stt.models import TranscriptionDefaults
from tts import selectors as tts
from tts.defaults import services as tts_defaults
from tts.defaults.models import SpeechDefaults
from tts.voices.selectors import list_spoken as own_voices


class SettingsPage(Page):
    """Everybody may look; `post_role` changes."""

    def show(self, name: str, fields: dict[str, Any], form: forms.Form | None = None) -> HttpResponse:
        """Read-only for those who may not change it."""
        may_change = self.actor.has_role(self.post_role or Role.OWNER)
        if form is not None and not may_change:
            for field in form.fields.values():
                field.disabled = True
        shown = {**fields, "form": form, "tabs": self._tabs(), "may_change": may_change}
        status = 400 if form is not None and form.errors else 200
        return self.render(f"dashboard/settings/{name}.html", shown, status=status)

    def _tabs(self) -> list[dict[str, Any]]:
        tabs = [(_("General"), "settings"), (_("Speech"), "settings-voice"), (_("Transcription"), "settings-speech"),
                (_("Quota"), "settings-quota"), (_("Data"), "settings-data")]  # fmt: skip
        if self.actor.has_role(Role.ADMIN):
            tabs.insert(3, (_("Security"), "settings-security"))
            tabs.insert(4, (_("Single sign-on"), "settings-sso"))
        urls = [(label, reverse(f"dashboard:{name}")) for label, name in tabs]
        return [{"label": label, "url": url, "current": url == self.request.path} for label, url in urls]


# ── General ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class GeneralForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("Name"), max_length=200)


class GeneralPage(SettingsPage):
    post_role = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show("general", {}, GeneralForm(initial={"name": self.actor.organization.name}))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = GeneralForm(request.POST)
        if not form.is_valid():
            return self.show("general", {}, form)
        retention.update_organization(actor=self.actor, changes=form.cleaned_data)
        return self.done(_("The name is saved."), "dashboard:settings")


# ── Transcription ───────────────────────────────────────────────────────────────────────────────────────────────────

OPTIONS = ("punctuate", "itn", "profanity_filter", "redact")
STAGES = {
    "high_pass": (gettext_lazy("Rumble filter"), gettext_lazy("Takes out hum below 80 Hz, where there is any.")),
    "echo_cancellation": (
        gettext_lazy("Echo cancellation"),
        gettext_lazy("Where a request brings the far end's signal along."),
    ),
    "noise_suppression": (
        gettext_lazy("Noise suppression"),
        gettext_lazy("For utterances that lie in noise; clean speech is left alone."),
    ),
    "language": (gettext_lazy("Language detection"), gettext_lazy("Where a request names no language.")),
    "rescore": (gettext_lazy("Rescoring"), gettext_lazy("Weighs alternatives with a language model and hot words.")),
    "truecase": (gettext_lazy("Capital letters"), gettext_lazy("Names and beginnings of sentences.")),
}
"""The stages that run without being asked for, and can be left out."""


def _switch(name: str, label: Any, help_text: Any) -> forms.TypedChoiceField:
    on, off = gettext_lazy("On"), gettext_lazy("Off")
    default = gettext_lazy("Default: on") if getattr(TranscriptionOptions(), name) else gettext_lazy("Default: off")
    return forms.TypedChoiceField(
        label=label, help_text=help_text, choices=[("", default), ("true", on), ("false", off)], required=False,
        empty_value=None, coerce=lambda value: value == "true",
    )  # fmt: skip


class SpeechForm(forms.Form):
    punctuate = _switch(
        "punctuate", gettext_lazy("Punctuation"), gettext_lazy("Commas and full stops, where a model gives none.")
    )
    itn = _switch("itn", gettext_lazy("Numbers as digits"), gettext_lazy("“Twenty-three euros” becomes “€23”."))
    profanity_filter = _switch(
        "profanity_filter", gettext_lazy("Profanity filter"), gettext_lazy("Masks offensive words.")
    )
    redact = _switch(
        "redact", gettext_lazy("Redaction"), gettext_lazy("Replaces e-mail addresses, telephone and card numbers.")
    )
    stages = forms.MultipleChoiceField(
        label=gettext_lazy("Stages that run"),
        choices=[(name, label) for name, (label, _help) in STAGES.items()],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


class VoiceForm(forms.Form):
    """What texts are spoken with where a request says nothing."""

    voice = forms.ChoiceField(label=gettext_lazy("Voice"), required=False)
    language = forms.ChoiceField(
        label=gettext_lazy("Language"), required=False,
        help_text=gettext_lazy("Of texts for which neither a voice is named nor one chosen here."),
    )  # fmt: skip
    format = forms.ChoiceField(label=gettext_lazy("Format"), required=False)

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        voices = [*own_voices(actor=actor), *tts.list_voices()]
        languages = sorted(
            ((tag, language_name(tag)) for tag in {v.language for v in voices}), key=lambda pair: pair[1]
        )
        formats = [(name, name.upper()) for name in sorted(audio.CONTENT_TYPES)]
        choices = {"voice": [(voice.id, voice.name) for voice in voices], "language": languages, "format": formats}
        usual = {
            "voice": _("By language"),
            "language": _("As the platform: en-US"),
            "format": _("As the platform: WAV"),
        }
        for name, given in choices.items():
            self.fields[name].choices = [("", usual[name]), *given]  # type: ignore[attr-defined]


class VoicePage(SettingsPage):
    post_role = Role.ADMIN

    def get(self, request: HttpRequest) -> HttpResponse:
        row = tts_defaults.get_defaults(actor=self.actor) or SpeechDefaults()
        return self.show(
            "voice", {}, VoiceForm(self.actor, initial={name: getattr(row, name) for name in tts_defaults.FIELDS})
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        form = VoiceForm(self.actor, request.POST)
        if form.is_valid() and succeeds(
            form, lambda: tts_defaults.save_defaults(actor=self.actor, changes=form.cleaned_data)
        ):
            return self.done(_("Saved: it holds for requests from now on."), "dashboard:settings-voice")
        return self.show("voice", {}, form)


class SpeechPage(SettingsPage):
    post_role = Role.ADMIN

    def get(self, request: HttpRequest) -> HttpResponse:
        row = stt.get_defaults(actor=self.actor) or TranscriptionDefaults()
        initial: dict[str, Any] = {name: _shown(row, name) for name in OPTIONS}
        initial["stages"] = [name for name in STAGES if name not in row.disable]
        return self._page(SpeechForm(initial=initial))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = SpeechForm(request.POST)
        if form.is_valid():
            changes: dict[str, Any] = {name: form.cleaned_data[name] for name in OPTIONS}
            changes["disable"] = [name for name in STAGES if name not in form.cleaned_data["stages"]]
            if attempt(form, lambda: stt_services.save_defaults(actor=self.actor, changes=changes)):
                return self.done(_("Saved: it holds for requests from now on."), "dashboard:settings-speech")
        return self._page(form)

    def _page(self, form: SpeechForm) -> HttpResponse:
        stages = [{"box": box, "help": STAGES[box.data["value"]][1]} for box in form["stages"].subwidgets]
        return self.show("speech", {"stages": stages, "options": [form[name] for name in OPTIONS]}, form)


def _shown(row: TranscriptionDefaults, name: str) -> str:
    """As the form's choice; a stage that is switched off by name is off."""
    value = False if name in row.disable else getattr(row, name)
    return "" if value is None else "true" if value else "false"


# ── Quota ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class QuotaPage(SettingsPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show("quota", {"quota": quota_meters(self.actor)})


# ── Data ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _days(label: Any, help_text: Any) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"placeholder": gettext_lazy("for ever")})
    return forms.IntegerField(
        label=label, help_text=help_text, min_value=0, max_value=36_500, required=False, widget=widget
    )


class RetentionForm(forms.Form):
    audio_retention_days = _days(
        gettext_lazy("Audio is kept for"), gettext_lazy("Uploads and synthesised speech. Empty: for ever; 0: not kept.")
    )
    transcript_retention_days = _days(
        gettext_lazy("Texts are kept for"),
        gettext_lazy("Transcripts, and texts that were spoken. Empty: for ever; 0: not kept."),
    )


class DataPage(SettingsPage):
    post_role = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        organization = self.actor.organization
        names = ("audio_retention_days", "transcript_retention_days")
        return self._page(RetentionForm(initial={name: getattr(organization, name) for name in names}))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = RetentionForm(request.POST)
        if not form.is_valid():
            return self._page(form)
        retention.update_organization(actor=self.actor, changes=form.cleaned_data)
        return self.done(
            _("Saved. What is older than that is deleted within the hour, for good."), "dashboard:settings-data"
        )

    def _page(self, form: RetentionForm) -> HttpResponse:
        return self.show("data", {"end": EndForm()}, form)


class ExportAction(Page):
    """All of the organisation's data as one archive, streamed while it is made."""

    role = Role.OWNER

    def post(self, request: HttpRequest) -> HttpResponseBase:
        organization = self.actor.organization
        audit.record(actor=self.actor, action="organization.exported", target=organization)
        response = StreamingHttpResponse(in_thread(export.archive(organization)), content_type="application/zip")
        response["Content-Disposition"] = f'attachment; filename="{organization.slug}.zip"'
        return response


class EndForm(forms.Form):
    confirm = forms.CharField(
        label=gettext_lazy("Its short name"), max_length=63, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )


class EndAction(Action):
    """Deletes the organisation with all that it owns."""

    role = Role.OWNER

    def post(self, request: HttpRequest) -> HttpResponse:
        form = EndForm(request.POST)
        confirm = form.cleaned_data["confirm"] if form.is_valid() else ""
        if not succeeds(form, lambda: retention.require_confirmation(actor=self.actor, confirm=confirm)):
            toast(request, _("The short name was not right; nothing was deleted."), tone="bad")
            return self.go("dashboard:settings-data")
        name = self.actor.organization.name
        retention.delete_organization(organization=self.actor.organization, by=self.actor.id)
        toast(request, _("%(organisation)s is deleted, with all of its data.") % {"organisation": name})
        return redirect(settings.LOGIN_REDIRECT_URL)


_BASE = "dashboard/settings"
urlpatterns = [
    path(_BASE, GeneralPage.as_view(), name="settings"),
    path(f"{_BASE}/speech", VoicePage.as_view(), name="settings-voice"),
    path(f"{_BASE}/transcription", SpeechPage.as_view(), name="settings-speech"),
    path(f"{_BASE}/quota", QuotaPage.as_view(), name="settings-quota"),
    path(f"{_BASE}/data", DataPage.as_view(), name="settings-data"),
    path(f"{_BASE}/data/export", ExportAction.as_view(), name="settings-export"),
    path(f"{_BASE}/data/end", EndAction.as_view(), name="settings-end"),
]

NAV = (
    NavItem(
        gettext_lazy("Settings"), "dashboard:settings", "settings", Section.ORGANISATION, order=30, shortcut="g s",
        keywords="organisation preferences",
    ),
)  # fmt: skip
COMMANDS = (
    Command(gettext_lazy("Speech defaults"), "dashboard:settings-voice", "volume-2", keywords="voice language format"),
    Command(
        gettext_lazy("Transcription defaults"), "dashboard:settings-speech", "sliders-horizontal",
        keywords="punctuation redaction stages pipeline",
    ),
    Command(gettext_lazy("Quota"), "dashboard:settings-quota", "gauge", keywords="limits budget"),
    Command(gettext_lazy("Retention, export, deletion"), "dashboard:settings-data", "database", keywords="keep data"),
)  # fmt: skip
