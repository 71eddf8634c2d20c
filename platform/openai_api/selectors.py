"""Reads: an organisation's aliases, and the models that its OpenAI clients see."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from accounts.actors import Actor
from common import errors
from common.access import get_owned, owned_by
from models_registry import selectors as registry
from openai_api.models import AliasKind, OpenAIAlias
from openai_api.names import platform_aliases

_TASKS = (AliasKind.STT, AliasKind.TTS)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model, or a name that stands for one."""

    id: str
    created_at: datetime
    owned_by: str
    task: str


def list_aliases(*, actor: Actor) -> QuerySet[OpenAIAlias]:
    return owned_by(actor, OpenAIAlias)


def get_alias(*, actor: Actor, alias_id: uuid.UUID) -> OpenAIAlias:
    return get_owned(actor, OpenAIAlias, alias_id)


def list_models(*, actor: Actor) -> list[ListedModel]:
    """Every name that a request may have as its `model`, once each: own aliases, the platform's, installed models."""
    found: dict[str, ListedModel] = {}
    for model in _named(actor):
        found.setdefault(model.id, model)
    return list(found.values())


def get_model(*, actor: Actor, name: str) -> ListedModel:
    model = next((model for model in list_models(actor=actor) if model.id == name), None)
    if model is None:
        raise errors.NotFound(f"The model '{name[:100]}' does not exist.", code="model_not_found", param="model")
    return model


def _named(actor: Actor) -> Iterator[ListedModel]:
    for alias in list_aliases(actor=actor).filter(kind__in=_TASKS):
        yield ListedModel(alias.name, alias.created_at, actor.organization.slug, alias.kind)
    installed = list(registry.list_active().filter(task__in=_TASKS))
    oldest = min((row.created_at for row in installed), default=timezone.now())
    for task in _TASKS:
        for name in platform_aliases(task):
            yield ListedModel(name, oldest, "system", task)
    for row in installed:
        yield ListedModel(row.name, row.created_at, "system", row.task)
