"""The official SDK, pointed at the server under test."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import httpx
from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment

from tests.conftest import Tenant
from tests.platform_process import TLS

with warnings.catch_warnings():  # the SDK imports what websockets is about to drop
    warnings.simplefilter("ignore", DeprecationWarning)
    import deepgram.listen.v1.client
    import deepgram.listen.v1.socket_client  # noqa: F401

NO_RETRY: Any = {"max_retries": 0}


def environment(server: str) -> DeepgramClientEnvironment:
    """What users set to point the SDK elsewhere."""
    sockets = server.replace("http", "ws", 1)
    return DeepgramClientEnvironment(base=server, production=sockets, agent=sockets, agent_rest=server)


def sdk(tenant: Tenant, *scopes: str, **options: Any) -> DeepgramClient:
    """As an API key of these scopes."""
    credential = options or {"api_key": tenant.new_key(*(scopes or ("stt",)))[1]}
    http = httpx.Client(trust_env=False, timeout=120, verify=TLS)
    return DeepgramClient(environment=environment(tenant.server), httpx_client=http, **credential)


def async_sdk(tenant: Tenant) -> AsyncDeepgramClient:
    http = httpx.AsyncClient(trust_env=False, timeout=120, verify=TLS)
    key = tenant.new_key("stt")[1]
    return AsyncDeepgramClient(environment=environment(tenant.server), httpx_client=http, api_key=key)


def hear(client: DeepgramClient, speak: Callable[[Any], None], **options: Any) -> list[Any]:
    """All messages of a stream, in which `speak` says something in another thread."""
    messages: list[Any] = []
    with client.listen.v1.connect(**{"model": "nova-3", **options}) as connection:
        connection.on(EventType.MESSAGE, messages.append)
        connection.on(EventType.ERROR, messages.append)
        speaking = threading.Thread(target=speak, args=(connection,))
        speaking.start()
        connection.start_listening()
        speaking.join(timeout=60)
    return messages


def saying(sound: bytes, frame: int = 3200) -> Callable[[Any], None]:
    """Sends the sound, and that this is all."""

    def speak(connection: Any) -> None:
        for start in range(0, len(sound), frame):
            connection.send_media(sound[start : start + frame])
        connection.send_close_stream()

    return speak


def of_type(messages: list[Any], kind: str) -> list[Any]:
    return [message for message in messages if getattr(message, "type", None) == kind]
