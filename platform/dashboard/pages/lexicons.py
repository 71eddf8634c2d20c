"""Lexicons: how an organisation wants its words pronounced; each entry can be heard before it is saved."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from accounts.models import Role
from common import errors, storage
from common.display import language_name
from common.errors import error_body
from dashboard.access import Action, Page
from dashboard.forms import attempt, succeeds
from dashboard.listing import listing
from dashboard.nav import Command, NavItem, Section
from ml.errors import MlError
from ml.tts import pls
from ml.tts.lexicon import MAX_GRAPHEME, MAX_SPOKEN
from ml.types import SynthesisOptions
from tts import selectors as tts
from tts import services as speech
from tts.lexicons import selectors, services
from tts.lexicons.models import PronunciationLexicon

MOST_EDITED = 500
"""Entries that are edited in a page; longer lexicons are read from a file."""

_FIELDS = ("grapheme", "alias", "ipa")


class LexiconForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=100)
    language = forms.ChoiceField(label=_("Language"), required=False)
    is_default = forms.BooleanField(
        label=_("Holds for every text"), required=False, help_text=_("Where a request names no lexicon.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tags = {voice.language for voice in tts.list_voices()}
        languages = sorted(((tag, language_name(tag)) for tag in tags), key=lambda pair: pair[1])
        self.fields["language"].choices = [("", _t("Any language")), *languages]  # type: ignore[attr-defined]


class ImportForm(forms.Form):
    file = forms.FileField(label=_("File"), help_text=_("PLS 1.0, or CSV with a header: grapheme, alias, ipa, …"))
    replace = forms.BooleanField(label=_("In place of the entries that are there"), required=False)


class LexiconsPage(Page):
    post_role = Role.DEVELOPER

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, LexiconForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = LexiconForm(request.POST)
        if form.is_valid():
            row = attempt(form, lambda: services.create_lexicon(actor=self.actor, **form.cleaned_data))
            if row is not None:
                return self.done(_t("The lexicon was made."), "dashboard:lexicon", row.id)
        return self._page(request, form)

    def _page(self, request: HttpRequest, form: LexiconForm) -> HttpResponse:
        rows = listing(request, selectors.list_lexicons(actor=self.actor))
        fields = {"form": form, "open": bool(form.errors) or "new" in request.GET, "listing": rows}
        return self.render("dashboard/lexicons/list.html", fields, status=400 if form.errors else 200)


class LexiconPage(Page):
    post_role = Role.DEVELOPER

    def get(self, request: HttpRequest, lexicon_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        initial = {"name": row.name, "language": row.language, "is_default": row.is_default}
        return self._page(row, LexiconForm(initial=initial), row.entries)

    def post(self, request: HttpRequest, lexicon_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        form, entries = LexiconForm(request.POST), row.entries
        if row.entry_count <= MOST_EDITED:
            entries = _entries(request, row)
        if form.is_valid():
            changes = {**form.cleaned_data, "entries": entries}
            if succeeds(form, lambda: services.update_lexicon(actor=self.actor, lexicon=row, changes=changes)):
                return self.done(_t("The lexicon was saved."), "dashboard:lexicon", lexicon_id)
        return self._page(row, form, entries)

    def _page(self, row: PronunciationLexicon, form: LexiconForm, entries: list[dict[str, Any]]) -> HttpResponse:
        for field in form.fields.values():
            field.disabled = not self.actor.has_role(Role.DEVELOPER)
        fields = {
            "lexicon": row,
            "form": form,
            "import_form": ImportForm(),
            "entries": entries[:MOST_EDITED],
            "editable": row.entry_count <= MOST_EDITED and self.actor.has_role(Role.DEVELOPER),
            "most_grapheme": MAX_GRAPHEME,
            "most_spoken": MAX_SPOKEN,
        }
        return self.render("dashboard/lexicons/lexicon.html", fields, status=400 if form.errors else 200)


def _entries(request: HttpRequest, row: PronunciationLexicon) -> list[dict[str, Any]]:
    """Those of the page's table; what it does not show of an entry (language, case) stays. Empty lines go."""
    kept = {entry["grapheme"]: entry for entry in row.entries}
    lines = zip(*(request.POST.getlist(name) for name in _FIELDS), strict=False)
    entries = [dict(zip(_FIELDS, (value.strip() for value in line), strict=True)) for line in lines if any(line)]
    usual = {"language": "", "case_sensitive": False}
    return [{**usual, **kept.get(entry["grapheme"], {}), **entry} for entry in entries]


class LexiconPreview(Page):
    """How a text is said with one entry, or with the lexicon: its phonemes, and its audio. A job like any other."""

    role = Role.DEVELOPER
    http_method_names = ["post", "options"]  # noqa: RUF012  (Django's way)

    def post(self, request: HttpRequest, lexicon_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        entry = {name: request.POST.get(name, "")[:MAX_SPOKEN] for name in _FIELDS}
        text = request.POST.get("text", "").strip()[:200] or entry["grapheme"]
        wanted = speech.SynthesisRequest(
            text,
            SynthesisOptions(language=row.language) if row.language else SynthesisOptions(),
            "mp3",
            lexicon=[entry] if entry["grapheme"] else [str(row.id)],
        )
        try:
            if not text:
                raise errors.InvalidRequest(_t("Write what is to be said."), param="text")
            job, phonemes, _applied = speech.preview(actor=self.actor, request=wanted)
        except (errors.ApiError, MlError) as error:
            body = error_body(error.status, code=error.code, message=error.message, param=error.param)
            return JsonResponse(body, status=error.status)
        return JsonResponse({"phonemes": phonemes, "audio_url": storage.signed_url(request, job.audio_key)})


class LexiconImport(Action):
    role = Role.DEVELOPER

    def post(self, request: HttpRequest, lexicon_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        form = ImportForm(request.POST, request.FILES)
        if not form.is_valid():
            raise errors.InvalidRequest(_t("Choose a file."), param="file")
        upload = form.cleaned_data["file"]
        if upload.size > settings.TTS_LEXICON_MAX_BYTES:
            most = f"{settings.TTS_LEXICON_MAX_BYTES:,}"
            raise errors.TooLarge(_t("A lexicon's file has at most %s bytes.") % most, code="file_too_large")
        changed = services.import_entries(
            actor=self.actor,
            lexicon=row,
            data=upload.read(),
            format_name="csv" if upload.name.lower().endswith(".csv") else "pls",
            replace=form.cleaned_data["replace"],
        )
        text = _t("The lexicon has %(count)d entries now.") % {"count": changed.entry_count}
        return self.done(text, "dashboard:lexicon", lexicon_id)


class LexiconExport(Page):
    def get(self, request: HttpRequest, lexicon_id: uuid.UUID) -> HttpResponse:
        """As CSV, which keeps all of an entry."""
        row = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        headers = {"Content-Disposition": f'attachment; filename="{row.id}.csv"'}
        content = pls.write_csv(map(selectors.entry_of, row.entries))
        return HttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)


class LexiconDelete(Action):
    role = Role.DEVELOPER

    def post(self, request: HttpRequest, lexicon_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        services.delete_lexicon(actor=self.actor, lexicon=row)
        return self.done(_t("The lexicon was deleted."), "dashboard:lexicons")


_BASE = "dashboard/lexicons"
urlpatterns = [
    path(_BASE, LexiconsPage.as_view(), name="lexicons"),
    path(f"{_BASE}/<uuid:lexicon_id>", LexiconPage.as_view(), name="lexicon"),
    path(f"{_BASE}/<uuid:lexicon_id>/preview", LexiconPreview.as_view(), name="lexicon-preview"),
    path(f"{_BASE}/<uuid:lexicon_id>/import", LexiconImport.as_view(), name="lexicon-import"),
    path(f"{_BASE}/<uuid:lexicon_id>/export", LexiconExport.as_view(), name="lexicon-export"),
    path(f"{_BASE}/<uuid:lexicon_id>/delete", LexiconDelete.as_view(), name="lexicon-delete"),
]
NAV = (
    NavItem(
        _("Lexicons"), "dashboard:lexicons", "book-open", Section.SPEECH, order=25, shortcut="g l",
        keywords="pronunciation words ipa alias",
    ),
)  # fmt: skip
COMMANDS = (Command(_("Make a lexicon"), "dashboard:lexicons", "plus", role=Role.DEVELOPER, query="?new=1"),)
