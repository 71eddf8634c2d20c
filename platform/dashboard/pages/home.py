"""The first page: health, usage, the last jobs."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.generic import RedirectView

from accounts import services
from accounts.models import Role, Scope
from common import storage
from dashboard import selectors
from dashboard.access import Page
from dashboard.nav import NavItem, Section

FIRST_KEY_DAYS = 90


class HomeView(Page):
    post_role = Role.ADMIN

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page()

    def post(self, request: HttpRequest) -> HttpResponse:
        """Makes the key of the first steps. This answer alone shows it."""
        expires_at = timezone.now() + timedelta(days=FIRST_KEY_DAYS)
        _row, key = services.create_api_key(
            actor=self.actor, name=gettext("First steps"), scopes=list(Scope.values), expires_at=expires_at
        )
        return self._page(key)

    def _page(self, key: str = "") -> HttpResponse:
        fields = {"home": selectors.home(actor=self.actor), "secret": key, "key_days": FIRST_KEY_DAYS}
        return self.render("dashboard/home.html", fields)


class RecentJobs(Page):
    """The last jobs alone: Home asks for them while somebody looks."""

    def get(self, request: HttpRequest) -> HttpResponse:
        fields = {"jobs": selectors.recent_jobs(actor=self.actor)}
        return self.render("dashboard/home/recent.html", fields, part="dashboard/home/recent.html")


class AudioView(Page):
    def get(self, request: HttpRequest, task: str, job_id: uuid.UUID) -> HttpResponse:
        """To a fresh signed URL of a job's audio."""
        key = selectors.audio_key(actor=self.actor, task=task, job_id=job_id)
        return HttpResponseRedirect(storage.signed_url(request, key))


urlpatterns = [
    path("dashboard", HomeView.as_view(), name="home"),
    path("dashboard/recent", RecentJobs.as_view(), name="home-recent"),
    path("dashboard/", RedirectView.as_view(pattern_name="dashboard:home")),
    path("dashboard/jobs/<str:task>/<uuid:job_id>/audio", AudioView.as_view(), name="audio"),
]

NAV = (NavItem(_("Home"), "dashboard:home", "house", Section.OVERVIEW, order=0, shortcut="g h"),)
