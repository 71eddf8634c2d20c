"""Which renderer answers. A module of its own: rest_framework loads it before anything that uses views."""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class LenientNegotiation(DefaultContentNegotiation):
    """An Accept header that no renderer fits gets the first one (JSON), not a 406 that hides the real answer."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderers = list(renderers)
        try:
            return super().select_renderer(request, renderers, None)  # type: ignore[return-value]
        except NotAcceptable:
            return renderers[0], renderers[0].media_type
