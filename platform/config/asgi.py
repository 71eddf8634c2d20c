"""What uvicorn serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [path for path in (str(Path(__file__).resolve().parents[1]),) if path not in sys.path]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402

django.setup()

import config.urls  # noqa: E402, F401  (all views, which the first request would import otherwise)
from common import lifetime  # noqa: E402  (after Django is set up)
from common.asgi import BodyLimit  # noqa: E402
from common.handler import ThreadedHandler  # noqa: E402
from jobs.worker import Lifespan  # noqa: E402
from models_registry import runtime  # noqa: E402
from sockets.routing import application as _sockets  # noqa: E402

_http = BodyLimit(ThreadedHandler())
_lifespan = Lifespan(start=[runtime.start, lifetime.has_started], stop=[runtime.stop])
_APPLICATIONS: dict[str, Callable] = {"http": _http, "websocket": _sockets, "lifespan": _lifespan}


async def application(scope: dict[str, Any], receive: Callable, send: Callable) -> None:
    await _APPLICATIONS[scope["type"]](scope, receive, send)
