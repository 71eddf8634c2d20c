"""Passwords of the tests' users, hashed at little cost.

A production hash takes a fifth of a second of a processor on purpose, and most tests only want to be signed in.
`tests/test_run.py` looks at what a server stores; where time itself is the subject, `production()`.
"""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import override_settings


class QuickArgon2(Argon2PasswordHasher):
    time_cost, memory_cost, parallelism = 1, 8, 1  # memory in KiB: the least there is


def quick() -> override_settings:
    return override_settings(PASSWORD_HASHERS=[f"{__name__}.QuickArgon2"])


def production() -> override_settings:
    """As the settings have it."""
    from config.settings import security

    return override_settings(PASSWORD_HASHERS=security.PASSWORD_HASHERS)
