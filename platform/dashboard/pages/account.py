"""Signing in and out, and which organisation one acts in."""

from __future__ import annotations

from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from accounts.forms import SignInForm
from dashboard.access import HOME, Action, choose_organization, safe_next, theme_of


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
        fields = {"form": form, "next": target, "theme": theme_of(request)}
        response = render(request, "dashboard/account/login.html", fields, status=status)
        if form.retry_after_seconds:
            response["Retry-After"] = str(form.retry_after_seconds)
        return response


class LogoutView(View):
    http_method_names = ["post", "options"]  # noqa: RUF012  (Django's way)

    def post(self, request: HttpRequest) -> HttpResponse:
        logout(request)
        return redirect("dashboard:login")


class OrganizationView(Action):
    def post(self, request: HttpRequest) -> HttpResponse:
        """Acts in another of the person's organisations from now on."""
        choose_organization(request, self.visitor, request.POST.get("organization", ""))
        return HttpResponseRedirect(HOME)


urlpatterns = [
    path("dashboard/login", LoginView.as_view(), name="login"),
    path("dashboard/logout", LogoutView.as_view(), name="logout"),
    path("dashboard/organization", OrganizationView.as_view(), name="organization"),
]
