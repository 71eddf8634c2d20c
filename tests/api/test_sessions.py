"""/auth/sessions: where one is signed in, and ending it."""

from __future__ import annotations

from tests.browser import signed_in
from tests.conftest import Tenant, error_of


def test_lists_and_ends_ones_own(tenant: Tenant) -> None:
    here, there = tenant.user("developer"), tenant.user("developer")
    browser = signed_in(tenant, "developer")
    found = here.get("/auth/sessions").json()["results"]
    assert [row["current"] for row in found] == [True, False, False]
    assert sorted(row["kind"] for row in found) == ["api", "api", "browser"]
    kinds = {row["kind"]: row["id"] for row in found if not row["current"]}

    error_of(tenant.user("owner").delete(f"/auth/sessions/{kinds['browser']}"), 404)
    assert here.delete(f"/auth/sessions/{kinds['browser']}").status_code == 204
    assert browser.get("/dashboard").status_code == 302
    assert here.delete(f"/auth/sessions/{kinds['api']}").status_code == 204
    error_of(there.get("/auth/me"), 401)
    assert len(here.get("/auth/sessions").json()["results"]) == 1


def test_signing_out_forgets_the_session(tenant: Tenant) -> None:
    browser = signed_in(tenant, "viewer")
    client = tenant.user("viewer")
    assert len(client.get("/auth/sessions").json()["results"]) == 2
    browser.submit("/dashboard", {}, to="/dashboard/logout")
    assert len(client.get("/auth/sessions").json()["results"]) == 1


def test_name_is_ones_own_to_change(tenant: Tenant) -> None:
    client = tenant.user("viewer")
    assert client.patch("/auth/me", json={"name": "Grace"}).json()["user"]["name"] == "Grace"
    error_of(client.patch("/auth/me", json={"email": "other@example.com"}), 400)
