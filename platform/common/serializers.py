"""Bases for request serializers."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from rest_framework import serializers


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know: a misspelt option is an error, never a silent default."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, dict | QueryDict) else []
        if unknown:
            known = ", ".join(self.fields)
            message = serializers.ErrorDetail(f"Unknown parameter; known are: {known}.", code="unknown")
            raise serializers.ValidationError({str(unknown[0])[:100]: [message]})
        return super().to_internal_value(data)


def validated(serializer: type[serializers.Serializer], data: Any, **kwargs: Any) -> dict[str, Any]:
    """The data as the serializer reads it, or ValidationError."""
    instance = serializer(data=data, **kwargs)
    instance.is_valid(raise_exception=True)
    return instance.validated_data
