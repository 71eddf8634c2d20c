"""What the histories of syntheses and transcriptions share."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from analytics.models import Task
from common import storage
from common.admin import OrganizationFilter, ReadOnlyAdmin, status_mark
from common.described import described
from common.display import duration
from jobs.models import Batch


class AudioAdmin(ReadOnlyAdmin):
    """A history whose rows have audio. The link leads through this page's own check to a fresh signed URL."""

    def audio_key_of(self, row: Any) -> str:
        """Where the row's audio lies; empty where there is none. Each page says it for its own rows."""
        return ""

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

    @admin.display(description="play")
    def listen(self, row: Any) -> SafeString | str:
        if not self.audio_key_of(row):
            return "–"
        url = reverse(f"admin:{self._audio_url_name}", args=[row.pk])
        return format_html('<a href="{}" target="_blank" rel="noopener">Listen</a>', url)


REQUEST = (
    "Request",
    {"fields": ("organization", "user", "api_key", "shown_options", "request_id", "batch_id", "custom_id")},
)
COURSE = (
    "Course",
    {"fields": ("created_at", "started_at", "finished_at", "shown_timings", "error_code", "error_message")},
)


class JobAdmin(AudioAdmin):
    """Subclasses give the fieldset of the result."""

    result_fields: ClassVar[tuple[str, ...]]
    list_filter: ClassVar[Any] = (OrganizationFilter, "status", "created_at")
    list_select_related: ClassVar[Any] = ("organization", "user", "api_key")
    search_fields: ClassVar[Any] = ("id", "request_id", "custom_id", "user__email", "api_key__name")
    date_hierarchy = "created_at"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return ((None, {"fields": self.result_fields}), REQUEST, COURSE)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    @admin.display(description="status", ordering="status")
    def state(self, job: Any) -> SafeString:
        return status_mark(job.status, job.get_status_display())

    @admin.display(description="made by")
    def made_by(self, job: Any) -> str:
        return job.api_key.name if job.api_key else str(job.user or "–")

    @admin.display(description="options")
    def shown_options(self, job: Any) -> SafeString | str:
        return described(job.options)

    @admin.display(description="timings (seconds)")
    def shown_timings(self, job: Any) -> SafeString | str:
        return described(job.timings)

    @admin.display(description="duration", ordering="duration_seconds")
    def audio_length(self, job: Any) -> str:
        return duration(job.duration_seconds)


class TaskFilter(admin.SimpleListFilter):
    title = "task"
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Task.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(task=self.value()) if self.value() else queryset


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    """Its jobs are found by its id, which they have."""

    list_display = ("created_at", "kind", "organization", "size", "state", "finished_at")
    list_filter = (OrganizationFilter, TaskFilter, "closed", "created_at")
    list_select_related = ("organization",)
    search_fields = ("id",)
    date_hierarchy = "created_at"
    fields = ("id", "organization", "kind", "size", "state", "created_at", "finished_at")
    readonly_fields = fields

    @admin.display(description="task", ordering="task")
    def kind(self, batch: Batch) -> str:
        return str(Task(batch.task).label)

    @admin.display(description="status", ordering="finished_at")
    def state(self, batch: Batch) -> SafeString:
        if batch.finished_at:
            return status_mark("succeeded", "Ended")
        return status_mark("processing", "Under way") if batch.closed else status_mark("queued", "Being filled")
