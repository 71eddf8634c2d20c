"""/api/v1/models/…"""

from __future__ import annotations

import os
import socket
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from common.api import JsonView
from models_registry import selectors
from models_registry.models import ModelStatus, ModelVersion


class ModelSerializer(serializers.ModelSerializer):
    default = serializers.BooleanField(source="is_default")

    class Meta:
        model = ModelVersion
        fields = (
            "id", "task", "family", "name", "version", "engine", "status", "default", "languages", "memory_bytes",
            "loaded_at", "last_error",
        )  # fmt: skip
        read_only_fields = fields


class WorkerSerializer(serializers.Serializer):
    id = serializers.CharField(help_text="host:process")
    kind = serializers.ChoiceField(choices=["server"])


class ModelStatusView(JsonView):
    access: ClassVar = {"GET": Access()}

    class ModelsStatusSerializer(serializers.Serializer):
        models = ModelSerializer(many=True)
        workers = WorkerSerializer(many=True)
        healthy = serializers.BooleanField(help_text="No default model has failed.")

    @extend_schema(responses={200: ModelsStatusSerializer})
    def get(self, request: Request) -> Response:
        """The models of this installation and their state."""
        models = list(selectors.list_models())
        healthy = bool(models) and not any(row.is_default and row.status == ModelStatus.FAILED for row in models)
        workers = [{"id": f"{socket.gethostname()}:{os.getpid()}", "kind": "server"}]
        return Response({"models": ModelSerializer(models, many=True).data, "workers": workers, "healthy": healthy})
