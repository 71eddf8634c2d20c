"""The operator pages. A view parses, calls one selector or service with the visitor's Actor, and renders."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from accounts.forms import SignInForm
from accounts.models import Role
from common import storage
from dashboard import selectors
from dashboard.access import HOME, Page, choose_organization, safe_next


@method_decorator([never_cache, sensitive_post_parameters("password")], name="dispatch")
class LoginView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        target = safe_next(request, request.GET.get("next"))
        if request.user.is_authenticated:
            return HttpResponseRedirect(target)
        return self._form(request, SignInForm(request), target)

    def post(self, request: HttpRequest) -> HttpResponse:
        target = safe_next(request, request.POST.get("next"))
        form = SignInForm(request, request.POST)
        if not form.is_valid():
            return self._form(request, form, target)
        login(request, form.user)  # gives the session a new key
        return HttpResponseRedirect(target)

    def _form(self, request: HttpRequest, form: SignInForm, target: str) -> HttpResponse:
        status = 429 if form.retry_after_seconds else 400 if form.errors else 200
        response = render(request, "dashboard/login.html", {"form": form, "next": target}, status=status)
        if form.retry_after_seconds:
            response["Retry-After"] = str(form.retry_after_seconds)
        return response


class LogoutView(View):
    http_method_names = ["post", "options"]  # noqa: RUF012  (Django's way)

    def post(self, request: HttpRequest) -> HttpResponse:
        logout(request)
        return redirect("dashboard:login")


class OrganizationView(Page):
    http_method_names = ["post", "options"]  # noqa: RUF012

    def post(self, request: HttpRequest) -> HttpResponse:
        """Acts in another of the person's organisations from now on."""
        choose_organization(request, self.visitor, request.POST.get("organization", ""))
        return HttpResponseRedirect(HOME)


@method_decorator(never_cache, name="dispatch")
class HomeView(Page):
    def get(self, request: HttpRequest) -> HttpResponse:
        fields = {
            "home": selectors.home(actor=self.actor),
            "base_url": request.build_absolute_uri("/").rstrip("/"),
            "may_make_keys": self.actor.has_role(Role.ADMIN),
        }
        return self._render(request, "dashboard/home.html", fields)

    def _render(self, request: HttpRequest, template: str, fields: dict[str, Any]) -> HttpResponse:
        return render(request, template, {**shell(self), **fields})


class AudioView(Page):
    def get(self, request: HttpRequest, task: str, job_id: uuid.UUID) -> HttpResponse:
        """To a fresh signed URL of a job's audio."""
        key = selectors.audio_key(actor=self.actor, task=task, job_id=job_id)
        return HttpResponseRedirect(storage.signed_url(request, key))


def shell(page: Page) -> dict[str, Any]:
    """What the frame around every page shows."""
    owner = page.actor.has_role(Role.OWNER)
    return {
        "actor": page.actor,
        "role_label": Role(page.actor.role).label,
        "memberships": page.visitor.memberships,
        "show_admin": owner or page.actor.user.is_superuser,  # type: ignore[union-attr]
        "is_owner": owner,
        "version": settings.VERSION,
    }
