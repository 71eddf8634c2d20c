"""manage.py seed: the first organisation, its owner and the embedded models. Safe to run again."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils.text import slugify

from accounts.models import Membership, Organization, Role, User
from models_registry.services import register_embedded

DEFAULT_PASSWORD = "ChangeMe123!"  # noqa: S105  (public on purpose; the warning below asks to change it)


class Command(BaseCommand):
    help = (
        "Creates the organisation SEED_ORGANIZATION with the owner SEED_EMAIL / SEED_PASSWORD and the rows of the "
        "embedded models. Existing rows, and a changed password, are left alone."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            self._seed_owner()
        for model in register_embedded():
            self.stdout.write(f"Model {model.name} ({model.get_task_display().lower()}) is registered.")
        if default_password_in_use():
            self.stderr.write(
                self.style.WARNING(
                    f"WARNING: {settings.SEED_EMAIL} still has the default password; change it before others can "
                    f"reach this server: manage.py changepassword {settings.SEED_EMAIL}"
                )
            )

    def _seed_owner(self) -> None:
        organization, made = Organization.objects.get_or_create(
            slug=slugify(settings.SEED_ORGANIZATION), defaults={"name": settings.SEED_ORGANIZATION}
        )
        user = User.objects.filter(email=settings.SEED_EMAIL.lower()).first()
        if user is None:
            # Whoever sets the server up runs it: its operator, as long as there is no other.
            first = not User.objects.filter(is_superuser=True).exists()
            make = User.objects.create_superuser if first else User.objects.create_user
            user = make(settings.SEED_EMAIL, settings.SEED_PASSWORD, name="Owner")
        Membership.objects.get_or_create(organization=organization, user=user, defaults={"role": Role.OWNER})
        self.stdout.write(f"Organisation {organization.name} {'created' if made else 'exists'}; owner {user.email}.")


def default_password_in_use() -> bool:
    user = User.objects.filter(email=settings.SEED_EMAIL.lower()).first()
    return user is not None and check_password(DEFAULT_PASSWORD, user.password)
