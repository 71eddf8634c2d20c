"""Writes: which models serve. Every change is announced, and the processes that serve follow it."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F

from accounts.actors import Actor
from audit import services as audit
from common import db, errors
from ml import artifacts, engines, stt, trial, tts
from ml.artifacts import ModelFolder
from ml.errors import MlError, ModelInvalid, UnknownModel
from ml.evaluation import Evaluation
from ml.stt.engines import pocketsphinx
from ml.tts.engines import espeak
from models_registry import defaults, folders, runtime, selectors, watching
from models_registry import engines as runtime_engines
from models_registry.announcements import announce
from models_registry.models import EMBEDDED_VERSION, ModelStatus, ModelTask, ModelVersion, Rollout, RolloutStatus

KEPT_RESULTS = 50
"""Evaluations that are kept with a model; older ones go."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that was not reloaded, and why; the version that served goes on."""

    row: ModelVersion
    reason: str


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    reloaded: tuple[ModelVersion, ...]
    failed: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    model: str  # name@version
    error: str


# ── The embedded models ─────────────────────────────────────────────────────────────────────────────────────────────


def register_embedded() -> list[ModelVersion]:
    """The rows of the recogniser and the synthesiser that come with the platform. Idempotent."""
    recogniser = next(model for model in stt.models() if model.name == pocketsphinx.MODEL_NAME)
    voices = [voice for voice in tts.voices() if voice.model == espeak.MODEL]
    return [
        _upsert_embedded(
            task=ModelTask.STT,
            family=recogniser.engine,
            name=recogniser.name,
            engine=recogniser.engine,
            languages=sorted(recogniser.capabilities.languages),
        ),
        _upsert_embedded(
            task=ModelTask.TTS,
            family=voices[0].engine,
            name=voices[0].model,
            engine=voices[0].engine,
            languages=sorted({voice.language for voice in voices}),
        ),
    ]


def ensure_embedded() -> None:
    """Where nobody has registered them yet: a command may be the first that runs."""
    if not ModelVersion.objects.filter(version=EMBEDDED_VERSION).exists():
        register_embedded()


def _upsert_embedded(*, task: str, family: str, name: str, engine: str, languages: list[str]) -> ModelVersion:
    fields = {"family": family, "engine": engine, "languages": languages, "is_active": True}
    fields["status"] = ModelStatus.READY
    row, _ = ModelVersion.objects.update_or_create(task=task, name=name, version=EMBEDDED_VERSION, defaults=fields)
    defaults.settle_embedded(task)
    return ModelVersion.objects.get(id=row.id)


# ── Which version serves ────────────────────────────────────────────────────────────────────────────────────────────


def activate(
    *,
    actor: Actor | None,
    row: ModelVersion,
    default: bool | None = None,
    going_back: bool = False,
    action: str = "model.activated",
    **recorded: Any,
) -> ModelVersion:
    """Makes a version serve under its name, in every process, without failing a request.

    actor: None for somebody at the command line, as everywhere here.
    default: whether it also serves requests that name no model, in its languages; None: as the version before it, or
    else as `defaults.is_due` says.
    going_back: the version that it takes over from is not remembered as the former one. A trial of the model ends.
    action, recorded: for the audit trail.
    Raises `ModelInvalid` for a folder that is corrupt or does not load; what served before goes on serving.
    """
    if not row.is_embedded:
        check(row)
    with transaction.atomic():
        rows = ModelVersion.objects.select_for_update().filter(task=row.task)
        former: ModelVersion | None = None
        for other in rows.filter(name=row.name):
            if other.is_active and other.id != row.id:
                former = other
                default = other.is_default if default is None else default
                ModelVersion.objects.filter(id=other.id).update(
                    is_active=False, is_default=False, memory_bytes=None, loaded_at=None, status=ModelStatus.REGISTERED
                )
        if default is None:
            default = defaults.is_due(row)
        if default:
            defaults.give_way(row)
        ModelVersion.objects.filter(id=row.id).update(
            is_active=True,
            is_default=default,
            generation=F("generation") + 1,
            status=ModelStatus.READY if row.is_embedded else ModelStatus.REGISTERED,
            last_error="",
            **({"replaced": former} if former is not None and not going_back else {}),
        )
        defaults.settle_embedded(row.task)
        _end_trials(actor, row)
        details = {"former": former.version if former else "", "default": default, **recorded}
        audit.record_for_installation(actor=actor, action=action, target=row, **details)
        announce()
    return ModelVersion.objects.get(id=row.id)


def _end_trials(actor: Actor | None, activated: ModelVersion) -> None:
    """What was on trial serves, or another version does, with which it was not compared."""
    running = Rollout.objects.filter(task=activated.task, name=activated.name, status=RolloutStatus.RUNNING)
    for rollout in running.select_related("candidate"):
        won = rollout.candidate_id == activated.id
        status = RolloutStatus.PROMOTED if won else RolloutStatus.ROLLED_BACK
        reason = "It serves." if won else f"{activated.reference} was activated."
        watching.end(rollout, status=status, reason=reason, actor=actor)


def remove(*, actor: Actor | None, row: ModelVersion, force: bool = False) -> None:
    """Takes a model away and deletes its folder. Refuses the embedded models, and an active one without `force`."""
    if row.is_embedded:
        raise errors.Conflict(f"{row.name} comes with the platform: it cannot be removed.", code="model_embedded")
    if row.is_active and not force:
        raise errors.Conflict(
            f"{row.reference} is active; activate another version first, or use --force.", code="model_active"
        )
    if row.rollouts.filter(status=RolloutStatus.RUNNING).exists():
        raise errors.Conflict(f"{row.reference} is on trial; roll that back first.", code="rollout_running")
    folder = folders.base() / row.path
    with transaction.atomic():
        audit.record_for_installation(actor=actor, action="model.removed", target=row, was_active=row.is_active)
        row.delete()
        defaults.settle_embedded(row.task)
        announce()
    if row.path and folder.is_dir():
        # Renamed first: a folder that is half deleted must not look like a model.
        condemned = folders.base() / ".staging" / f"removed-{row.id}"
        condemned.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(condemned)
        shutil.rmtree(condemned, ignore_errors=True)


def reload(*, actor: Actor | None, task: str | None = None, model: str | None = None) -> ReloadOutcome:
    """Loads the active models anew, or one task's, or one: in this process before it returns, in the others soon after.

    A model whose folder is corrupt or does not load is left as it runs, and is among the failures. Raises `NotFound`
    for a model or task that has nothing active.
    """
    folders.synchronise_rows()
    rows = _active(task, model)
    failures: list[Failure] = []
    checked: list[ModelVersion] = []
    for row in rows:
        try:
            if not row.is_embedded:
                check(row)
            checked.append(row)
        except MlError as error:
            failures.append(Failure(row, error.message))
    ids = [row.id for row in checked]
    with transaction.atomic():
        reloading = ModelVersion.objects.filter(id__in=ids)
        reloading.exclude(version=EMBEDDED_VERSION).update(status=ModelStatus.REGISTERED)
        reloading.update(generation=F("generation") + 1, last_error="")
        for row in checked:
            audit.record_for_installation(actor=actor, action="model.reloaded", target=row)
        for failure in failures:
            ModelVersion.objects.filter(id=failure.row.id).update(status=ModelStatus.FAILED, last_error=failure.reason)
            _record_refusal(actor, failure)
        announce()
    for failure in (refused := _follow_here(checked)):
        _record_refusal(actor, failure)
    failures += refused
    failed = {failure.row.id for failure in failures}
    reloaded = ModelVersion.objects.filter(id__in=[row_id for row_id in ids if row_id not in failed])
    return ReloadOutcome(tuple(reloaded), tuple(failures))


def _record_refusal(actor: Actor | None, failure: Failure) -> None:
    action = "model.reload_refused"
    audit.record_for_installation(actor=actor, action=action, target=failure.row, reason=failure.reason)


def initialize(*, task: str, warm: bool = False) -> list[Refusal]:
    """Rebuilds this process's registry from folders and rows, and loads the task's models if asked; what failed."""
    folders.synchronise_rows()
    runtime.current.start()
    runtime.current.retry()
    refused = runtime.current.synchronise()
    rows = list(ModelVersion.objects.filter(task=task, is_active=True))
    refusals = [Refusal(row.reference, refused[row.task, row.name]) for row in rows if (row.task, row.name) in refused]
    if warm:
        refusals += [refusal for row in rows if (row.task, row.name) not in refused for refusal in _warm_here(row)]
    runtime.current.report()
    return refusals


def _warm_here(row: ModelVersion) -> list[Refusal]:
    with db.released():
        try:
            runtime_engines.warm(row.task, row.name)
        except UnknownModel:
            return []  # an embedded model that is no entry of the pool is always ready
        except MlError as error:
            return [Refusal(row.reference, error.message)]
    return []


def _follow_here(rows: Iterable[ModelVersion]) -> list[Failure]:
    """Where this process serves, it follows at once; the rows of what it refused."""
    if not runtime.current.running:
        return []
    refused = runtime.current.synchronise()
    runtime.current.report()
    return [Failure(row, refused[row.task, row.name]) for row in rows if (row.task, row.name) in refused]


def _active(task: str | None, model: str | None) -> list[ModelVersion]:
    rows = ModelVersion.objects.filter(is_active=True)
    if task:
        rows = rows.filter(task=task)
    if model:
        name, _, version = model.partition("@")
        rows = rows.filter(name=name, **({"version": version} if version else {}))
    found = list(rows)
    if not found:
        raise errors.NotFound(
            f"There is no active model {model!r}." if model else f"There is no active {task} model.",
            code="model_not_found",
            param="model" if model else "task",
        )
    return found


def warm(*, rows: Iterable[ModelVersion]) -> None:
    """Asks every process that serves to load these models now, and does so here if this is one."""
    ids = [row.id for row in rows]
    with transaction.atomic():
        ModelVersion.objects.filter(id__in=ids, is_active=True).update(warm_generation=F("warm_generation") + 1)
        announce()
    if runtime.current.running:
        runtime.current.synchronise()
        runtime.current.report()


# ── Checking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def verify(*, row: ModelVersion) -> None:
    """Compares every file with its hash, and remembers the outcome. Raises `ModelInvalid`."""
    try:
        artifacts.verify(folders.folder_of(row))
    except ModelInvalid as error:
        ModelVersion.objects.filter(id=row.id).update(status=ModelStatus.FAILED, last_error=error.message)
        raise
    if row.status == ModelStatus.FAILED:
        ModelVersion.objects.filter(id=row.id).update(status=ModelStatus.REGISTERED, last_error="")


def check(row: ModelVersion) -> ModelFolder:
    """Refuses a folder that is corrupt, that no engine serves, or that does not load; the last is tried once."""
    folder = folders.folder_of(row)
    with db.released():
        artifacts.verify(folder)
        engines.loader(folder)
        sha256 = folders.fingerprint(folder.manifest)
        if row.validated_sha256 != sha256:
            trial.check(folder.path)
    ModelVersion.objects.filter(id=row.id).update(validated_sha256=sha256)
    return folder


# ── Results ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def save_evaluation(*, row: ModelVersion, evaluation: Evaluation) -> None:
    """Keeps the totals with the model: in its `model.json`, which travels with it, and in its row."""
    result = {**evaluation.totals(), "evaluated_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    with transaction.atomic():
        locked = ModelVersion.objects.select_for_update().get(id=row.id)
        results = [*locked.results, result][-KEPT_RESULTS:]
        if not row.is_embedded:
            folder = folders.folder_of(row)
            artifacts.write(folder.path, dataclasses.replace(folder.manifest, results=tuple(results)))
        ModelVersion.objects.filter(id=row.id).update(results=results)


# ── Workers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def wait_for_workers(
    *, rows: Iterable[ModelVersion], timeout_seconds: float, on_trial: bool = False
) -> tuple[list[str], list[str]]:
    """Waits until every serving process serves these rows, or refused to; (those that do, the others' reasons).

    on_trial: until it has them in memory, as candidates of rollouts.
    """
    wanted = list(ModelVersion.objects.filter(id__in=[row.id for row in rows]).exclude(version=EMBEDDED_VERSION))
    deadline = time.monotonic() + timeout_seconds
    while True:
        ready, waiting = [], []
        for worker in selectors.list_workers():
            problems = [problem for row in wanted if (problem := _problem(worker.reports, row, on_trial))]
            if problems:
                waiting.append(f"{worker.id}: {problems[0]}")
            else:
                ready.append(worker.id)
        if not waiting or time.monotonic() > deadline:
            return ready, waiting
        time.sleep(0.2)


def _problem(reports: list[dict[str, object]], row: ModelVersion, on_trial: bool) -> str:
    for report in reports:
        same = (report["task"], report["name"]) == (row.task, row.name)
        if same and report.get("on_trial", False) == on_trial:
            generation = report["generation"] if not on_trial else row.generation
            current = (report["version"], generation) == (row.version, row.generation)
            return "" if current else str(report["last_error"] or "not swapped yet")
    return "not known there yet"
