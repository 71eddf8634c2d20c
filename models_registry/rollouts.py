"""Writes: how a version takes over from another one, and how it goes back.

promote     judged on what is known (`gate`), and then it serves
start       judged too (a shadow need not be), and then it is given a share of the requests, or hears it in secret
finish      the trial is over; the candidate serves, or not
roll_back   the trial is over, and the active version goes on; without a trial, the version before this one serves
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from accounts.actors import Actor
from accounts.models import Organization
from audit import services as audit
from common import errors
from models_registry import gate, services, watching
from models_registry.announcements import announce
from models_registry.gate import Verdict
from models_registry.models import (
    EvaluationManifest,
    ModelStatus,
    ModelTask,
    ModelVersion,
    Rollout,
    RolloutMode,
    RolloutStatus,
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rollout gives its candidate, and what it allows it."""

    mode: str  # RolloutMode
    share: float  # of the requests, 0–1
    organization: Organization | None = None  # whose requests; None: everybody's
    max_failure_rate: float = 0.05  # 0–1
    max_slowdown: float = 2.0  # times the active version's median
    min_samples: int = 20


@dataclass(frozen=True, slots=True)
class Override:
    """Why somebody wants it in spite of the gate."""

    reason: str


def active_version(candidate: ModelVersion) -> ModelVersion:
    """That serves under the candidate's name. Raises `Conflict`."""
    if candidate.task != ModelTask.STT:
        raise errors.Conflict(
            f"{candidate.reference} recognises nothing, so that it has no error rate; activate it instead.",
            code="model_not_comparable",
            param="model",
        )
    if candidate.is_active:
        raise errors.Conflict(f"{candidate.reference} serves already.", code="model_active", param="model")
    active = ModelVersion.objects.filter(task=candidate.task, name=candidate.name, is_active=True).first()
    if active is None:
        raise errors.Conflict(
            f"No version of {candidate.name} serves, so that there is nothing to compare {candidate.reference} with; "
            "activate it instead.",
            code="model_not_comparable",
            param="model",
        )
    return active


def promote(
    *, actor: Actor | None, candidate: ModelVersion, verdicts: Sequence[Verdict], override: Override | None = None
) -> ModelVersion:
    """Activates a version that `gate.judge` judged no worse. Raises `Conflict`, unless there is an override."""
    active_version(candidate)
    if override is None:
        gate.require(verdicts)
    return services.activate(
        actor=actor,
        row=candidate,
        action="model.promoted",
        forced=override is not None,
        reason=override.reason if override else "",
        verdicts=[str(verdict) for verdict in verdicts],
    )


def start(
    *,
    actor: Actor | None,
    candidate: ModelVersion,
    terms: Terms,
    verdicts: Sequence[Verdict] = (),
    override: Override | None = None,
    reason: str = "",
) -> Rollout:
    """Begins a rollout in every process. A canary is judged as by `promote`; nobody hears a shadow.

    Raises `Conflict`: what `promote` raises, and `rollout_running`; `ModelInvalid`.
    """
    active = active_version(candidate)
    if candidate.status == ModelStatus.FAILED:
        raise errors.Conflict(f"{candidate.reference} is broken: {candidate.last_error}", code="model_failed")
    if terms.mode == RolloutMode.CANARY and override is None:
        gate.require(verdicts)
    services.check(candidate)
    try:
        with transaction.atomic():
            rollout = _create(actor, candidate, active, terms, override, reason)
            announce()
    except IntegrityError:
        raise errors.Conflict(
            f"Another version of {candidate.name} is on trial; end that first.", code="rollout_running", param="model"
        ) from None
    return rollout


def finish(
    *,
    actor: Actor | None,
    rollout: Rollout,
    activate: bool,
    verdicts: Sequence[Verdict] = (),
    override: Override | None = None,
) -> Rollout:
    """Ends a trial; with `activate`, its candidate serves from now on, judged as by `promote` unless it was forced."""
    _require_running(rollout)
    if activate:
        if rollout.forced and override is None:
            override = Override(rollout.reason)
        promote(actor=actor, candidate=rollout.candidate, verdicts=verdicts, override=override)
    elif not watching.end(rollout, status=RolloutStatus.ENDED, reason="It was ended.", actor=actor):
        _require_running(None)
    return Rollout.objects.select_related("candidate").get(id=rollout.id)


def roll_back(*, actor: Actor | None, rollout: Rollout, reason: str = "") -> Rollout:
    """Ends a trial; all requests go to the active version again. Raises `Conflict` where it has ended."""
    ended = watching.end(rollout, status=RolloutStatus.ROLLED_BACK, reason=reason or "It was rolled back.", actor=actor)
    if not ended:
        _require_running(None)
    return Rollout.objects.select_related("candidate").get(id=rollout.id)


def roll_back_model(*, actor: Actor | None, task: str, name: str, reason: str = "") -> ModelVersion:
    """One step back: out of the trial that runs, or else to the version that served before; what serves then.

    Raises `NotFound`, and `Conflict` where there was none.
    """
    active = ModelVersion.objects.select_related("replaced").filter(task=task, name=name, is_active=True).first()
    if active is None:
        raise errors.NotFound(f"There is no active {task} model {name!r}.", code="model_not_found", param="model")
    for rollout in Rollout.objects.select_related("candidate").filter(
        task=task, name=name, status=RolloutStatus.RUNNING
    ):
        roll_back(actor=actor, rollout=rollout, reason=reason)
        return active
    if active.replaced is None:
        raise errors.Conflict(
            f"{active.reference} took over from no other version that is still installed.", code="no_former_version"
        )
    return services.activate(
        actor=actor, row=active.replaced, going_back=True, action="model.rolled_back", reason=reason
    )


def set_manifest(*, organization: Organization | None, path: str | None) -> None:
    """Which recordings versions are judged on, for an organisation or for the installation; None: none any more."""
    rows = EvaluationManifest.objects.filter(organization=organization)
    if path is None:
        rows.delete()
        return
    EvaluationManifest.objects.update_or_create(organization=organization, defaults={"path": path})


def _create(
    actor: Actor | None,
    candidate: ModelVersion,
    active: ModelVersion,
    terms: Terms,
    override: Override | None,
    reason: str,
) -> Rollout:
    rollout = Rollout.objects.create(
        task=candidate.task,
        name=candidate.name,
        candidate=candidate,
        active_version=active.version,
        mode=terms.mode,
        share=terms.share,
        organization=terms.organization,
        max_failure_rate=terms.max_failure_rate,
        max_slowdown=terms.max_slowdown,
        min_samples=terms.min_samples,
        forced=override is not None,
        reason=(override.reason if override else reason)[:500],
        started_by=audit.label_of(actor),
    )
    details = {
        "mode": terms.mode, "share": terms.share, "candidate": candidate.reference, "forced": rollout.forced,
        "reason": rollout.reason, "organization": terms.organization.slug if terms.organization else "",
    }  # fmt: skip
    audit.record_for_installation(actor=actor, action="rollout.started", target=rollout, **details)
    return rollout


def _require_running(rollout: Rollout | None) -> None:
    if rollout is None or rollout.status != RolloutStatus.RUNNING:
        raise errors.Conflict("The rollout has ended already.", code="rollout_ended")
