"""What a check found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """message: what is, in one sentence. advice: what to do; empty where there is nothing to do."""

    check: str
    level: Level
    message: str
    advice: str = ""


Check = Callable[[], Iterator[Finding]]


class Reporter:
    """Makes the findings of one check."""

    def __init__(self, check: str) -> None:
        self._check = check

    def ok(self, message: str) -> Finding:
        return Finding(self._check, "ok", message)

    def note(self, message: str, advice: str = "") -> Finding:
        """Worth knowing, and nothing wrong: something that is not used here, or could not be looked at."""
        return Finding(self._check, "note", message, advice)

    def warning(self, message: str, advice: str) -> Finding:
        """Works, but not well, or not for long."""
        return Finding(self._check, "warning", message, advice)

    def error(self, message: str, advice: str) -> Finding:
        """Does not work."""
        return Finding(self._check, "error", message, advice)


def megabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def reason(error: BaseException) -> str:
    """One line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
