"""E-mails that the platform sent: the worker sends them a moment after the request."""

from __future__ import annotations

import re
import time

from django.core import mail
from django.core.mail import EmailMessage


def mails_to(address: str) -> list[EmailMessage]:
    return [message for message in list(getattr(mail, "outbox", [])) if address in message.to]


def wait_for_mail(address: str, number: int = 1) -> EmailMessage:
    """The newest of at least `number` e-mails to the address."""
    deadline = time.monotonic() + 20
    while len(found := mails_to(address)) < number:
        assert time.monotonic() < deadline, f"no e-mail to {address}"
        time.sleep(0.05)
    return found[-1]


def link_in(message: EmailMessage) -> str:
    match = re.search(r"https?://\S+", str(message.body))
    assert match, message.body
    return match[0]
