"""manage.py release: what a release does once, before its servers start."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from accounts.management.commands.seed import DEFAULT_PASSWORD
from accounts.models import Organization

LOCK_KEY = 0x5BEEC4
"""Of the advisory lock that lets one release run at a time."""
LOCK_TIMEOUT_SECONDS = 10
"""A migration that waits for a table holds up all who come after it: better it fails, and is tried again."""


class Command(BaseCommand):
    help = (
        "Migrates, creates the bucket where it is missing, and seeds the first organisation where there is none. Safe "
        "to run again, and by several machines at once; servers of the release before go on serving meanwhile."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
            try:
                self._migrate()
            finally:
                cursor.execute("RESET lock_timeout")
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])
        self._create_bucket()
        self._seed()

    def _migrate(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        try:
            call_command("migrate", verbosity=1, interactive=False, stdout=self.stdout)
        except OperationalError as error:
            raise CommandError(f"The migration did not get its locks in time; run it again. {error}") from error

    def _create_bucket(self) -> None:
        """Of an S3-compatible store that is the platform's own; a bucket that exists is left as it is."""
        bucket = getattr(default_storage, "bucket", None)
        if bucket is None:
            return
        client = bucket.meta.client
        with suppress(client.exceptions.ClientError):
            client.head_bucket(Bucket=bucket.name)
            return
        client.create_bucket(Bucket=bucket.name)
        self.stdout.write(f"Bucket {bucket.name} created.")

    def _seed(self) -> None:
        if Organization.objects.exists():
            return
        if settings.PRODUCTION and settings.SEED_PASSWORD == DEFAULT_PASSWORD:
            raise CommandError("SEED_PASSWORD must be set: the first owner's password is known to everyone.")
        call_command("seed", stdout=self.stdout, stderr=self.stderr)
