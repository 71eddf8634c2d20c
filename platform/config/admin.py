"""The Django admin: for platform operators (superusers) and for owners, who see their own organisations only."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest


class SpeechAdminConfig(AdminConfig):
    default_site = "config.admin.SpeechAdminSite"


class SpeechAdminSite(AdminSite):
    site_header = "Speech platform"
    site_title = "Speech platform"
    index_title = "Administration"

    def has_permission(self, request: HttpRequest) -> bool:
        from common.admin import owned_organizations

        user = request.user
        return user.is_active and (user.is_superuser or owned_organizations(request).exists())
