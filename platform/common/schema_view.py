"""GET /schema."""

from __future__ import annotations

from drf_spectacular.views import SpectacularAPIView
from rest_framework.renderers import BaseRenderer

from common import errors


class SchemaView(SpectacularAPIView):
    """As YAML or JSON: by `?format=`, which nowhere else is the name of a renderer, else by `Accept`."""

    def get_renderers(self) -> list[BaseRenderer]:
        renderers = super().get_renderers()
        wanted = self.request.GET.get("format")
        fitting = [renderer for renderer in renderers if wanted in (None, renderer.format)]
        if not fitting:
            known = sorted({renderer.format for renderer in renderers})
            raise errors.InvalidRequest(f"The document is written as {' or '.join(known)}.", param="format")
        return fitting
