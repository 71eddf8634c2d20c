"""Every WebSocket route of the platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from channels.routing import URLRouter
from django.urls import URLPattern, path

from common import errors
from deepgram_api.consumer import ListenSocket
from openai_api.realtime.consumer import RealtimeSocket
from sockets.consumer import Socket
from stt.live.consumer import StreamSocket
from tts.live.consumer import SpeechSocket

routes: list[URLPattern] = [
    path("api/v1/stt/stream", StreamSocket.as_asgi()),
    path("api/v1/tts/stream", SpeechSocket.as_asgi()),
    path("v1/listen", ListenSocket.as_asgi()),
    path("v1/realtime", RealtimeSocket.as_asgi()),
]


class Unknown(Socket):
    """Refuses what nobody serves, whoever asks."""

    answers_handshake = True

    async def _admit(self) -> None:
        raise errors.NotFound(f"There is nothing at {self.request.path}.")


class Router:
    """The ASGI application of all sockets."""

    def __init__(self, patterns: list[URLPattern]) -> None:
        # The last pattern takes what no other does; URLRouter would raise, and the server log a fault.
        self._router = URLRouter([*patterns, path("<path:rest>", Unknown.as_asgi()), path("", Unknown.as_asgi())])

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        await self._router(scope, receive, send)


application = Router(routes)
