from __future__ import annotations

import logging
import threading
import time
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.signals import request_started
from django.db import Error as DatabaseError

log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_LIVENESS = "/health"
"""Says only that the process lives: it neither needs the models nor may wait for the database."""


class ModelsRegistryConfig(AppConfig):
    name = "models_registry"
    verbose_name = "Models"

    def ready(self) -> None:
        if settings.TEXT_GRAMMARS == "nemo":
            from ml import grammars

            grammars.configure(settings.TEXT_GRAMMARS_FOLDER)
        request_started.connect(_FirstRequest(), weak=False, dispatch_uid="models_registry.first_request")


class _FirstRequest:
    """Starts the runtime with the first request, so that commands and imports start no thread and load nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._retry_at = 0.0

    def __call__(self, **signal: Any) -> None:
        from models_registry import runtime

        source = signal.get("scope") or signal.get("environ") or {}
        path = source.get("path") or source.get("PATH_INFO")
        if runtime.current.running or path == _LIVENESS:
            return
        with self._lock:  # the first requests wait for the models to be known
            if time.monotonic() < self._retry_at:
                return
            try:
                runtime.current.start()
            except DatabaseError:
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                log.exception("the models could not be read; the embedded ones serve meanwhile")
