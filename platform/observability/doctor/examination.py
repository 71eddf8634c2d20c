"""All checks, side by side, and in time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from django.db import ProgrammingError, connection

from common.logs import redacted
from observability.doctor import engines, machine, services
from observability.doctor.findings import Check, Finding, Reporter, reason

SECONDS = 9.0

CHECKS: dict[str, Check] = {
    "python": machine.python,
    "settings": services.configuration,
    "cpu": machine.cpu,
    "memory": machine.memory,
    "disk": machine.disks,
    "limits": machine.limits,
    "certificates": machine.certificates,
    "gpu": machine.gpus,
    "port": services.port,
    "database": services.database,
    "accounts": services.accounts,
    "redis": services.redis,
    "storage": services.audio_store,
    "email": services.email,
    "workers": services.workers,
    "models": engines.models,
    "engines": engines.engines,
}


@dataclass
class _Under:
    """A check that runs, or has run."""

    name: str
    look: Check
    findings: list[Finding] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


def examine(
    *, checks: Mapping[str, Check] = CHECKS, seconds: float = SECONDS, without: frozenset[str] = frozenset()
) -> list[Finding]:
    """What is, check by check. without: names of checks to leave out."""
    deadline = time.monotonic() + seconds
    under = [_Under(name, check) for name, check in checks.items() if name not in without]
    logging.disable(logging.CRITICAL)  # what fails is told once, in words
    try:
        for check in under:
            threading.Thread(target=_run, args=(check,), name=f"doctor-{check.name}", daemon=True).start()
        return [finding for check in under for finding in _outcome(check, deadline)]
    finally:
        logging.disable(logging.NOTSET)


def _run(check: _Under) -> None:
    say = Reporter(check.name)
    try:
        for finding in check.look():
            check.findings.append(finding)
    except ProgrammingError:  # a table is missing: `database` tells of the migrations
        check.findings.append(say.note("This could not be checked before the migrations have been applied."))
    except Exception as error:
        check.findings.append(
            say.error(
                f"This could not be checked: {type(error).__name__}: {reason(error)}", "See the log of the server."
            )
        )
    finally:
        connection.close()
        check.ended.set()


def _outcome(check: _Under, deadline: float) -> Iterator[Finding]:
    ended = check.ended.wait(max(0.0, deadline - time.monotonic()))
    for found in list(check.findings):
        yield Finding(found.check, found.level, redacted(found.message), found.advice)
    if not ended:
        yield Reporter(check.name).warning(
            "This took too long to find out.", "Try again when the machine is less busy."
        )
