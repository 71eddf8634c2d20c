"""A person with a browser: cookies, forms with their CSRF tokens, redirects that are looked at."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import httpx

from tests.conftest import PASSWORD, Client, Tenant

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Browser(Client):
    """Paths are below the root: `browser.get("/dashboard")`. Redirects are not followed."""

    def url(self, path: str) -> str:
        return path if path.startswith("http") else f"{self._server}{path}"

    def submit(self, page: str, data: dict[str, Any], *, to: str | None = None) -> httpx.Response:
        """Sends the form of `page` (to another address where `to` says so), with the token that the page carries."""
        form = self.get(page)
        assert form.status_code == 200, (page, form.status_code)
        return self.post(to or page, data={"csrfmiddlewaretoken": csrf_token(form), **data})

    def sign_in(self, email: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        return self.submit("/dashboard/login", {"email": email, "password": password, **fields})


def csrf_token(response: httpx.Response) -> str:
    match = _TOKEN.search(response.text)
    assert match, "the page has no form"
    return match[1]


def signed_in(tenant: Tenant, role: str) -> Browser:
    browser = Browser(tenant.server)
    answer = browser.sign_in(tenant.member(role).user.email)
    assert answer.status_code == 302, text_of(answer)
    return browser


def operator(tenant: Tenant) -> Browser:
    """A superuser, who belongs to no organisation."""
    from accounts.models import User
    from tests.conftest import _hashed

    user, _ = User.objects.get_or_create(
        email="operator@example.com",
        defaults={"is_superuser": True, "is_staff": True, "password": _hashed()},
    )
    browser = Browser(tenant.server)
    assert browser.sign_in(user.email).status_code == 302
    return browser


def text_of(response: httpx.Response) -> str:
    """What the page says, without tags."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", response.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
