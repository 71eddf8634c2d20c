"""The clients, against the running server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from speech_client import Speech

from tests.conftest import Tenant, make_tenant


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients honour a proxy of the environment, which does not lead to this machine's own server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture(scope="module")
def organization(server: str) -> Tenant:
    """One for all tests of a file."""
    return make_tenant(server)


@pytest.fixture(scope="module")
def api_key(organization: Tenant) -> str:
    return organization.new_key()[1]


@pytest.fixture
def speech(server: str, api_key: str) -> Iterator[Speech]:
    with Speech(server, api_key) as client:
        yield client
