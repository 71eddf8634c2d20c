"""manage.py doctor: says what is wrong with this machine, and what to do about it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from observability.doctor import examination
from observability.doctor.findings import Finding

_SYMBOLS = {"ok": "✓", "note": "·", "warning": "!", "error": "✗"}


class Command(BaseCommand):
    help = (
        "Checks this machine: interpreter, settings, database, storage, disks, memory, GPUs, models, engines, mail, "
        "workers. Says in words what is wrong and what to do. The exit code is 1 where there is an error."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012  (the base class declares a plain list)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="For programs.")
        parser.add_argument(
            "--without", default="", help=f"Checks to leave out, comma-separated: {', '.join(examination.CHECKS)}."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        without = frozenset(name.strip() for name in options["without"].split(","))
        findings = examination.examine(without=without)
        seconds = round(time.monotonic() - started, 1)
        failed = any(finding.level == "error" for finding in findings)
        if options["json"]:
            told = {"ok": not failed, "version": settings.VERSION, "seconds": seconds}
            self.stdout.write(json.dumps({**told, "findings": [asdict(finding) for finding in findings]}, indent=2))
        else:
            self._tell(findings, seconds)
        self._leave(int(failed))

    def _tell(self, findings: list[Finding], seconds: float) -> None:
        styles: dict[str, Callable[[str], str]] = {
            "ok": self.style.SUCCESS, "note": str, "warning": self.style.WARNING, "error": self.style.ERROR,
        }  # fmt: skip
        width = max((len(finding.check) for finding in findings), default=0)
        for finding in findings:
            symbol = styles[finding.level](_SYMBOLS[finding.level])
            message = finding.message if finding.level in ("ok", "note") else styles[finding.level](finding.message)
            self.stdout.write(f" {symbol} {finding.check:<{width}}  {message}")
            if finding.advice:
                self.stdout.write(f"   {'':<{width}}  → {finding.advice}")
        counts = Counter(finding.level for finding in findings)
        summary = f"errors: {counts['error']}, warnings: {counts['warning']}, in order: {counts['ok']} ({seconds} s)"
        worst = "error" if counts["error"] else "warning" if counts["warning"] else "ok"
        self.stdout.write(styles[worst](f"\n {summary}"))

    def _leave(self, code: int) -> None:
        """At once where a check still hangs in a thread: it has been told."""
        self.stdout.flush()
        sys.stdout.flush()
        if code:
            raise SystemExit(code)
