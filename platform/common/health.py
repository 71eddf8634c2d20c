"""/health (alive), /health/ready (can serve) and /api/v1/version."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from typing import Any, ClassVar

import django
from django.conf import settings
from django.db import connection
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import PUBLIC
from common import storage
from common.api import JsonView
from ml import stt, tts

log = logging.getLogger(__name__)


class PublicView(JsonView):
    access: ClassVar = {"GET": PUBLIC}
    authentication_classes = ()
    throttle_classes = ()


class HealthView(PublicView):
    class HealthSerializer(serializers.Serializer):
        status = serializers.ChoiceField(choices=["ok"])

    @extend_schema(responses={200: HealthSerializer})
    def get(self, request: Request) -> Response:
        """The process is alive. Touches nothing else."""
        return Response({"status": "ok"})


class ReadyView(PublicView):
    class ReadySerializer(serializers.Serializer):
        status = serializers.ChoiceField(choices=["ready", "not_ready"])
        checks = serializers.DictField(child=serializers.CharField(), help_text="`ok`, or what is wrong.")

    @extend_schema(responses={200: ReadySerializer, 503: ReadySerializer})
    def get(self, request: Request) -> Response:
        """Whether database, storage and engines can serve."""
        checks = readiness()
        ready = all(outcome == "ok" for outcome in checks.values())
        answer = Response({"status": "ready" if ready else "not_ready", "checks": checks}, status=200 if ready else 503)
        if not ready:
            answer["Retry-After"] = "5"
        return answer


class VersionView(PublicView):
    class VersionSerializer(serializers.Serializer):
        version = serializers.CharField()
        api = serializers.CharField()
        python = serializers.CharField()
        django = serializers.CharField()

    @extend_schema(responses={200: VersionSerializer})
    def get(self, request: Request) -> Response:
        """What runs here."""
        return Response(
            {
                "version": settings.VERSION,
                "api": "v1",
                "python": platform.python_version(),
                "django": django.get_version(),
            }
        )


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _synthesis() -> None:
    if not tts.voices():
        raise RuntimeError("no voices")


def _recognition() -> None:
    if not stt.models():
        raise RuntimeError("no models")


CHECKS: dict[str, Callable[[], Any]] = {
    "database": _database,
    "storage": storage.is_writable,
    "tts_engine": _synthesis,
    "stt_engine": _recognition,
}


def readiness() -> dict[str, str]:
    """Of each part, `ok` or what is wrong."""
    return {name: _outcome(check) for name, check in CHECKS.items()}


def _outcome(check: Callable[[], Any]) -> str:
    try:
        check()
    except Exception as error:
        log.exception("readiness check failed")
        return f"{type(error).__name__}: not available"  # the details may name hosts: they are in the log only
    return "ok"
