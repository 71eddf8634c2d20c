"""Warnings at 80 and 100 % of a quota, as e-mails: sent by Django to a real SMTP server."""

from __future__ import annotations

import email
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from analytics import quota
from tests.certificates import self_signed
from tests.conftest import Tenant
from tests.platform_process import free_port

USER, PASSWORD = b"speech", b"mail password"


class Postbox:
    """Keeps what it is sent, after refusing as often as it is told."""

    def __init__(self) -> None:
        self.messages: list[tuple[Envelope, EmailMessage]] = []
        self.refusals = 0
        self.encrypted: list[bool] = []
        self._news = threading.Condition()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        with self._news:
            if self.refusals:
                self.refusals -= 1
                return "451 Try again later"
            message = email.message_from_bytes(envelope.content or b"", policy=default)
            self.messages.append((envelope, message))  # type: ignore[arg-type]
            self.encrypted.append(session.ssl is not None)
            self._news.notify_all()
        return "250 OK"

    def wait(self, count: int, seconds: float = 40) -> list[EmailMessage]:
        with self._news:
            assert self._news.wait_for(lambda: len(self.messages) >= count, seconds), self.messages
            return [message for _, message in self.messages]


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER, PASSWORD)
    return AuthResult(success=right)


@pytest.fixture
def postbox(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postbox]:
    """A mail server that takes mail from whoever has encrypted the connection and given the password."""
    box, certificate, port = Postbox(), self_signed(tmp_path, "127.0.0.1"), free_port()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    controller = Controller(
        box, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True, authenticator=_authenticate,
        auth_required=True,
    )  # fmt: skip
    controller.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # the client verifies: it must know who signed
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # tests have another otherwise
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = USER.decode(), PASSWORD.decode()
    settings.EMAIL_USE_TLS = True
    settings.DEFAULT_FROM_EMAIL = "Speech <speech@example.com>"
    yield box
    controller.stop()


def _speak(tenant: Tenant, characters: int) -> int:
    return tenant.key("tts").post("/tts/synthesize", json={"text": "x" * characters}).status_code


def test_owners_and_admins_get_a_mail_at_80_and_at_100_percent(tenant: Tenant, postbox: Postbox) -> None:
    for role in ("owner", "admin", "viewer"):
        tenant.member(role)
    quota.set_quota(organization=tenant.organization, monthly_characters=100)
    assert _speak(tenant, 79) == 200
    assert not postbox.messages
    assert _speak(tenant, 1) == 200
    warning = postbox.wait(1)[0]
    assert _speak(tenant, 20) == 200
    end = postbox.wait(2)[1]
    assert _speak(tenant, 1) == 402

    name = tenant.organization.name
    assert warning["Subject"] == f"{name}: the monthly quota is 80 % used"
    assert end["Subject"] == f"{name}: the monthly quota is used up"
    assert "80 of 100 characters spoken" in warning.get_content()
    assert "402 quota_exceeded" in end.get_content()
    people = {tenant.member(role).user.email for role in ("owner", "admin")}
    for (envelope, message), encrypted in zip(postbox.messages, postbox.encrypted, strict=True):
        assert set(envelope.rcpt_tos) == people
        assert (envelope.mail_from, message["From"]) == ("speech@example.com", "Speech <speech@example.com>")
        assert encrypted
    assert len(postbox.messages) == 2


def test_a_mail_server_that_refuses_for_now_gets_the_mail_later(tenant: Tenant, postbox: Postbox) -> None:
    tenant.member("owner")
    postbox.refusals = 1
    quota.set_quota(organization=tenant.organization, monthly_characters=10)
    assert _speak(tenant, 10) == 200  # nobody waits for the mail server
    assert "used up" in postbox.wait(1)[0]["Subject"]
    assert postbox.refusals == 0
