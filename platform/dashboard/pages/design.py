"""/design: every component once, in debug mode."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone

from accounts.models import ApiKey
from dashboard.access import Page
from dashboard.listing import FilterForm, Listing
from dashboard.toasts import toast


class ExampleForm(forms.Form):
    name = forms.CharField(max_length=40, help_text="What you recognise it by.")
    email = forms.EmailField(label="E-mail address", required=False)
    speed = forms.IntegerField(min_value=1, max_value=4, initial=2)
    voice = forms.ChoiceField(choices=[("anna", "Anna"), ("bert", "Bert")])
    scopes = forms.MultipleChoiceField(
        choices=[("tts", "Text to speech"), ("stt", "Speech to text")], widget=forms.CheckboxSelectMultiple
    )
    notes = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    active = forms.BooleanField(required=False, label="Active", help_text="Takes effect at once.")


class ExampleFilters(FilterForm):
    q = forms.CharField(label="Search", widget=forms.TextInput(attrs={"type": "search"}))
    status = forms.ChoiceField(choices=[("", "Any status"), ("succeeded", "Succeeded"), ("failed", "Failed")])
    since = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}))


class DesignView(Page):
    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not settings.DEBUG:
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, ExampleForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        if "toast" in request.POST:
            toast(request, "The job was cancelled.", undo="/design")
            return HttpResponse(status=204)
        form = ExampleForm(request.POST)
        return self.done("It is valid.", "/design") if form.is_valid() else self._page(request, form)

    def _page(self, request: HttpRequest, form: ExampleForm) -> HttpResponse:
        now = timezone.now()
        rows = tuple(ApiKey(name=f"Key {number}", prefix=f"sp_{number:06}") for number in range(1, 6))
        fields: dict[str, Any] = {
            "form": form,
            "filters": ExampleFilters(request),
            "listing": Listing(rows, 2, 5, 23, True, ""),
            "nothing": Listing((), 1, 5, 0, False, ""),
            "statuses": [
                (name, name.capitalize()) for name in ("succeeded", "failed", "processing", "queued", "cancelled")
            ],
            "now": now,
            "yesterday": now - timedelta(days=1),
            "tabs": [
                {"label": "Overview", "url": "/design", "current": True},
                {"label": "Deliveries", "url": "/design?tab=2", "count": 12},
            ],
        }
        status = 400 if form.errors else 200
        return self.render("dashboard/design.html", fields, part="dashboard/design_rows.html", status=status)


urlpatterns = [path("design", DesignView.as_view(), name="design")]
