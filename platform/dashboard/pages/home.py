"""The first page: health, usage, the last jobs."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.translation import gettext_lazy as _
from django.views.generic import RedirectView

from common import storage
from dashboard import selectors
from dashboard.access import Page
from dashboard.nav import NavItem, Section


class HomeView(Page):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.render("dashboard/home.html", {"home": selectors.home(actor=self.actor)})


class AudioView(Page):
    def get(self, request: HttpRequest, task: str, job_id: uuid.UUID) -> HttpResponse:
        """To a fresh signed URL of a job's audio."""
        key = selectors.audio_key(actor=self.actor, task=task, job_id=job_id)
        return HttpResponseRedirect(storage.signed_url(request, key))


urlpatterns = [
    path("dashboard", HomeView.as_view(), name="home"),
    path("dashboard/", RedirectView.as_view(pattern_name="dashboard:home")),
    path("dashboard/jobs/<str:task>/<uuid:job_id>/audio", AudioView.as_view(), name="audio"),
]

NAV = (NavItem(_("Home"), "dashboard:home", "house", Section.OVERVIEW, order=0, shortcut="g h"),)
