"""What several checks of deploy/ share."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

UVICORN_SECONDS, ENDING_SECONDS = 5, 10
"""What `manage.py serve` gives answers on top of DRAIN_SECONDS, and what ending engines and connections may take."""


def tool(name: str) -> str:
    """A program that requirements-dev.txt installs."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is missing: pip install -r requirements-dev.txt"
    return found


def grace_problems(*, drain: int, grace: int, before: int = 0) -> str:
    """Empty where a process has time to end before it is killed. before: seconds until it is told (preStop)."""
    needed = before + drain + UVICORN_SECONDS + ENDING_SECONDS
    return "" if grace >= needed else f"{grace} s until it is killed, but it may need {needed}"
