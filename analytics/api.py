"""/api/v1/analytics/…"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from analytics import exports, selectors
from common.api import JsonView
from common.serializers import StrictSerializer, validated

GROUPS = ("day", "model", "api_key", "user")


class CsvRenderer(BaseRenderer):
    """The daily rows as CSV."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> str:
        return exports.daily_csv(data)


class SumsSerializer(serializers.Serializer):
    tts_characters = serializers.IntegerField()
    stt_seconds = serializers.FloatField()
    tts_jobs = serializers.IntegerField()
    stt_jobs = serializers.IntegerField()
    failed_jobs = serializers.IntegerField()


class DaySerializer(SumsSerializer):
    date = serializers.DateField()


class GroupSerializer(SumsSerializer):
    key = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_null=True, required=False)


class PeriodSerializer(serializers.Serializer):
    start = serializers.DateField()
    end = serializers.DateField()
    days = serializers.IntegerField()


class UsageView(JsonView):
    access: ClassVar = {"GET": Access()}
    renderer_classes = (JSONRenderer, CsvRenderer)

    class QuerySerializer(StrictSerializer):
        days = serializers.IntegerField(default=30, min_value=1, max_value=366)
        group_by = serializers.CharField(default="day", max_length=100)

        def validate_group_by(self, value: str) -> list[str]:
            groups = [group.strip() for group in value.split(",") if group.strip()]
            if unknown := set(groups) - set(GROUPS):
                raise serializers.ValidationError(f"Unknown: {', '.join(sorted(unknown))}. Known: {', '.join(GROUPS)}.")
            return groups

    class UsageSerializer(serializers.Serializer):
        total_tts_characters = serializers.IntegerField()
        total_stt_seconds = serializers.FloatField()
        total_jobs = serializers.IntegerField()
        period = PeriodSerializer()
        daily = DaySerializer(many=True)
        groups = serializers.DictField(child=GroupSerializer(many=True), required=False)

    @extend_schema(
        parameters=[
            OpenApiParameter("days", int, description="How many days, today included (1–366; default 30)."),
            OpenApiParameter("group_by", str, description="Comma-separated: day, model, api_key, user."),
        ],
        responses={(200, "application/json"): UsageSerializer, (200, "text/csv"): str},
    )
    def get(self, request: Request) -> Response:
        """What the organisation used: totals, one row a day, and sums by model, key or user on request."""
        query = validated(self.QuerySerializer, request.query_params)
        summary = selectors.usage_summary(actor=self.actor, days=query["days"], group_by=query["group_by"])
        return Response(summary)


class QuotaLimitsSerializer(serializers.Serializer):
    monthly_characters = serializers.IntegerField(allow_null=True)
    monthly_audio_seconds = serializers.IntegerField(allow_null=True)
    monthly_budget = serializers.FloatField(allow_null=True)
    price_per_million_characters = serializers.FloatField()
    price_per_audio_hour = serializers.FloatField()


class AmountsSerializer(serializers.Serializer):
    characters = serializers.IntegerField()
    audio_seconds = serializers.FloatField()
    cost = serializers.FloatField(help_text="At the prices of the limits.")


class RemainingSerializer(serializers.Serializer):
    characters = serializers.IntegerField(allow_null=True)
    audio_seconds = serializers.FloatField(allow_null=True)
    budget = serializers.FloatField(allow_null=True)


class ConcurrencySerializer(serializers.Serializer):
    limit = serializers.IntegerField(allow_null=True)
    running = serializers.IntegerField()


class QuotaView(JsonView):
    access: ClassVar = {"GET": Access()}

    class QuotaSerializer(serializers.Serializer):
        period = serializers.CharField(help_text="The month, UTC: 2030-01.")
        resets_at = serializers.DateTimeField()
        limits = QuotaLimitsSerializer(help_text="null: no limit.")
        used = AmountsSerializer()
        reserved = AmountsSerializer(help_text="Held for jobs under way.")
        remaining = RemainingSerializer(help_text="null: no limit.")
        concurrency = ConcurrencySerializer(help_text="Jobs that compute at the same time.")

    @extend_schema(responses={200: QuotaSerializer})
    def get(self, request: Request) -> Response:
        """What the organisation may use this month, has used, and has left."""
        return Response(selectors.quota_state(organization=self.actor.organization))
