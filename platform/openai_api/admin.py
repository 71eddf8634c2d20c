"""Aliases of OpenAI's names."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.actors import Actor
from common.admin import OrganizationFilter, ServiceAdmin
from openai_api import services
from openai_api.models import OpenAIAlias


@admin.register(OpenAIAlias)
class OpenAIAliasAdmin(ServiceAdmin):
    offers = frozenset({"add", "change", "delete"})
    list_display = ("name", "kind", "target", "organization", "created_at")
    list_filter = (OrganizationFilter, "kind")
    list_select_related = ("organization",)
    search_fields = ("name", "target")
    date_hierarchy = "created_at"
    fields = ("organization", "kind", "name", "target")

    def get_readonly_fields(self, request: HttpRequest, obj: OpenAIAlias | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization", "created_at")

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> OpenAIAlias:
        return services.create_alias(actor=actor, **fields)

    def change(self, actor: Actor, row: OpenAIAlias, changes: dict[str, Any]) -> OpenAIAlias:
        return services.update_alias(actor=actor, alias=row, changes=changes)

    def delete(self, actor: Actor, row: OpenAIAlias) -> None:
        services.delete_alias(actor=actor, alias=row)
