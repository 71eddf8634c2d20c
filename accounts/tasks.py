"""The queue's tasks of this application: e-mails. Secrets are made when the e-mail is, and never stand in the queue."""

from __future__ import annotations

from django.db import connection
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

_RETRY = RetryStrategy(max_attempts=6, exponential_wait=5)


@app.task(name="accounts.password_reset", queue="notices", retry=_RETRY)
def send_password_reset(email: str, base_url: str) -> None:
    """To an address that has an account; nothing to one that has none."""
    from accounts import mails
    from accounts.models import User

    try:
        if user := User.objects.filter(email=email, is_active=True).first():
            mails.send_password_reset(user, base_url)
    finally:
        connection.close()


@app.task(name="accounts.invitation", queue="notices", retry=_RETRY)
def send_invitation(invitation_id: str, base_url: str) -> None:
    from accounts import mails
    from accounts.models import Invitation

    try:
        rows = Invitation.objects.select_related("organization", "invited_by")
        if row := rows.filter(id=invitation_id, accepted_at=None).first():
            mails.send_invitation(row, base_url)
    finally:
        connection.close()
