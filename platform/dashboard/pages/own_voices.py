"""Voices of one's own: made from a recording with a consent, heard, and ended when the consent is."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from accounts.models import Role
from common import errors, storage
from common.display import language_name
from dashboard.access import Action, Page
from dashboard.forms import attempt
from dashboard.listing import listing
from dashboard.nav import Command
from tts import selectors as tts
from tts.voices import selectors, services
from tts.voices.models import VoiceStatus

_RECORDABLE = forms.ClearableFileInput(attrs={"accept": "audio/*,video/*", "data-recordable": True})


class CloneForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=100)
    language = forms.ChoiceField(label=_("Language"), initial="en-US")
    audio_sample = forms.FileField(
        label=_("Sample"), allow_empty_file=True, widget=_RECORDABLE,
        help_text=_("5 to 300 seconds of one person, without music or noise: read something aloud."),
    )  # fmt: skip
    person = forms.CharField(label=_("Whose voice it is"), max_length=200)
    statement = forms.CharField(
        label=_("Consent"), max_length=3000, initial=services.STATEMENT, widget=forms.Textarea(attrs={"rows": 3})
    )
    consent_audio = forms.FileField(
        label=_("Spoken consent"), allow_empty_file=True, widget=_RECORDABLE,
        help_text=_("The person reading the consent, word by word. It is compared with the text and the sample."),
    )  # fmt: skip
    agreed = forms.BooleanField(label=_("The person has consented, and I can prove it."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["consent_audio"].required = settings.VOICE_CONSENT_AUDIO_REQUIRED
        tags = {voice.language for voice in tts.list_voices()}
        languages = sorted(((tag, language_name(tag)) for tag in tags), key=lambda pair: pair[1])
        self.fields["language"].choices = languages  # type: ignore[attr-defined]


class OwnVoicesPage(Page):
    post_role = Role.DEVELOPER

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, CloneForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = CloneForm(request.POST, request.FILES)
        if form.is_valid():
            chosen = form.cleaned_data
            voice = attempt(
                form,
                lambda: services.create_voice(
                    actor=self.actor,
                    sample=chosen["audio_sample"],
                    name=chosen["name"],
                    language=chosen["language"],
                    consent=services.Statement(chosen["statement"], chosen["person"]),
                    consent_audio=chosen["consent_audio"],
                ),
            )
            if voice is not None:
                text = _t("%(name)s is being made; it shows here when it is ready.") % {"name": voice.name}
                return self.done(text, "dashboard:own-voices")
        return self._page(request, form)

    def _page(self, request: HttpRequest, form: CloneForm) -> HttpResponse:
        rows = listing(request, selectors.list_voices(actor=self.actor))
        busy = any(row.status == VoiceStatus.TRAINING for row in rows)
        open_dialog = bool(form.errors) or "new" in request.GET
        fields = {"form": form, "open": open_dialog, "listing": rows, "busy": busy, "tabs": voice_tabs(request.path)}
        status = 400 if form.errors else 200
        return self.render("dashboard/voices/list.html", fields, part="dashboard/voices/rows.html", status=status)


class VoicePreview(Page):
    def get(self, request: HttpRequest, voice_id: str) -> HttpResponse:
        """To a fresh signed URL of what the voice says to be judged."""
        voice = selectors.get_voice(actor=self.actor, voice_id=voice_id)
        if not voice.preview_key:
            raise errors.NotFound(_t("This voice has no preview."))
        return HttpResponseRedirect(storage.signed_url(request, voice.preview_key))


class ConsentRevoke(Action):
    role = Role.DEVELOPER

    def post(self, request: HttpRequest, voice_id: str) -> HttpResponse:
        voice = selectors.get_voice(actor=self.actor, voice_id=voice_id)
        services.revoke_consent(actor=self.actor, voice=voice)
        text = _t("The consent is revoked: nobody speaks with %(name)s any more, and its recordings are deleted.")
        return self.done(text % {"name": voice.name}, "dashboard:own-voices")


class VoiceDelete(Action):
    role = Role.DEVELOPER

    def post(self, request: HttpRequest, voice_id: str) -> HttpResponse:
        voice = selectors.get_voice(actor=self.actor, voice_id=voice_id)
        services.delete_voice(actor=self.actor, voice=voice)
        return self.done(_t("%(name)s is deleted, with its recordings.") % {"name": voice.name}, "dashboard:own-voices")


def voice_tabs(current: str) -> list[dict[str, Any]]:
    """Of the pages about voices."""
    names = ((_t("All voices"), "voices"), (_t("Your own"), "own-voices"))
    urls = [(label, reverse(f"dashboard:{name}")) for label, name in names]
    return [{"label": label, "url": url, "current": url == current} for label, url in urls]


_BASE = "dashboard/voices/own"
urlpatterns = [
    path(_BASE, OwnVoicesPage.as_view(), name="own-voices"),
    path(f"{_BASE}/<str:voice_id>/preview", VoicePreview.as_view(), name="own-voice-preview"),
    path(f"{_BASE}/<str:voice_id>/revoke", ConsentRevoke.as_view(), name="own-voice-revoke"),
    path(f"{_BASE}/<str:voice_id>/delete", VoiceDelete.as_view(), name="own-voice-delete"),
]
NAV = ()
COMMANDS = (
    Command(
        _("Make a voice"), "dashboard:own-voices", "mic-vocal", role=Role.DEVELOPER, query="?new=1", keywords="clone"
    ),
)
