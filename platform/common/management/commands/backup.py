"""manage.py backup FOLDER: the database and the audio, while the platform serves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from common import backups


class Command(BaseCommand):
    help = (
        "Adds a backup of the database and the stored audio to FOLDER. Audio that an earlier backup there has is not "
        "copied again. Secrets and models are not part of it."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument(
            "--keep",
            type=int,
            default=7,
            help="How many backups stay in FOLDER; older ones, and audio that only they had, are deleted "
            "(default %(default)s).",
        )

    def handle(self, *args: Any, folder: Path, keep: int, **options: Any) -> None:
        if keep < 1:
            raise CommandError("--keep must be at least 1.")
        try:
            made = backups.create(folder, keep=keep)
        except backups.BackupFailed as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Backup {made.name}: the database and {made.objects} audio files, {made.copied} of them new."
        )
