"""Studio, text to speech: write, choose a voice, hear it while it is made; and the voices there are."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils.translation import gettext_lazy as _

from accounts.models import Role
from common import errors
from common.errors import error_body
from common.streaming import in_thread
from dashboard.access import Page
from dashboard.listing import FilterForm, listing_of
from dashboard.nav import Command, NavItem, Section
from dashboard.pages.own_voices import voice_tabs
from jobs.models import JobStatus
from ml import audio
from ml.errors import MlError
from ml.types import SynthesisOptions, Voice
from tts import selectors, services
from tts.defaults import services as defaults
from tts.defaults.models import SpeechDefaults
from tts.voices.selectors import list_spoken as own_voices

FORMATS = ("mp3", "wav", "opus", "flac", "aac")
HISTORY = 8
SAMPLES = {
    "en": "The quick brown fox jumps over the lazy dog.",
    "de": "Franz jagt im komplett verwahrlosten Taxi quer durch Bayern.",
    "fr": "Portez ce vieux whisky au juge blond qui fume.",
    "es": "El veloz murciélago hindú comía feliz cardillo y kiwi.",
    "hi": "नमस्ते, यह मेरी आवाज़ है।",
}
"""What a voice says to be judged, by language; the rest say their own name."""


class SpeakForm(forms.Form):
    text = forms.CharField(
        label=_("Text"),
        max_length=settings.TTS_MAX_CHARACTERS,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 7, "placeholder": _("Write what is to be said."), "autofocus": True}),
    )
    voice = forms.CharField(label=_("Voice"), widget=forms.Select())
    timbre = forms.CharField(label=_("Timbre"), required=False, widget=forms.Select())
    format = forms.ChoiceField(label=_("Format"), choices=[(name, name.upper()) for name in FORMATS])
    speed = forms.FloatField(
        label=_("Speed"), min_value=0.25, max_value=4, initial=1,
        widget=forms.NumberInput(attrs={"type": "range", "step": 0.05, "min": 0.5, "max": 2}),
    )  # fmt: skip
    pitch = forms.FloatField(
        label=_("Pitch"), min_value=-12, max_value=12, initial=0,
        widget=forms.NumberInput(attrs={"type": "range", "step": 1, "min": -12, "max": 12}),
    )  # fmt: skip
    ssml = forms.BooleanField(label=_("The text is SSML"), required=False)

    def __init__(self, voices: list[Voice], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["voice"].widget.choices = [(voice.id, f"{voice.name} · {voice.language}") for voice in voices]  # type: ignore[attr-defined]
        timbres = [("", _("As it is")), *((item.id, item.name) for item in selectors.list_variants())]
        self.fields["timbre"].widget.choices = timbres  # type: ignore[attr-defined]

    def request(self) -> services.SynthesisRequest:
        """What the services take. The form is valid."""
        chosen = self.cleaned_data
        voice = f"{chosen['voice']}+{chosen['timbre']}" if chosen["timbre"] else chosen["voice"]
        options = SynthesisOptions(voice=voice, speed=chosen["speed"], pitch=chosen["pitch"], ssml=chosen["ssml"])
        return services.SynthesisRequest(chosen["text"], options, chosen["format"])


class SpeakPage(Page):
    role = Role.DEVELOPER

    def get(self, request: HttpRequest) -> HttpResponse:
        voices = _voices(self)
        usual = defaults.get_defaults(actor=self.actor) or SpeechDefaults()
        first = usual.voice or _first_voice(selectors.list_voices(), usual.language or "en-US")
        chosen = request.GET.get("voice", "") or first
        format_name = usual.format if usual.format in FORMATS else "mp3"
        form = SpeakForm(voices, initial={"voice": chosen, "format": format_name, "speed": 1, "pitch": 0})
        fields = {"form": form, "history": _history(self), "limit": settings.TTS_MAX_CHARACTERS, "samples": SAMPLES}
        return self.render("dashboard/studio/speak.html", fields, part="dashboard/studio/history.html")


class SpeakAudio(Page):
    """The audio as it is made; what is wrong comes in the contract's shape."""

    role = Role.DEVELOPER
    http_method_names = ["post", "options"]  # noqa: RUF012  (Django's way)

    def post(self, request: HttpRequest) -> HttpResponseBase:
        form = SpeakForm(_voices(self), request.POST)
        if not form.is_valid():
            name, problems = next(iter(form.errors.items()))
            return _refused(errors.InvalidRequest(str(problems[0]), param=name))
        wanted = form.request()
        try:
            job, chunks = services.synthesize_stream(actor=self.actor, request=wanted)
        except (errors.ApiError, MlError) as error:
            return _refused(error)
        response = StreamingHttpResponse(in_thread(chunks), content_type=audio.CONTENT_TYPES[wanted.format])
        response["X-Job-Id"] = str(job.id)
        response["X-Accel-Buffering"] = "no"
        return response


class VoiceFilters(FilterForm):
    q = forms.CharField(
        label=_("Search voices and languages"), max_length=80, widget=forms.TextInput(attrs={"type": "search"})
    )


class VoicesPage(Page):
    def get(self, request: HttpRequest) -> HttpResponse:
        filters = VoiceFilters(request)
        words = filters.values.get("q", "").lower().split()
        voices = [voice for voice in _voices(self) if all(word in _described(voice) for word in words)]
        rows = [{"voice": voice, "sample": _sample(voice)} for voice in voices]
        fields = {
            "filters": filters,
            "listing": listing_of(request, rows),
            "timbres": len(selectors.list_variants()),
            "tabs": voice_tabs(request.path),
        }
        return self.render("dashboard/studio/voices.html", fields, part="dashboard/studio/voice_rows.html")


def _voices(page: Page) -> list[Voice]:
    """The organisation's own first."""
    return [*own_voices(actor=page.actor), *selectors.list_voices()]


def _refused(error: errors.ApiError | MlError) -> JsonResponse:
    body = error_body(error.status, code=error.code, message=error.message, param=error.param)
    return JsonResponse(body, status=error.status)


def _first_voice(voices: list[Voice], language: str) -> str:
    return next((voice.id for voice in voices if voice.language.lower() == language.lower()), voices[0].id)


def _history(page: Page) -> list[Any]:
    return list(selectors.list_jobs(actor=page.actor, status=JobStatus.SUCCEEDED)[:HISTORY])


def _described(voice: Voice) -> str:
    return f"{voice.name} {voice.language} {voice.gender or ''} {voice.model}".lower()


def _sample(voice: Voice) -> str:
    return SAMPLES.get(voice.language.partition("-")[0].lower(), voice.name)


urlpatterns = [
    path("dashboard/studio/speak", SpeakPage.as_view(), name="studio-speak"),
    path("dashboard/studio/speak/audio", SpeakAudio.as_view(), name="studio-speak-audio"),
    path("dashboard/voices", VoicesPage.as_view(), name="voices"),
]
NAV = (
    NavItem(
        _("Text to speech"), "dashboard:studio-speak", "volume-2", Section.STUDIO, order=10, role=Role.DEVELOPER,
        shortcut="g t", keywords="speak synthesis tts",
    ),
    NavItem(_("Voices"), "dashboard:voices", "mic-vocal", Section.SPEECH, order=20, shortcut="g v"),
)  # fmt: skip
COMMANDS = (
    Command(_("Speak a text"), "dashboard:studio-speak", "play", role=Role.DEVELOPER, keywords="tts synthesise"),
)
