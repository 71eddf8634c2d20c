"""/auth/two-factor, and the log-in that asks for it."""

from __future__ import annotations

import time
from typing import Any

import pyotp
import pytest

from accounts import two_factor
from accounts.models import TwoFactor, User
from audit.models import AuditEntry
from tests.conftest import PASSWORD, Client, Tenant, error_of


@pytest.fixture
def steady_clock() -> None:
    """Codes count for half a minute: a test must not begin where one ends."""
    if time.time() % 30 > 22:
        time.sleep(30 - time.time() % 30)


def turn_on(client: Client) -> tuple[pyotp.TOTP, list[str]]:
    """The authenticator and the recovery codes. The code of now is used up."""
    totp = pyotp.TOTP(client.post("/auth/two-factor").json()["secret"])
    answer = client.post("/auth/two-factor/confirm", json={"otp": totp.now()})
    assert answer.status_code == 200, answer.text
    return totp, answer.json()["recovery_codes"]


def forget_last(user: User) -> None:
    """As if half a minute had passed since the last code."""
    TwoFactor.objects.filter(user=user).update(last_step=0)


def log_in(tenant: Tenant, **fields: Any) -> Any:
    credentials = {"email": tenant.member("developer").user.email, "password": PASSWORD}
    return Client(tenant.server).post("/auth/login", json={**credentials, **fields})


@pytest.mark.usefixtures("steady_clock")
def test_log_in_asks_for_a_code(tenant: Tenant) -> None:
    client, user = tenant.user("developer"), tenant.member("developer").user
    assert client.get("/auth/two-factor").json()["enabled"] is False
    totp, codes = turn_on(client)
    state = client.get("/auth/two-factor").json()
    assert (state["enabled"], state["recovery_codes_left"]) == (True, two_factor.RECOVERY_CODES)

    assert error_of(log_in(tenant), 401, "otp_required")["param"] == "otp"
    error_of(log_in(tenant, password="wrong"), 401, "wrong_credentials")
    error_of(log_in(tenant, otp="000000"), 401, "otp_invalid")
    error_of(log_in(tenant, otp=totp.now()), 401, "otp_invalid")  # it turned two-factor on: used up
    forget_last(user)
    assert log_in(tenant, otp=f"{totp.now()[:3]} {totp.now()[3:]}").status_code == 200
    error_of(log_in(tenant, otp=totp.now()), 401, "otp_invalid")

    assert log_in(tenant, otp=codes[0].upper()).status_code == 200
    error_of(log_in(tenant, otp=codes[0]), 401, "otp_invalid")
    assert client.get("/auth/two-factor").json()["recovery_codes_left"] == two_factor.RECOVERY_CODES - 1
    actions = set(AuditEntry.objects.filter(organization=tenant.organization).values_list("action", flat=True))
    assert {"two_factor.enabled", "two_factor.recovery_code_used", "auth.second_factor_failed"} <= actions


@pytest.mark.usefixtures("steady_clock")
def test_row_holds_no_secret(tenant: Tenant) -> None:
    totp, codes = turn_on(tenant.user("developer"))
    row = TwoFactor.objects.get(user=tenant.member("developer").user)
    stored = " ".join(str(getattr(row, field.name)) for field in row._meta.fields)
    assert totp.secret not in stored
    assert not [code for code in codes if code in stored]


@pytest.mark.usefixtures("steady_clock")
def test_needs_a_right_code_to_begin_and_the_password_to_end(tenant: Tenant) -> None:
    client = tenant.user("developer")
    error_of(client.post("/auth/two-factor/confirm", json={"otp": "123456"}), 409, "two_factor_not_begun")
    first = pyotp.TOTP(client.post("/auth/two-factor").json()["secret"])
    second = pyotp.TOTP(client.post("/auth/two-factor").json()["secret"])
    assert first.secret != second.secret
    error_of(client.post("/auth/two-factor/confirm", json={"otp": first.now()}), 400, "otp_invalid")
    assert log_in(tenant).status_code == 200  # not on before it is confirmed
    codes = client.post("/auth/two-factor/confirm", json={"otp": second.now()}).json()["recovery_codes"]
    error_of(client.post("/auth/two-factor"), 409, "two_factor_on")

    error_of(client.post("/auth/two-factor/recovery-codes", json={"password": "wrong"}), 400, "wrong_password")
    renewed = client.post("/auth/two-factor/recovery-codes", json={"password": PASSWORD}).json()["recovery_codes"]
    error_of(log_in(tenant, otp=codes[0]), 401, "otp_invalid")
    assert log_in(tenant, otp=renewed[0]).status_code == 200

    error_of(client.post("/auth/two-factor/disable", json={"password": "wrong"}), 400, "wrong_password")
    assert client.post("/auth/two-factor/disable", json={"password": PASSWORD}).status_code == 204
    assert log_in(tenant).status_code == 200


@pytest.mark.usefixtures("steady_clock")
def test_guessing_codes_is_throttled(tenant: Tenant) -> None:
    turn_on(tenant.user("developer"))
    for _ in range(11):
        answer = log_in(tenant, otp="000000")
        if answer.status_code == 429:
            break
        error_of(answer, 401)
    error_of(log_in(tenant, otp="000000"), 429)
