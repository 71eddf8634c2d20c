"""Whose memory it is: what models that are loaded, or being loaded, take of each device, and which of them have to go
for another. Arithmetic alone: it loads and closes nothing, and is called by `ml.residency` under its lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ml import devices, errors
from ml.loading import ModelSpec


@dataclass(eq=False)
class Resident:
    """A loaded version. It is closed by whoever makes it both retired and unused, which happens once."""

    spec: ModelSpec
    engine: Any
    memory_bytes: int
    loaded_at: float  # seconds since the epoch
    last_used: float  # of the pool's clock
    users: int = 0
    retired: bool = False  # takes no new users

    def process_bytes(self) -> int:
        told = getattr(self.engine, "process_bytes", None)
        return told() if callable(told) else 0


class Room:
    """budget_bytes: by device ("cuda:1") or kind of memory ("host", "cuda": each GPU's); none: no limit."""

    def __init__(self, budget_bytes: Mapping[str, int]) -> None:
        self.budget_bytes = dict(budget_bytes)
        self._residents: list[Resident] = []  # all that hold memory: serving, and retired until their last user left
        self._reserved: list[ModelSpec] = []  # being loaded

    def taken(self) -> dict[str, int]:
        """By device."""
        return {resident.spec.device: self._used(resident.spec.device) for resident in self._residents}

    def reserve(self, spec: ModelSpec, unused: Iterable[Resident]) -> list[Resident]:
        """Takes the room that `spec` needs; which of `unused` have to be closed before it is loaded.

        Raises `EngineUnavailable` where all of them would not be enough.
        """
        excess = self._used(spec.device) + spec.estimated_bytes - self._limit(spec.device)
        victims = _least_recent(unused, spec.device, excess)
        if excess > sum(resident.memory_bytes for resident in victims):
            raise errors.EngineUnavailable(
                f"{spec.id} needs {spec.estimated_bytes / 1e6:,.0f} MB of {spec.device} memory; "
                f"{excess / 1e6:,.0f} MB of that are in use by other models."
            )
        self._reserved.append(spec)
        return victims

    def give_up(self, spec: ModelSpec) -> None:
        """What was reserved is not needed: the load failed."""
        self._reserved.remove(spec)

    def fill(self, resident: Resident, unused: Iterable[Resident]) -> list[Resident]:
        """What was reserved is taken; of `unused`, those to close where it turned out larger than estimated."""
        self._reserved.remove(resident.spec)
        self._residents.append(resident)
        device = resident.spec.device
        return _least_recent(unused, device, self._used(device) - self._limit(device))

    def leave(self, resident: Resident) -> None:
        """Its engine was closed."""
        self._residents.remove(resident)

    def _limit(self, device: str) -> float:
        return self.budget_bytes.get(device, self.budget_bytes.get(devices.memory_kind(device), float("inf")))

    def _used(self, device: str) -> int:
        """What is being closed counts no more: whoever retired it waits for that before he loads."""
        held = sum(r.memory_bytes for r in self._residents if r.spec.device == device and (r.users or not r.retired))
        return held + sum(spec.estimated_bytes for spec in self._reserved if spec.device == device)


def _least_recent(unused: Iterable[Resident], device: str, excess: float) -> list[Resident]:
    """So many of a device that `excess` bytes are freed, or all; the least recently used first."""
    chosen: list[Resident] = []
    for resident in sorted(unused, key=lambda resident: resident.last_used):
        if excess <= 0:
            break
        if resident.spec.device == device:
            excess -= resident.memory_bytes
            chosen.append(resident)
    return chosen
