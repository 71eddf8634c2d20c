"""A real server on a real port, on the real database and engines; an organisation of its own for each test."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import prepared
from tests.platform_process import LIMITS, TLS

ROOT = Path(__file__).resolve().parent.parent
OWNED_AUDIO = ROOT / "tests" / "audio"
PASSWORD = "correct horse battery"


LONG = ("tests/faults/", "tests/training/", "tests/models/", "tests/test_run.py", "tests/wyoming/", "tests/dashboard/")
"""Where a file's few tests take long. They come first: whichever process were left with one would end long after."""


def pytest_collection_finish() -> None:
    """What is there now stays to the end. Otherwise each full collection, which freeing a model asks for, walks through
    some million objects of pytest's and of what was imported: half of the suite's own processor time."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of `LONG` a file of each in turn, as some wait most of their time and others compute; then the rest in order."""
    files = list(dict.fromkeys(item.location[0] for item in items))
    by_folder = [[file for file in files if file.startswith(prefix)] for prefix in LONG]
    in_turn = [file for turn in itertools.zip_longest(*by_folder) for file in turn if file]
    places = {file: place for place, file in enumerate(in_turn)}
    items.sort(key=lambda item: places.get(item.location[0], len(places)))


def speech_data() -> Path | None:
    """The folder of real recordings, where the machine has one."""
    folder = Path(os.environ.get("SPEECH_DATA", ROOT.parent / "shared" / "speech"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def recordings() -> Path:
    folder = speech_data()
    if folder is None:
        pytest.skip("no real recordings here: set SPEECH_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def database(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """The test database, open to tests and to the server's threads alike.

    Tests share it, each in an organisation of its own: isolation between tenants is what the platform promises, and
    nothing is rolled back under a server that works in other threads.
    """
    from django.conf import settings
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    from models_registry import runtime
    from models_registry.services import register_embedded
    from tests import hashing

    if not settings.DATABASE_URL:
        prepared.copy_to(connection.settings_dict["EMBEDDED_DATA_DIR"])
        connection.settings_dict["TEST"]["TEMPLATE"] = prepared.MIGRATED
    with django_db_blocker.unblock(), hashing.quick():
        created = setup_databases(verbosity=0, interactive=False)
        register_embedded()
        yield
        runtime.current.stop()  # its own connection would keep the database from being dropped
        with connection.cursor() as cursor:  # workers that tests killed may still be connected
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
        teardown_databases(created, verbosity=0)


@pytest.fixture(scope="module")
def server(database: None) -> Iterator[str]:
    """The URL of the platform, served by uvicorn in this process so that tests can also look at its rows."""
    import uvicorn

    from common import serving
    from config.asgi import application

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(application, lifespan="on", **serving.options())
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    running.should_exit = True
    thread.join(timeout=20)


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    """Refused credentials are counted a minute and address, and tests that name no address share the loopback's."""
    from django.core.cache import cache

    cache.clear()


_addresses = itertools.count(1)


class Client(httpx.Client):
    """Calls the API as someone: `client.get("/tts/jobs")`. Paths that start with `//` are below the root."""

    def __init__(self, server: str, headers: dict[str, str] | None = None) -> None:
        number = next(_addresses)
        address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        super().__init__(
            headers={"X-Forwarded-For": address, **(headers or {})},
            timeout=120,
            limits=LIMITS,
            verify=TLS,
            trust_env=False,
        )
        self._server = server

    def request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:  # type: ignore[override]
        return super().request(method, self.url(url), **kwargs)

    def stream(self, method: str, url: str, **kwargs: Any) -> Any:  # type: ignore[override]
        return super().stream(method, self.url(url), **kwargs)

    def url(self, path: str) -> str:
        if path.startswith("http"):
            return path
        return self._server + (path[1:] if path.startswith("//") else f"/api/v1{path}")


@dataclass
class Tenant:
    """An organisation and clients for everyone in it."""

    server: str
    organization: Any
    members: dict[str, Any] = field(default_factory=dict)

    def user(self, role: str) -> Client:
        """A client logged in as a member with this role."""
        from accounts import tokens

        _, pair = tokens.open_session(membership=self.member(role), address=None, user_agent="tests")
        return Client(self.server, {"Authorization": f"Bearer {pair.access_token}"})

    def member(self, role: str) -> Any:
        from accounts.models import Membership, User

        if role not in self.members:
            user = User(email=f"{role}-{uuid.uuid4().hex[:8]}@example.com", name=role.title(), password=_hashed())
            user.save()
            self.members[role] = Membership.objects.create(organization=self.organization, user=user, role=role)
        return self.members[role]

    def actor(self, role: str = "owner") -> Any:
        """A member as services see them."""
        from accounts.actors import Actor

        return Actor(organization=self.organization, role=role, user=self.member(role).user)

    def key(self, *scopes: str, **fields: Any) -> Client:
        """A client with an API key of these scopes; all of them when none is named."""
        return Client(self.server, {"x-api-key": self.new_key(*scopes, **fields)[1]})

    def new_key(self, *scopes: str, **fields: Any) -> tuple[Any, str]:
        from accounts import services

        return services.create_api_key(
            actor=self.actor(), name="tests", scopes=list(scopes or ("stt", "tts")), **fields
        )


@functools.cache
def _hashed() -> str:
    """PASSWORD's hash, computed once: a hundred users need not cost a hundred Argon2 runs."""
    from django.contrib.auth.hashers import make_password

    return make_password(PASSWORD)


def make_tenant(server: str) -> Tenant:
    from accounts.models import Organization

    slug = f"org-{uuid.uuid4().hex[:12]}"
    return Tenant(server, Organization.objects.create(name=slug.title(), slug=slug))


@pytest.fixture
def tenant(server: str) -> Tenant:
    return make_tenant(server)


@pytest.fixture
def other_tenant(server: str) -> Tenant:
    return make_tenant(server)


@pytest.fixture
def anonymous(server: str) -> Client:
    return Client(server)


def error_of(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The error of an answer, after checking that it has the contract's shape."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert {"type", "code", "message", "param", "request_id"} <= set(error)
    assert error["request_id"] == response.headers["X-Request-ID"]
    assert error["message"]
    if code is not None:
        assert error["code"] == code, error
    return error
