"""Server-sent events, one JSON object each."""

from __future__ import annotations

import json
from typing import Any

CONTENT_TYPE = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which clients skip: proxies close connections on which nothing comes for a minute."""


def event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
