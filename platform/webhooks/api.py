"""/api/v1/webhooks/…"""

from __future__ import annotations

import uuid
from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from common.api import JsonView, paginated, paginated_schema
from common.serializers import StrictSerializer, validated
from webhooks import selectors, services
from webhooks.models import DeliveryStatus, Event, WebhookDelivery, WebhookEndpoint

ADMIN = Access(role=Role.ADMIN)

_WEBHOOK_FIELDS: tuple[str, ...] = (
    "id", "url", "description", "events", "active", "consecutive_failures", "failing_since", "disabled_at",
    "disabled_reason", "previous_secret_expires_at", "created_at", "created_by",
)  # fmt: skip
_DELIVERY_FIELDS: tuple[str, ...] = (
    "id", "event_id", "event", "status", "attempts", "response_status", "response_excerpt", "error",
    "duration_seconds", "next_attempt_at", "created_at", "finished_at", "log",
)  # fmt: skip


class WebhookSerializer(serializers.ModelSerializer):
    events = serializers.ListField(child=serializers.ChoiceField(choices=Event.choices))
    previous_secret_expires_at = serializers.DateTimeField(
        source="previous_until", allow_null=True, help_text="Until then a rotated secret still signs."
    )
    created_by = serializers.EmailField(source="created_by.email", allow_null=True, default=None)

    class Meta:
        model = WebhookEndpoint
        fields = _WEBHOOK_FIELDS
        read_only_fields = fields


class WebhookWithSecretSerializer(WebhookSerializer):
    secret = serializers.CharField(help_text="Signs the deliveries. It is not shown again.")

    class Meta(WebhookSerializer.Meta):
        fields = (*_WEBHOOK_FIELDS, "secret")
        read_only_fields = fields


class WebhookInputSerializer(StrictSerializer):
    url = serializers.CharField(max_length=2000, help_text="https://…; private addresses are refused.")
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=Event.choices),
        allow_empty=False,
        max_length=len(Event.choices),
        default=list(Event.values),
        help_text="Default: all.",
    )
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    active = serializers.BooleanField(required=False, help_text="Activating forgets the failures until then.")

    def validate_events(self, events: list[str]) -> list[str]:
        return sorted(set(events))


class DeliverySerializer(serializers.ModelSerializer):
    log = serializers.ListField(
        child=serializers.DictField(), help_text="Each attempt: at, status, error, duration_seconds."
    )

    class Meta:
        model = WebhookDelivery
        fields = _DELIVERY_FIELDS
        read_only_fields = fields


class DeliveryWithPayloadSerializer(DeliverySerializer):
    payload = serializers.DictField(help_text="The body that is sent.")

    class Meta(DeliverySerializer.Meta):
        fields = (*_DELIVERY_FIELDS, "payload")
        read_only_fields = fields


class WebhookListView(JsonView):
    access: ClassVar = {"GET": ADMIN, "POST": ADMIN}

    @extend_schema(**paginated_schema(WebhookSerializer), operation_id="webhooks_list")
    def get(self, request: Request) -> Response:
        """The organisation's webhooks, newest first."""
        return paginated(self, selectors.list_endpoints(actor=self.actor), WebhookSerializer)

    @extend_schema(request=WebhookInputSerializer, responses={201: WebhookWithSecretSerializer})
    def post(self, request: Request) -> Response:
        """Register a URL. Only this answer, and that of a rotation, show the signing secret."""
        fields = validated(WebhookInputSerializer, request.data)
        row, secret = services.create_endpoint(actor=self.actor, **fields)
        return Response({**WebhookSerializer(row).data, "secret": secret}, status=201)


class WebhookView(JsonView):
    access: ClassVar = {"GET": ADMIN, "PATCH": ADMIN, "DELETE": ADMIN}

    @extend_schema(responses={200: WebhookSerializer})
    def get(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """One webhook, without its secret."""
        return Response(WebhookSerializer(selectors.get_endpoint(actor=self.actor, webhook_id=webhook_id)).data)

    @extend_schema(request=WebhookInputSerializer(partial=True), responses={200: WebhookSerializer})
    def patch(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """Change a webhook's URL, events or description, or turn it off and on."""
        row = selectors.get_endpoint(actor=self.actor, webhook_id=webhook_id)
        changes = validated(WebhookInputSerializer, request.data, partial=True)
        row = services.update_endpoint(actor=self.actor, endpoint=row, changes=changes)
        return Response(WebhookSerializer(row).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """Delete a webhook and its deliveries."""
        row = selectors.get_endpoint(actor=self.actor, webhook_id=webhook_id)
        services.delete_endpoint(actor=self.actor, endpoint=row)
        return Response(status=204)


class WebhookTestView(JsonView):
    access: ClassVar = {"POST": ADMIN}

    @extend_schema(request=None, responses={200: DeliveryWithPayloadSerializer})
    def post(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """Send a `webhook.test` event now, and say what came of it. It is not repeated."""
        row = selectors.get_endpoint(actor=self.actor, webhook_id=webhook_id)
        delivery = services.send_test(actor=self.actor, endpoint=row)
        return Response(DeliveryWithPayloadSerializer(delivery).data)


class WebhookRotateSecretView(JsonView):
    access: ClassVar = {"POST": ADMIN}

    @extend_schema(request=None, responses={200: WebhookWithSecretSerializer})
    def post(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """Make a new signing secret. For 24 hours deliveries carry a signature of the old one too."""
        row = selectors.get_endpoint(actor=self.actor, webhook_id=webhook_id)
        row, secret = services.rotate_secret(actor=self.actor, endpoint=row)
        return Response({**WebhookSerializer(row).data, "secret": secret})


class DeliveryQuerySerializer(StrictSerializer):
    status = serializers.ChoiceField(choices=DeliveryStatus.choices, required=False)
    page = serializers.IntegerField(min_value=1, required=False)
    page_size = serializers.IntegerField(min_value=1, required=False)


class DeliveryListView(JsonView):
    access: ClassVar = {"GET": ADMIN}

    @extend_schema(
        **paginated_schema(DeliverySerializer, OpenApiParameter("status", str, enum=DeliveryStatus.values)),
        operation_id="webhooks_deliveries_list",
    )
    def get(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """What was sent to a webhook in the last 30 days, newest first."""
        query = validated(DeliveryQuerySerializer, request.query_params)
        rows = selectors.list_deliveries(actor=self.actor, webhook_id=webhook_id, status=query.get("status"))
        return paginated(self, rows, DeliverySerializer)


class DeliveryView(JsonView):
    access: ClassVar = {"GET": ADMIN}

    @extend_schema(responses={200: DeliveryWithPayloadSerializer})
    def get(self, request: Request, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> Response:
        """One delivery, with what is sent."""
        row = selectors.get_delivery(actor=self.actor, webhook_id=webhook_id, delivery_id=delivery_id)
        return Response(DeliveryWithPayloadSerializer(row).data)


class RedeliverView(JsonView):
    access: ClassVar = {"POST": ADMIN}

    @extend_schema(request=None, responses={202: DeliveryWithPayloadSerializer})
    def post(self, request: Request, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> Response:
        """Send an event once more, under its old id: a new delivery, with attempts of its own."""
        row = selectors.get_delivery(actor=self.actor, webhook_id=webhook_id, delivery_id=delivery_id)
        again = services.redeliver(actor=self.actor, delivery=row)
        return Response(DeliveryWithPayloadSerializer(again).data, status=202)
