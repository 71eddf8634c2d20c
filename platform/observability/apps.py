from __future__ import annotations

from django.apps import AppConfig


class ObservabilityConfig(AppConfig):
    name = "observability"

    def ready(self) -> None:
        from observability import reporting, speech, tracing

        speech.follow()
        tracing.start()
        reporting.start()
