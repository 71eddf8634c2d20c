"""What the histories of syntheses and transcriptions share."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import storage
from common.admin import OrganizationFilter, ReadOnlyAdmin, status_mark
from common.display import duration


class AudioAdmin(ReadOnlyAdmin):
    """A history whose rows have audio. The link leads through this page's own check to a fresh signed URL."""

    def audio_key_of(self, row: Any) -> str:
        """Where the row's audio lies; empty where there is none."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        listen = self.admin_site.admin_view(self.listen_view)
        return [path("<path:object_id>/audio/", listen, name=self._audio_url_name), *super().get_urls()]

    @property
    def _audio_url_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_audio"

    def listen_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        key = self.audio_key_of(row) if row else ""
        if not key:
            raise Http404("There is no audio.")
        return HttpResponseRedirect(storage.signed_url(request, key))

    @admin.display(description="audio")
    def listen(self, row: Any) -> SafeString | str:
        if not self.audio_key_of(row):
            return "–"
        url = reverse(f"admin:{self._audio_url_name}", args=[row.pk])
        return format_html('<a href="{}" target="_blank" rel="noopener">Listen</a>', url)


class JobAdmin(AudioAdmin):
    list_filter: ClassVar[Any] = (OrganizationFilter, "status", "created_at")
    list_select_related: ClassVar[Any] = ("organization", "user", "api_key")
    search_fields: ClassVar[Any] = ("id", "request_id", "custom_id", "user__email", "api_key__name")
    date_hierarchy = "created_at"

    @admin.display(description="status", ordering="status")
    def state(self, job: Any) -> SafeString:
        return status_mark(job.status, job.get_status_display())

    @admin.display(description="duration", ordering="duration_seconds")
    def audio_length(self, job: Any) -> str:
        return duration(job.duration_seconds)
