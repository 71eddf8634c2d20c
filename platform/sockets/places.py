"""How many live sessions this process holds, and how many of them one organisation may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from common import errors

RETRY_SECONDS = 5


class Limits(NamedTuple):
    """Sessions at a time."""

    process: int
    organization: int


class Places:
    """Sessions of this process. Only the event loop's thread counts them."""

    def __init__(self, limits: Callable[[], Limits], *, does: str, sessions: str) -> None:
        """limits: asked at each session. does, sessions: for what clients are told: "speaks", "speech sessions"."""
        self._limits, self._does, self._sessions = limits, does, sessions
        self._taken: Counter[str] = Counter()

    def take(self, organization_id: str) -> None:
        """Raises RateLimited."""
        limits = self._limits()
        if self._taken.total() >= limits.process:
            raise _full(f"This server {self._does} in as many sessions as it may; try again.")
        if self._taken[organization_id] >= limits.organization:
            raise _full(f"The organisation may have {limits.organization} {self._sessions} here.")
        self._taken[organization_id] += 1

    def give_back(self, organization_id: str) -> None:
        self._taken[organization_id] -= 1
        if not self._taken[organization_id]:
            del self._taken[organization_id]


def _full(message: str) -> errors.RateLimited:
    return errors.RateLimited(message, code="session_limit", retry_after_seconds=RETRY_SECONDS)
