"""Fixtures of several files."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest
from django.test import override_settings

from tests.webhook_receiver import Receiver, running

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def quick_webhooks() -> Iterator[None]:
    """Deliveries to this machine are allowed, and attempts follow each other at once."""
    with override_settings(
        WEBHOOK_ALLOWED_NETWORKS=LOOPBACK, WEBHOOK_RETRY_SECONDS=(0.05, 0.05), WEBHOOK_TOTAL_SECONDS=0.6
    ):
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as receiver:
        yield receiver
