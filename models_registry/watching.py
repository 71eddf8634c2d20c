"""How a rollout ends: by whoever comes first, a person or a limit that was passed."""

from __future__ import annotations

import logging
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor
from audit import services as audit
from models_registry.announcements import announce
from models_registry.comparing import compare
from models_registry.models import Rollout, RolloutMode, RolloutStatus

log = logging.getLogger(__name__)


def end(rollout: Rollout, *, status: str, reason: str, actor: Actor | None, automatic: bool = False) -> bool:
    """Ends a rollout that runs, in every process; False when it had ended already.

    actor: None for somebody at the command line, and for the platform itself where it is `automatic`.
    """
    with transaction.atomic():
        running = Rollout.objects.filter(id=rollout.id, status=RolloutStatus.RUNNING)
        if not running.update(status=status, ended_at=timezone.now(), ended_reason=reason[:500]):
            return False
        details = {"candidate": rollout.candidate.reference, "reason": reason}
        if automatic:
            audit.record(actor=None, action=f"rollout.{status}", target=rollout, **details)
        else:
            audit.record_for_installation(actor=actor, action=f"rollout.{status}", target=rollout, **details)
        announce()
    log.warning("rollout ended", extra={"rollout": str(rollout.id), "status": status, "reason": reason})
    return True


def roll_back_automatically(rollout_id: UUID, reason: str) -> None:
    """The requests that follow go to the active version, in every process."""
    for rollout in Rollout.objects.select_related("candidate").filter(id=rollout_id):
        end(rollout, status=RolloutStatus.ROLLED_BACK, reason=reason, actor=None, automatic=True)


def look_after() -> None:
    """Rolls back the canaries that passed a limit. Every process does so now and then, and after a failure."""
    running = Rollout.objects.filter(status=RolloutStatus.RUNNING, mode=RolloutMode.CANARY)
    for rollout in running.select_related("candidate"):
        if reason := passed_limit(rollout):
            roll_back_automatically(rollout.id, reason)


def passed_limit(rollout: Rollout) -> str:
    """Which limit a canary passed; "" where none.

    Failures count from the first request on: more of them than the limit allows among `min_samples` are too many even
    if no other follows. Speed is judged once both versions have answered `min_samples`.
    """
    compared = compare(rollout)
    candidate, active = compared.candidate, compared.active
    allowed = rollout.max_failure_rate * max(candidate.requests, rollout.min_samples)
    if candidate.failures > allowed:
        return (
            f"{candidate.failures} of {candidate.requests} requests failed on {rollout.candidate.reference}; "
            f"the limit is {100 * rollout.max_failure_rate:g} %."
        )
    enough = min(candidate.requests, active.requests) >= rollout.min_samples
    if enough and compared.slowdown is not None and compared.slowdown > rollout.max_slowdown:
        return (
            f"{rollout.candidate.reference} took {compared.slowdown:g} times as long as {active.version}; "
            f"the limit is {rollout.max_slowdown:g}."
        )
    return ""
