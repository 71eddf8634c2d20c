"""The Django admin: for platform operators (superusers) and for owners, who see their own organisations only."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

_SPELLING = (("organization", "organisation"), ("api key", "API key"), ("webhook endpoint", "webhook"), ("url", "URL"),
             ("is active", "active"), ("is staff", "staff"), ("is default", "default"), ("object repr", "object"),
             ("action flag", "action"))  # fmt: skip
"""As visible text has it, and what code and columns are called does not."""


class SpeechAdminConfig(AdminConfig):
    default_site = "config.admin.SpeechAdminSite"

    def ready(self) -> None:
        super().ready()
        for model in apps.get_models():
            for named in (model._meta, *model._meta.fields):
                _spell(named)


def _spell(named: Any) -> None:
    """Corrects what a model or a field is called on pages. Migrations keep what was written down, which is no text."""
    for attribute in ("verbose_name", "verbose_name_plural"):
        name = written = str(getattr(named, attribute, ""))  # the plural is made of the singular when it is read
        for wrong, right in _SPELLING:
            name = name.replace(wrong, right)
        if name != written:
            setattr(named, attribute, name)


class SpeechAdminSite(AdminSite):
    site_header = "Speech platform"
    site_title = "Speech platform"
    index_title = "Administration"
    site_url = "/dashboard"
    empty_value_display = "–"

    def has_permission(self, request: HttpRequest) -> bool:
        from common.admin import may_enter

        return may_enter(request)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        """Refuses people who are signed in but own nothing; Django would send them to sign in again."""
        guarded = super().admin_view(view, cacheable)

        def refuse_or_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.user.is_authenticated and not self.has_permission(request):
                raise PermissionDenied
            return guarded(request, *args, **kwargs)

        return update_wrapper(refuse_or_view, guarded)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from accounts.forms import AdminSignInForm  # the site is made before models are loaded

        self.login_form = AdminSignInForm
        response = super().login(request, extra_context)
        form = (getattr(response, "context_data", None) or {}).get("form")
        if wait := getattr(form, "retry_after_seconds", None):
            response.status_code = 429
            response["Retry-After"] = str(wait)
        return response
