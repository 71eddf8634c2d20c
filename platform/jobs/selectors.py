"""Reads that tts and stt jobs share."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TypeVar

from django.apps import apps
from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import Model, QuerySet

from accounts.actors import Actor
from common import errors
from common.access import owned_by
from jobs.models import MODELS, Job, JobStatus

SomeJob = TypeVar("SomeJob", bound=Job)
SomeRow = TypeVar("SomeRow", bound=Model)


def filtered(
    jobs: QuerySet[SomeJob],
    *,
    status: str | None = None,
    created_after: datetime | None = None,
    key: uuid.UUID | None = None,
) -> QuerySet[SomeJob]:
    """Those of `jobs` that a list's query string asks for."""
    if status:
        jobs = jobs.filter(status=status)
    if created_after:
        jobs = jobs.filter(created_at__gt=created_after)
    return jobs.filter(api_key_id=key) if key else jobs


def with_words(rows: QuerySet[SomeRow], words: str) -> QuerySet[SomeRow]:
    """Those of `rows` whose `text` holds all the words; quotes, `or` and `-` before a word work as in web searches.

    The configuration "simple" fits every language: words are found as they were written. Each model has its index.
    """
    query = SearchQuery(words, config="simple", search_type="websearch")
    return rows.annotate(words=SearchVector("text", config="simple")).filter(words=query)  # type: ignore[return-value]


def count_running(organization_id: uuid.UUID, but: uuid.UUID | None = None) -> int:
    """How many of the organisation's jobs compute now, of all kinds; `but` is not counted."""
    running = {"organization_id": organization_id, "status": JobStatus.PROCESSING}
    models = [apps.get_model(label) for label in MODELS.values()]
    return sum(model._default_manager.filter(**running).exclude(id=but).count() for model in models)


def get_batch(*, actor: Actor, jobs: QuerySet[SomeJob], batch_id: uuid.UUID) -> list[SomeJob]:
    """The batch's jobs as they were begun (of a queued batch: as they were sent), or NotFound."""
    found = list(owned_by(actor, jobs).filter(batch_id=batch_id).order_by("created_at", "id"))
    if not found:
        raise errors.NotFound(f"No such batch: {batch_id}.")
    return found
