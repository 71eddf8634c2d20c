"""Rollouts as one process follows them: which candidates it has in memory, and which requests they are given.

No request asks the database: `of` reads what the process's own thread (`models_registry.runtime`) keeps up to date.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from ml.errors import MlError
from models_registry import engines, folders
from models_registry.models import ModelVersion, Rollout, RolloutMode, RolloutStatus

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """A running rollout."""

    rollout_id: UUID
    task: str
    name: str
    version: str
    mode: str
    share: float  # 0–1
    organization_id: UUID | None  # None: everybody's

    def takes(self, job_id: UUID) -> bool:
        """Whether a request is in the share: the same at every attempt, and for each rollout other requests."""
        drawn = hashlib.sha256(self.rollout_id.bytes + job_id.bytes).digest()[:8]
        return int.from_bytes(drawn) < self.share * 2**64

    @property
    def is_canary(self) -> bool:
        return self.mode == RolloutMode.CANARY


@dataclass(frozen=True, slots=True)
class Unfit:
    """A candidate that does not load here."""

    rollout_id: UUID
    reason: str


class Trials:
    """Of this process: `models_registry.runtime.current.trials`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[Trial, ...] = ()

    def running(self) -> tuple[Trial, ...]:
        return self._running

    def of(self, *, organization_id: UUID, task: str, name: str) -> Trial | None:
        """The trial that a request to this model is subject to."""
        for trial in self._running:
            if (trial.task, trial.name) == (task, name) and trial.organization_id in (None, organization_id):
                return trial
        return None

    def follow(self) -> list[Unfit]:
        """Loads the candidates of the rollouts that run, and takes away the others; which did not load, and why.

        A candidate is given requests only once it is in memory: nobody waits for it.
        """
        rows = {rollout.id: rollout for rollout in _running_rollouts()}
        connection.close()  # models load for minutes
        with self._lock:
            over = [trial for trial in self._running if trial.rollout_id not in rows]
            kept = tuple(trial for trial in self._running if trial.rollout_id in rows)
            self._running = kept
            for trial in over:
                engines.uninstall_trial(trial.name, trial.version)
            known = {trial.rollout_id for trial in kept}
            return self._begin(rollout for rollout_id, rollout in rows.items() if rollout_id not in known)

    def _begin(self, rollouts: Iterable[Rollout]) -> list[Unfit]:
        unfit = []
        for rollout in rollouts:
            try:
                _load(rollout.candidate)
            except MlError as error:
                log.error("candidate did not load", extra={"model": str(rollout.candidate), "error": error.message})
                unfit.append(Unfit(rollout.id, error.message))
                continue
            self._running = (*self._running, _trial(rollout))
        return unfit


def _running_rollouts() -> list[Rollout]:
    return list(Rollout.objects.filter(status=RolloutStatus.RUNNING).select_related("candidate"))


def _load(candidate: ModelVersion) -> None:
    engines.install_trial(folders.folder_of(candidate))
    try:
        engines.warm_trial(candidate.name, candidate.version)
    except MlError:
        engines.uninstall_trial(candidate.name, candidate.version)
        raise


def _trial(rollout: Rollout) -> Trial:
    return Trial(
        rollout_id=rollout.id,
        task=rollout.task,
        name=rollout.name,
        version=rollout.candidate.version,
        mode=rollout.mode,
        share=rollout.share,
        organization_id=rollout.organization_id,
    )
