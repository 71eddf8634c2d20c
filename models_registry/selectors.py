"""Reads: what is installed, how it does, and in which processes."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.actors import Actor
from common import errors
from models_registry.models import ModelStatus, ModelVersion, Rollout, RolloutStatus, WorkerState
from models_registry.runtime import SILENT_SECONDS


@dataclass(frozen=True, slots=True)
class ModelsStatus:
    models: list[ModelVersion]
    workers: list[WorkerState]
    rollouts: list[Rollout]

    @property
    def healthy(self) -> bool:
        """There are models, and no default one has failed."""
        return bool(self.models) and not any(row.is_default and row.status == ModelStatus.FAILED for row in self.models)


def list_models() -> QuerySet[ModelVersion]:
    return ModelVersion.objects.all()


def list_active() -> QuerySet[ModelVersion]:
    return ModelVersion.objects.filter(is_active=True)


def list_workers() -> QuerySet[WorkerState]:
    """Processes that were heard of lately."""
    return WorkerState.objects.filter(seen_at__gte=timezone.now() - timedelta(seconds=SILENT_SECONDS))


def models_status(*, actor: Actor | None = None) -> ModelsStatus:
    """The rows as the processes that live see them now; nothing is saved.

    actor: whose rollouts are shown; None for somebody at the command line, who sees all.
    """
    models, workers = list(list_models()), list(list_workers())
    reports = [report for worker in workers for report in worker.reports]
    for row in models:
        own = [report for report in reports if _is_of(report, row)]
        if own:
            _show(row, own)
    every = Rollout.objects.select_related("candidate", "organization")
    rollouts = list_rollouts(actor=actor) if actor is not None else every
    return ModelsStatus(models, workers, list(rollouts.filter(status=RolloutStatus.RUNNING)))


def list_rollouts(*, actor: Actor, status: str | None = None) -> QuerySet[Rollout]:
    """The organisation's and those of everybody's requests, newest first."""
    theirs = Q(organization=None) | Q(organization_id=actor.organization.id)
    rows = Rollout.objects.filter(theirs).select_related("candidate", "organization")
    return rows.filter(status=status) if status else rows


def get_rollout(*, actor: Actor, rollout_id: uuid.UUID) -> Rollout:
    """Raises `NotFound`, also for another organisation's."""
    row = list_rollouts(actor=actor).filter(id=rollout_id).first()
    if row is None:
        raise errors.NotFound(f"No such rollout: {rollout_id}.")
    return row


def get_model(*, model_id: uuid.UUID) -> ModelVersion:
    """Raises `NotFound`."""
    row = ModelVersion.objects.filter(id=model_id).first()
    if row is None:
        raise errors.NotFound("There is no such model.")
    return row


def default_languages(rows: Iterable[ModelVersion]) -> dict[uuid.UUID, list[str]]:
    """Of each default model, the languages that it serves when a request names no model; see `defaults`.

    One that names no languages, and so is taken to speak any, has an empty list.
    """
    defaults = sorted((row for row in rows if row.is_default), key=lambda row: len(row.languages))
    found: dict[uuid.UUID, list[str]] = {}
    taken: set[tuple[str, str]] = set()
    for row in defaults:
        primary = {language: (row.task, language.partition("-")[0].lower()) for language in row.languages}
        found[row.id] = [language for language in row.languages if primary[language] not in taken]
        taken.update(primary.values())
    return found


def find_version(reference: str, *, task: str | None = None) -> ModelVersion:
    """The row that `name[@version]` means: of a name alone the active version, or the only one. Raises `NotFound`."""
    name, _, version = reference.partition("@")
    rows = ModelVersion.objects.filter(name=name, **({"task": task} if task else {}))
    if version:
        rows = rows.filter(version=version)
    found = list(rows)
    if len(found) > 1 and not version:
        found = [row for row in found if row.is_active] or found
    if not found:
        known = ModelVersion.objects.values_list("name", flat=True)
        raise errors.NotFound(f"There is no model {reference!r}{did_you_mean(name, known)}.", param="model")
    if len(found) > 1:
        choices = ", ".join(f"{row.task}: {row.reference}" for row in found)
        raise errors.Conflict(f"{reference!r} could be {choices}; say which.", param="model")
    return found[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Words to go before a full stop, where a known name is like this one."""
    close = difflib.get_close_matches(name, set(known), n=3, cutoff=0.7)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _is_of(report: dict[str, Any], row: ModelVersion) -> bool:
    same = (report["task"], report["name"], report["version"]) == (row.task, row.name, row.version)
    return same and (row.is_active or report.get("on_trial", False))


def _show(row: ModelVersion, reports: list[dict[str, Any]]) -> None:
    """One row for all processes: failed where one failed, ready where one has it in memory."""
    loaded = [report for report in reports if report["memory_bytes"] is not None]
    failed = next((report for report in reports if report["last_error"]), None)
    if failed is not None:
        row.status, row.last_error = ModelStatus.FAILED, failed["last_error"]
    elif not row.is_embedded and row.status != ModelStatus.FAILED:
        statuses = {report["status"] for report in reports}
        order = (ModelStatus.READY, ModelStatus.LOADING, ModelStatus.REGISTERED)
        row.status = next((status for status in order if status in statuses), ModelStatus.REGISTERED)
    if loaded:
        row.memory_bytes = max(report["memory_bytes"] for report in loaded)
        row.loaded_at = max(datetime.fromisoformat(report["loaded_at"]) for report in loaded if report["loaded_at"])
