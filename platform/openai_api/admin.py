"""Aliases of OpenAI's names."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from common.admin import OrganizationFilter, ScopedAdmin, become, owner_of
from openai_api import services
from openai_api.models import OpenAIAlias


@admin.register(OpenAIAlias)
class OpenAIAliasAdmin(ScopedAdmin):
    offers = frozenset({"add", "change", "delete"})
    list_display = ("name", "kind", "target", "organization", "created_at")
    list_filter = (OrganizationFilter, "kind")
    list_select_related = ("organization",)
    search_fields = ("name", "target")
    date_hierarchy = "created_at"
    fields = ("organization", "kind", "name", "target")

    def get_readonly_fields(self, request: HttpRequest, obj: OpenAIAlias | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization", "created_at")

    def save_model(self, request: HttpRequest, obj: OpenAIAlias, form: forms.ModelForm, change: bool) -> None:
        fields: dict[str, Any] = dict(form.cleaned_data)
        if change:
            stored = self.get_queryset(request).get(pk=obj.pk)
            changes = {name: fields[name] for name in form.changed_data}
            actor = owner_of(request, stored.organization)
            become(obj, services.update_alias(actor=actor, alias=stored, changes=changes))
            return
        actor = owner_of(request, fields.pop("organization"))
        become(obj, services.create_alias(actor=actor, **fields))

    def delete_model(self, request: HttpRequest, obj: OpenAIAlias) -> None:
        services.delete_alias(actor=owner_of(request, obj.organization), alias=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[OpenAIAlias]) -> None:
        for alias in queryset:
            self.delete_model(request, alias)
