"""Every route of the platform."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerView

from common.health import HealthView, ReadyView, VersionView
from common.media import MediaView
from common.schema_view import SchemaView
from observability.views import MetricsView

api: list[URLPattern | URLResolver] = [
    path("auth/", include("accounts.urls")),
    path("tts/", include("tts.urls")),
    path("stt/", include("stt.urls")),
    path("jobs/", include("jobs.urls")),
    path("models/", include("models_registry.urls")),
    path("analytics/", include("analytics.urls")),
    path("organization", include("retention.urls")),
    path("webhooks", include("webhooks.urls")),
    path("audit", include("audit.urls")),
    path("openai/aliases", include("openai_api.aliases_urls")),
    path("media/<str:token>/<str:name>", MediaView.as_view(), name="media"),
    path("version", VersionView.as_view()),
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
]

urlpatterns = [
    path("", RedirectView.as_view(url="/dashboard")),
    path("api/v1/", include(api)),
    path("v1/", include("deepgram_api.urls")),
    path("v1/", include("openai_api.urls")),
    path("ml/", include("models_registry.runtime_urls")),
    path("health", HealthView.as_view()),
    path("health/ready", ReadyView.as_view()),
    path("metrics", MetricsView.as_view()),
    path("", include("dashboard.urls")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]

handler400 = "common.pages.bad_request"
handler403 = "common.pages.permission_denied"
handler404 = "common.pages.page_not_found"
handler500 = "common.pages.server_error"
