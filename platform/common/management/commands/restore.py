"""manage.py restore FOLDER: what `manage.py backup` saved, into this database and storage."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from accounts.models import Organization
from common import backups


class Command(BaseCommand):
    help = (
        "Replaces the database by a backup, stores the audio that is missing, and migrates. Stop servers and workers "
        "first. A backup that cannot be restored changes nothing."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument(
            "--at", metavar="NAME", help="Which backup, such as 20261123T010203004005Z (default: the latest)."
        )
        parser.add_argument("--list", action="store_true", help="Only say which there are.")
        parser.add_argument("--replace", action="store_true", help="Also where the database has organisations.")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        names = backups.backups(folder)
        if options["list"]:
            self.stdout.write("\n".join(names))
            return
        name = options["at"] or (names[-1] if names else "")
        if name not in names:
            raise CommandError(f"There is no backup {name or 'at all'} in {folder}; --list says which there are.")
        if not options["replace"] and _is_in_use():
            raise CommandError("The database has organisations; --replace deletes them and all that is theirs.")
        try:
            done = backups.restore(folder, name)
        except backups.BackupFailed as error:
            raise CommandError(str(error)) from error
        connection.close()
        call_command("migrate", verbosity=0, interactive=False)
        self.stdout.write(
            f"Restored {done.name}: the database and {done.objects} audio files, {done.copied} of them copied."
        )
        if done.missing:
            raise CommandError(f"{done.missing} audio files are neither in the backup nor in the storage.")


def _is_in_use() -> bool:
    return Organization._meta.db_table in connection.introspection.table_names() and Organization.objects.exists()
