"""E-mails to people, as plain text."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from accounts import invitations, passwords
from accounts.models import Invitation, User


def send_password_reset(user: User, base_url: str) -> None:
    fields = {
        "user": user,
        "link": f"{base_url}/dashboard/password/reset/{passwords.reset_token(user)}",
        "minutes": settings.PASSWORD_RESET_TIMEOUT // 60,
    }
    _send(user.email, _("Set a new password"), "emails/password_reset.txt", fields)


def send_invitation(row: Invitation, base_url: str) -> None:
    fields = {"invitation": row, "link": invitations.link_of(row, base_url), "days": settings.INVITATION_DAYS}
    subject = _("You are invited to %(organisation)s") % {"organisation": row.organization.name}
    _send(row.email, subject, "emails/invitation.txt", fields)


def _send(to: str, subject: str, template: str, fields: dict[str, object]) -> None:
    EmailMessage(" ".join(subject.split()), render_to_string(template, fields), to=[to]).send()
