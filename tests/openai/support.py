"""The official SDK, pointed at the server under test."""

from __future__ import annotations

from typing import Any

import openai

from tests.conftest import Tenant
from tests.platform_process import TLS

_open: list[openai.OpenAI] = []


def close_clients() -> None:
    while _open:
        _open.pop().close()


def sdk(tenant: Tenant, *scopes: str, **options: Any) -> openai.OpenAI:
    """As an API key of these scopes; all of them when none is named."""
    return client(tenant.server, tenant.new_key(*scopes)[1], **options)


def client(server: str, key: str, **options: Any) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(trust_env=False, verify=TLS)
    settings = {"max_retries": 0, "timeout": 120, **options}
    made = openai.OpenAI(base_url=f"{server}/v1", api_key=key, http_client=http, **settings)
    _open.append(made)
    return made


def async_sdk(tenant: Tenant, *scopes: str) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=TLS)
    key = tenant.new_key(*scopes)[1]
    return openai.AsyncOpenAI(base_url=f"{tenant.server}/v1", api_key=key, http_client=http, max_retries=0, timeout=120)
