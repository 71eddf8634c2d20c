"""Every JSON route of the platform, read from the URLconf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

NOT_JSON = ("/admin", "/dashboard", "/design", "/static/")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes() -> dict[str, Any]:
    """{"/api/v1/tts/jobs/{job_id}": callback}, without pages for people."""
    found = dict(_walk(get_resolver().url_patterns, "/"))
    return {path: callback for path, callback in found.items() if path != "/" and not path.startswith(NOT_JSON)}


def methods(callback: Any) -> list[str]:
    """Those that the view implements."""
    return [method for method in METHODS if hasattr(callback.view_class, method.lower())]


def _walk(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        path = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, path)
        else:
            yield path, pattern.callback
