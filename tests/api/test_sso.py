"""Signing in with an organisation's own OpenID provider, a real one on a real port, which also lies."""

from __future__ import annotations

import ipaddress
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from accounts.models import Membership, SecurityPolicy, SsoIdentity, SsoProvider, User
from accounts.sso import sealing
from audit.models import AuditEntry
from tests.browser import Browser, signed_in, text_of
from tests.conftest import Client, Tenant, error_of
from tests.oidc_provider import CLIENT, SECRET, Provider, provider


@pytest.fixture
def idp(settings: Settings) -> Iterator[Provider]:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]
    with provider() as running:
        yield running


@pytest.fixture
def domain() -> str:
    return f"{uuid.uuid4().hex[:12]}.example.com"


@pytest.fixture
def sso(tenant: Tenant, idp: Provider, domain: str) -> dict[str, Any]:
    idp.person = {"sub": uuid.uuid4().hex, "email": f"Ada@{domain}", "email_verified": True, "name": "Ada"}
    answer = tenant.user("owner").put("/auth/sso", json=_fields(idp, domain))
    assert answer.status_code == 200, answer.text
    return answer.json()


def _fields(idp: Provider, domain: str, **others: Any) -> dict[str, Any]:
    return {"issuer": idp.issuer, "client_id": CLIENT, "client_secret": SECRET, "domains": [domain], **others}


def begin(browser: Browser, tenant: Tenant, **query: str) -> str:
    """Where the provider sends the browser back to."""
    start = browser.get(f"/dashboard/login/sso/{tenant.organization.id}", params=query)
    assert start.status_code == 302, text_of(start)
    assert "SESSION" not in start.headers["Location"].upper()
    return httpx.get(start.headers["Location"], trust_env=False).headers["Location"]


def come_back(tenant: Tenant, **query: str) -> tuple[Browser, httpx.Response]:
    browser = Browser(tenant.server)
    return browser, browser.get(begin(browser, tenant, **query))


def refused(tenant: Tenant, saying: str) -> None:
    users = User.objects.count()
    browser, answer = come_back(tenant)
    assert answer.status_code == 403, text_of(answer)
    assert saying in text_of(answer)
    assert browser.get("/dashboard").status_code == 302
    assert User.objects.count() == users


# ── The way in ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_signs_in_and_makes_a_member(tenant: Tenant, idp: Provider, sso: dict[str, Any], domain: str) -> None:
    browser = Browser(tenant.server)
    page = browser.get("/dashboard/login/sso", params={"who": f"ada@{domain}", "next": "/dashboard/jobs"})
    assert f"/dashboard/login/sso/{tenant.organization.id}?next=/dashboard/jobs" in page.text
    browser, answer = come_back(tenant, next="/dashboard/jobs")
    assert answer.headers["Location"] == "/dashboard/jobs", text_of(answer)
    assert browser.get("/dashboard/jobs").status_code == 200
    member = Membership.objects.select_related("user").get(
        organization=tenant.organization, user__email=f"ada@{domain}"
    )
    assert (member.role, member.user.name, member.user.has_usable_password()) == ("viewer", "Ada", False)
    entries = AuditEntry.objects.filter(organization=tenant.organization, details__through="sso")
    assert {entry.action for entry in entries} == {"member.added", "auth.login"}
    come_back(tenant)  # again: nobody new
    assert Membership.objects.filter(organization=tenant.organization, user=member.user).count() == 1


def test_subject_says_who_it_is(tenant: Tenant, idp: Provider, sso: dict[str, Any], domain: str) -> None:
    come_back(tenant)
    idp.person["email"] = f"ada.married@{domain}"
    _, answer = come_back(tenant)
    assert answer.status_code == 302
    assert SsoIdentity.objects.get(organization=tenant.organization).user.email == f"ada@{domain}"


def test_roles_follow_the_claim_and_owners_stay(tenant: Tenant, idp: Provider, domain: str) -> None:
    fields = _fields(idp, domain, role_claim="groups", roles={"devs": "developer", "ops": "admin"})
    assert tenant.user("owner").put("/auth/sso", json=fields).status_code == 200
    error_of(tenant.user("owner").put("/auth/sso", json={**fields, "roles": {"ops": "owner"}}), 400)
    idp.person = {"sub": "a", "email": f"a@{domain}", "email_verified": True, "groups": ["devs", "ops", 7]}
    come_back(tenant)
    member = Membership.objects.get(organization=tenant.organization, user__email=f"a@{domain}")
    assert member.role == "admin"
    for groups, role in ((["devs"], "developer"), ([], "developer"), ("ops", "admin")):
        idp.person["groups"] = groups
        come_back(tenant)
        member.refresh_from_db()
        assert member.role == role
    Membership.objects.filter(id=member.id).update(role="owner")
    come_back(tenant)
    member.refresh_from_db()
    assert member.role == "owner"


def test_keys_are_asked_for_again_when_they_change(tenant: Tenant, idp: Provider, sso: dict[str, Any]) -> None:
    come_back(tenant)
    asked = idp.asked.count("/keys")
    idp.kid = "two"
    assert come_back(tenant)[1].status_code == 302
    assert come_back(tenant)[1].status_code == 302
    assert idp.asked.count("/keys") == asked + 1


# ── What it opens ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_acts_in_this_organisation_alone(
    tenant: Tenant, other_tenant: Tenant, idp: Provider, sso: dict[str, Any], domain: str
) -> None:
    """A provider may say that somebody is an owner elsewhere, whom it should not get in as."""
    victim = User.objects.create(email=f"ada@{domain}", password="!")
    Membership.objects.create(organization=other_tenant.organization, user=victim, role="owner")
    browser, _ = come_back(tenant)
    assert tenant.organization.name in text_of(browser.get("/dashboard"))
    chosen = browser.submit(
        "/dashboard/jobs", {"organization": str(other_tenant.organization.id)}, to="/dashboard/organization"
    )
    assert chosen.status_code in (403, 404)
    assert other_tenant.organization.name not in text_of(browser.get("/dashboard"))
    for path in ("/dashboard/account", "/dashboard/account/two-factor", "/dashboard/account/security", "/admin/"):
        assert browser.get(path).status_code == 403, path
    assert not AuditEntry.objects.filter(organization=other_tenant.organization).exists()
    Membership.objects.filter(organization=tenant.organization, user=victim).delete()
    assert browser.get("/dashboard").status_code == 403


@pytest.mark.parametrize("fields", [{"is_superuser": True}, {"is_staff": True}, {"is_active": False}])
def test_operators_and_inactive_accounts_stay_out(
    tenant: Tenant, idp: Provider, sso: dict[str, Any], domain: str, fields: dict[str, bool]
) -> None:
    User.objects.create(email=f"ada@{domain}", password="!", **fields)
    refused(tenant, "cannot be used")
    assert not Membership.objects.filter(organization=tenant.organization, user__email=f"ada@{domain}").exists()


# ── Attacks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"nonce": "another"}, "nonce"),
    ({"nonce": None}, "nonce"),
    ({"aud": "another client"}, "aud"),
    ({"aud": [CLIENT, "another"]}, "another client"),
    ({"azp": "another"}, "another client"),
    ({"iss": "https://login.example.net"}, "iss"),
    ({"exp": int(time.time()) - 120}, "expired"),
    ({"exp": None}, "exp"),
    ({"sub": None}, "sub"),
    ({"sub": 7}, "sub"),
    ({"sub": ["somebody"]}, "sub"),
    ({"email_verified": False}, "verified"),
    ({"email_verified": None}, "verified"),
    ({"email_verified": "true"}, "verified"),
    ({"email": "ada@elsewhere.example.net"}, "domains"),
    ({"email": "ada@evil.example@example.com"}, "no e-mail address"),
    ({"email": None}, "no e-mail address"),
]


def test_refuses_claims_and_forged_signatures(tenant: Tenant, idp: Provider, sso: dict[str, Any]) -> None:
    for claims, saying in CLAIMS:
        idp.claims = claims
        refused(tenant, saying)
    idp.claims = {}
    for forged in (idp.unsigned, idp.with_the_public_key, idp.by_a_stranger):
        idp.sign = forged
        refused(tenant, "not valid")
    idp.sign = idp.rightly
    assert come_back(tenant)[1].status_code == 302  # it was that, each time


def test_refuses_replays_and_strange_states(tenant: Tenant, idp: Provider, sso: dict[str, Any]) -> None:
    browser = Browser(tenant.server)
    back = begin(browser, tenant)
    assert browser.get(back).status_code == 302
    assert "begun here" in text_of(browser.get(back))  # the state was used
    stolen = begin(Browser(tenant.server), tenant)
    assert Browser(tenant.server).get(stolen).status_code == 403  # another browser's
    browser = Browser(tenant.server)
    back = begin(browser, tenant)
    assert browser.get(back.replace("state=", "state=x")).status_code == 403
    assert browser.get(back).status_code == 403  # one try
    browser = Browser(tenant.server)
    back = begin(browser, tenant)
    idp.codes.clear()  # used by somebody else
    assert browser.get(back).status_code == 503


def test_refuses_answers_of_another_provider(
    tenant: Tenant, other_tenant: Tenant, idp: Provider, sso: dict[str, Any], domain: str
) -> None:
    idp.answer = {"iss": "https://login.example.net"}
    refused(tenant, "another provider")
    idp.answer, idp.metadata = {}, {"authorization_response_iss_parameter_supported": True}
    cache.clear()
    refused(tenant, "another provider")
    idp.answer = {"iss": idp.issuer}
    assert come_back(tenant)[1].status_code == 302
    other_tenant.user("owner").put("/auth/sso", json=_fields(idp, domain))
    browser = Browser(tenant.server)
    back = begin(browser, tenant).replace(str(tenant.organization.id), str(other_tenant.organization.id))
    assert "another provider" in text_of(browser.get(back))


# ── Settings ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_secret_is_sealed_and_never_told(tenant: Tenant, idp: Provider, sso: dict[str, Any], domain: str) -> None:
    row = SsoProvider.objects.get(organization=tenant.organization)
    assert SECRET not in row.sealed_secret
    assert sealing.unseal(row.sealed_secret) == SECRET
    owner = tenant.user("owner")
    told = owner.get("/auth/sso").text + owner.get("/audit").text
    assert SECRET not in told
    assert "client_secret" not in told
    assert sso["redirect_uri"].endswith(f"/dashboard/login/sso/{tenant.organization.id}/callback")
    fields = _fields(idp, domain, default_role="developer")
    del fields["client_secret"]
    assert owner.put("/auth/sso", json=fields).json()["default_role"] == "developer"
    assert come_back(tenant)[1].status_code == 302


def test_refuses_providers(tenant: Tenant, idp: Provider, domain: str, settings: Settings) -> None:
    owner, fields = tenant.user("owner"), _fields(idp, domain)
    idp.metadata = {"issuer": "https://login.example.net"}
    assert error_of(owner.put("/auth/sso", json=fields), 400, "sso_provider_failed")["param"] == "issuer"
    idp.metadata = {"jwks_uri": "file:///etc/passwd"}
    error_of(owner.put("/auth/sso", json=fields), 400, "sso_provider_failed")
    idp.metadata = {}
    error_of(owner.put("/auth/sso", json={**fields, "domains": ["example"]}), 400, "domain_invalid")
    error_of(owner.put("/auth/sso", json={**fields, "client_secret": ""}), 400)
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    error_of(owner.put("/auth/sso", json=fields), 400, "sso_provider_failed")  # an address inside
    assert not SsoProvider.objects.filter(organization=tenant.organization).exists()


def test_sso_only(tenant: Tenant, idp: Provider, sso: dict[str, Any]) -> None:
    owner, viewer, browser = tenant.user("owner"), tenant.user("viewer"), signed_in(tenant, "viewer")
    error_of(tenant.user("admin").patch("/auth/policy", json={"sso_only": True}), 400, "would_lock_out")
    assert owner.patch("/auth/policy", json={"sso_only": True, "require_two_factor": False}).status_code == 200
    error_of(viewer.get("/tts/jobs"), 403, "sso_required")
    assert browser.get("/dashboard").headers["Location"].startswith("/dashboard/login/sso?who=org-")
    assert owner.get("/tts/jobs").status_code == 200
    assert tenant.key("tts").get("/tts/jobs").status_code == 200
    SecurityPolicy.objects.filter(organization=tenant.organization).update(require_two_factor=True)
    assert come_back(tenant)[0].get("/dashboard").status_code == 200  # the second factor is the provider's
    SecurityPolicy.objects.filter(organization=tenant.organization).update(require_two_factor=False)
    error_of(owner.delete("/auth/sso"), 409, "would_lock_out")
    owner.patch("/auth/policy", json={"sso_only": False})
    assert owner.delete("/auth/sso").status_code == 204
    error_of(owner.get("/auth/sso"), 404)


def test_refusals_for_the_address_are_noted(tenant: Tenant, idp: Provider, sso: dict[str, Any]) -> None:
    SecurityPolicy.objects.update_or_create(
        organization=tenant.organization, defaults={"networks": ["192.0.2.0/24"]}
    )  # fmt: skip
    _, answer = come_back(tenant)
    assert answer.status_code == 403
    refusals = AuditEntry.objects.filter(organization=tenant.organization, action="auth.address_refused")
    assert refusals.count() == 1
    assert not SsoIdentity.objects.filter(
        organization=tenant.organization, user__memberships__organization=tenant.organization
    ).exists()


def test_domain_of_two_leads_to_neither(
    tenant: Tenant, other_tenant: Tenant, idp: Provider, sso: dict[str, Any], domain: str
) -> None:
    other_tenant.user("owner").put("/auth/sso", json=_fields(idp, domain))
    anonymous = Browser(tenant.server)
    assert "short name" in text_of(anonymous.get("/dashboard/login/sso", params={"who": f"ada@{domain}"}))
    found = anonymous.get("/dashboard/login/sso", params={"who": tenant.organization.slug})
    assert str(tenant.organization.id) in found.text
    assert "No organisation" in text_of(anonymous.get("/dashboard/login/sso", params={"who": "nobody"}))
    assert Client(tenant.server).get(f"//dashboard/login/sso/{uuid.uuid4()}").status_code == 404


def test_settings_page(tenant: Tenant, idp: Provider, domain: str) -> None:
    browser = signed_in(tenant, "owner")
    fields = {**_fields(idp, domain), "domains": f"{domain}\n", "default_role": "viewer", "role_claim": "groups",
              "roles": "speech = all = admin\n", "enabled": "on"}  # fmt: skip
    assert browser.submit("/dashboard/settings/sso", {**fields, "roles": "x = owner"}).status_code == 400
    saved = browser.submit("/dashboard/settings/sso", fields)
    assert saved.status_code == 302, text_of(saved)
    row = SsoProvider.objects.get(organization=tenant.organization)
    assert (row.roles, row.domains, row.enabled) == ({"speech = all": "admin"}, [domain], True)
    assert SECRET not in browser.get("/dashboard/settings/sso").text
    browser.submit("/dashboard/settings/sso", {}, to="/dashboard/settings/sso/remove")
    assert not SsoProvider.objects.filter(organization=tenant.organization).exists()
