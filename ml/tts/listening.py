"""Whoever hears speech while it is made: how far it is ahead of him decides how urgent the next sentence is."""

from __future__ import annotations

import time
from dataclasses import replace

from ml.types import Caller

AHEAD_SECONDS = 2.0
"""With less than this left to hear, the next sentence goes before work that nobody listens to."""


class Playback:
    """Sound that is heard from its beginning on, without a break while there is any. Not for several threads."""

    def __init__(self) -> None:
        self._heard_at = 0.0  # time.monotonic(), when all of it has been heard

    @property
    def ahead_seconds(self) -> float:
        """How much is still to be heard."""
        return max(0.0, self._heard_at - time.monotonic())

    def gets(self, seconds: float) -> None:
        """So much more has come."""
        self._heard_at = max(self._heard_at, time.monotonic()) + seconds

    def forget(self) -> None:
        """What has come will not be heard to its end."""
        self._heard_at = 0.0


class Listener(Playback):
    """For whom speech is computed. Whoever fetches a long text as fast as it can be made is soon far ahead, and takes
    his turn among the others again."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self._patient, self._urgent = caller, replace(caller, priority="realtime")

    def turn(self) -> Caller:
        """For whom the next sentence is computed."""
        return self._urgent if self.ahead_seconds < AHEAD_SECONDS else self._patient
