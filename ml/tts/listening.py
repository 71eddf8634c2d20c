"""Whoever hears speech while it is made: how far it is ahead of him decides how urgent the next sentence is."""

from __future__ import annotations

import time
from dataclasses import replace

from ml.types import Caller

AHEAD_SECONDS = 2.0
"""With less than this left to hear, the next sentence goes before work that nobody listens to."""


class Listener:
    """Hears from the first sound on, without a break while there is any. Not for several threads.

    Whoever fetches a long text as fast as it can be made is soon far ahead, and takes his turn among the others again.
    """

    def __init__(self, caller: Caller) -> None:
        self._patient, self._urgent = caller, replace(caller, priority="realtime")
        self._heard_at = 0.0  # time.monotonic(), when all that was made has been heard

    @property
    def ahead_seconds(self) -> float:
        """How much of what was made is still to be heard."""
        return max(0.0, self._heard_at - time.monotonic())

    def turn(self) -> Caller:
        """For whom the next sentence is computed."""
        return self._urgent if self.ahead_seconds < AHEAD_SECONDS else self._patient

    def gets(self, seconds: float) -> None:
        """So much more has been made."""
        self._heard_at = max(self._heard_at, time.monotonic()) + seconds

    def forget(self) -> None:
        """What was made will not be heard to its end."""
        self._heard_at = 0.0
