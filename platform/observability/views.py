"""GET /metrics."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from common import errors
from common.health import PublicView
from common.network import client_address
from observability import scraping


class MetricsView(PublicView):
    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request) -> HttpResponse:
        """This process's metrics in Prometheus' format, for `METRICS_TOKEN` or from an allowed address."""
        if not scraping.may_read(client_address(request), request.headers):
            if settings.METRICS_TOKEN:
                raise errors.NotAuthenticated("Send the metrics token: Authorization: Bearer …")
            raise errors.PermissionDenied("Metrics are read from allowed addresses only.", code="metrics_not_allowed")
        return HttpResponse(scraping.exposition(), content_type=scraping.CONTENT_TYPE)
