"""manage.py organization export|delete: for operators."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from audit import services as audit
from retention import export, services


class Command(BaseCommand):
    help = "Exports all of an organisation's data, or deletes the organisation with all of it."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="action", required=True)
        exporting = commands.add_parser("export", help="Write a zip archive.")
        exporting.add_argument("slug")
        exporting.add_argument("file", type=Path)
        deleting = commands.add_parser("delete", help="Delete for good.")
        deleting.add_argument("slug")
        deleting.add_argument("--yes", action="store_true", help="Do not ask.")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(slug=options["slug"]).first()
        if organization is None:
            raise CommandError(f"There is no organisation {options['slug']!r}.")
        if options["action"] == "export":
            with options["file"].open("wb") as target:
                export.write(organization, target)
            audit.record_for_organization(organization, action="organization.exported")
            self.stdout.write(f"{options['file']}: {options['file'].stat().st_size:,} bytes.")
            return
        if not options["yes"] and input(f"Type {organization.slug} to delete it with all its data: ") != (
            organization.slug
        ):
            raise CommandError("Nothing was deleted.")
        files = services.delete_organization(organization=organization)
        self.stdout.write(f"Deleted {organization.name} and {files:,} stored files.")
