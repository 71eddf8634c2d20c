"""Threads that work for a request."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import connection

P = ParamSpec("P")
R = TypeVar("R")


def in_request_context(function: Callable[P, R]) -> Callable[P, R]:
    """`function` for another thread: with this request's id in its log lines, and giving its connection back."""
    request_context = contextvars.copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return request_context.copy().run(function, *args, **kwargs)
        finally:
            connection.close()

    return run
