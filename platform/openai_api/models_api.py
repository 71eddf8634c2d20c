"""/v1/models"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import ANY_SCOPE, Access
from openai_api import selectors
from openai_api.base import OpenAIView
from openai_api.selectors import ListedModel


class OpenAIModelSerializer(serializers.Serializer):
    id = serializers.CharField()
    object = serializers.ChoiceField(choices=["model"])
    created = serializers.IntegerField(help_text="Seconds since 1970.")
    owned_by = serializers.CharField(help_text="`system`, or the organisation whose alias it is.")
    task = serializers.ChoiceField(choices=["stt", "tts"])


class ModelListView(OpenAIView):
    access: ClassVar = {"GET": Access(scope=ANY_SCOPE)}

    class OpenAIModelListSerializer(serializers.Serializer):
        object = serializers.ChoiceField(choices=["list"])
        data = OpenAIModelSerializer(many=True)  # type: ignore[assignment]  # hides the property of that name

    @extend_schema(responses={200: OpenAIModelListSerializer}, operation_id="openai_models_list")
    def get(self, request: Request) -> Response:
        """The names that requests may have as `model`."""
        return Response({"object": "list", "data": [_shown(m) for m in selectors.list_models(actor=self.actor)]})


class ModelView(OpenAIView):
    access: ClassVar = {"GET": Access(scope=ANY_SCOPE)}

    @extend_schema(responses={200: OpenAIModelSerializer}, operation_id="openai_models_retrieve")
    def get(self, request: Request, model_id: str) -> Response:
        """One model, or one name that stands for a model."""
        return Response(_shown(selectors.get_model(actor=self.actor, name=model_id)))


def _shown(model: ListedModel) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": model.owned_by,
        "task": model.task,
    }
