"""/api/v1/models/rollouts…: a version on trial, beside the one that serves.

Models are the installation's, so what concerns the requests of everybody, and what changes which version serves, is the
operators' (superusers'); an organisation's admins try versions on their own requests.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access, Actor
from accounts.models import Organization, Role
from common.api import JsonView, paginated, paginated_schema
from common.serializers import StrictSerializer, validated
from models_registry import gate, rights, rollouts, selectors
from models_registry.api import ROLLOUT_FIELDS, RolloutSerializer
from models_registry.comparing import compare
from models_registry.gate import Verdict
from models_registry.models import ModelTask, ModelVersion, Rollout, RolloutMode, RolloutStatus
from models_registry.rollouts import Override, Terms

ADMIN = Access(role=Role.ADMIN)


class ArmSerializer(serializers.Serializer):
    version = serializers.CharField()
    requests = serializers.IntegerField()
    failures = serializers.IntegerField(help_text="Another model had to answer, or none could.")
    failure_rate = serializers.FloatField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True, help_text="Mean; of two models' no comparison.")
    audio_seconds = serializers.FloatField()
    median_rtf = serializers.FloatField(
        allow_null=True, help_text="Recognition seconds for each second of audio, waiting included."
    )


class OnManifestSerializer(serializers.Serializer):
    manifest = serializers.CharField()
    manifest_sha256 = serializers.CharField()
    active_wer = serializers.FloatField(allow_null=True)
    candidate_wer = serializers.FloatField(allow_null=True)


class ComparisonSerializer(serializers.Serializer):
    active = ArmSerializer()
    candidate = ArmSerializer()
    slowdown = serializers.FloatField(allow_null=True, help_text="The candidate's median over the active version's.")
    compared_words = serializers.IntegerField(help_text="Of shadows: words of the active version's texts.")
    wer_against_active = serializers.FloatField(
        allow_null=True, help_text="Of shadows: word error rate, the active version's text taken for the truth."
    )
    evaluations = OnManifestSerializer(many=True, help_text="Manifests on which both were measured.")


class ComparedRolloutSerializer(RolloutSerializer):
    comparison = serializers.SerializerMethodField()

    class Meta(RolloutSerializer.Meta):
        fields = (*ROLLOUT_FIELDS, "comparison")
        read_only_fields = fields

    @extend_schema_field(ComparisonSerializer)
    def get_comparison(self, rollout: Rollout) -> dict[str, Any]:
        return dict(ComparisonSerializer(compare(rollout)).data)


class ForcedSerializer(StrictSerializer):
    force = serializers.BooleanField(default=False, help_text="In spite of the evaluation; needs a reason.")
    reason = serializers.CharField(required=False, max_length=500, allow_blank=False)

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        if fields["force"] and "reason" not in fields:
            raise serializers.ValidationError({"reason": "Say why, where it is forced."}, code="required")
        return fields


class NewRolloutSerializer(ForcedSerializer):
    model = serializers.CharField(max_length=165, help_text="The candidate: name@version.")
    mode = serializers.ChoiceField(choices=RolloutMode.choices)
    share = serializers.FloatField(min_value=0.0001, max_value=1.0, help_text="Of the requests, up to 1.")
    scope = serializers.ChoiceField(
        choices=["organization", "platform"], default="organization", help_text="Whose requests; all: operators only."
    )
    max_failure_rate = serializers.FloatField(min_value=0.0, max_value=1.0, default=0.05)
    max_slowdown = serializers.FloatField(min_value=1.0, max_value=1000.0, default=2.0)
    min_samples = serializers.IntegerField(min_value=1, max_value=100_000, default=20)


class FinishSerializer(ForcedSerializer):
    activate = serializers.BooleanField(help_text="Whether the candidate serves from now on; operators only.")


class RollBackSerializer(StrictSerializer):
    reason = serializers.CharField(required=False, max_length=500, allow_blank=False)


class RolloutsView(JsonView):
    access: ClassVar = {"GET": ADMIN, "POST": ADMIN}

    @extend_schema(
        **paginated_schema(RolloutSerializer, OpenApiParameter("status", str, enum=RolloutStatus.values)),
        operation_id="rollouts_list",
    )
    def get(self, request: Request) -> Response:
        """Versions that are or were on trial, on the organisation's or on all requests; newest first."""
        query = validated(_RolloutsQuerySerializer, request.query_params)
        rows = selectors.list_rollouts(actor=self.actor, status=query.get("status"))
        return paginated(self, rows, RolloutSerializer)

    @extend_schema(request=NewRolloutSerializer, responses={201: ComparedRolloutSerializer})
    def post(self, request: Request) -> Response:
        """Try a version on a share of the requests (canary), or have it hear them without being answered (shadow).

        A canary is begun only where saved evaluations say that it makes no more errors than the active version.
        """
        fields = validated(NewRolloutSerializer, request.data)
        organization = self.actor.organization if fields["scope"] == "organization" else None
        if organization is None:
            rights.require_operator(self.actor, "Trying a version on all organisations' requests")
        candidate = selectors.find_version(fields["model"], task=ModelTask.STT)
        terms = Terms(
            organization=organization,
            **{name: fields[name] for name in ("mode", "share", "max_failure_rate", "max_slowdown", "min_samples")},
        )
        override = Override(fields["reason"]) if fields["force"] else None
        judged = override is None and fields["mode"] == RolloutMode.CANARY
        rollout = rollouts.start(
            actor=self.actor,
            candidate=candidate,
            terms=terms,
            verdicts=_verdicts(candidate, organization) if judged else [],
            override=override,
            reason=fields.get("reason", ""),
        )
        return Response(ComparedRolloutSerializer(rollout).data, status=201)


class RolloutView(JsonView):
    access: ClassVar = {"GET": ADMIN}

    @extend_schema(responses={200: ComparedRolloutSerializer})
    def get(self, request: Request, rollout_id: uuid.UUID) -> Response:
        """One rollout, with both versions side by side."""
        rollout = selectors.get_rollout(actor=self.actor, rollout_id=rollout_id)
        return Response(ComparedRolloutSerializer(rollout).data)


class FinishRolloutView(JsonView):
    access: ClassVar = {"POST": ADMIN}

    @extend_schema(request=FinishSerializer, responses={200: ComparedRolloutSerializer})
    def post(self, request: Request, rollout_id: uuid.UUID) -> Response:
        """End a trial; with `activate`, the candidate serves everybody from now on."""
        rollout = selectors.get_rollout(actor=self.actor, rollout_id=rollout_id)
        fields = validated(FinishSerializer, request.data)
        _require_own(self.actor, rollout)
        if fields["activate"]:
            rights.require_operator(self.actor, "Activating a version")
        judged = fields["activate"] and not fields["force"] and not rollout.forced
        ended = rollouts.finish(
            actor=self.actor,
            rollout=rollout,
            activate=fields["activate"],
            verdicts=_verdicts(rollout.candidate, None) if judged else [],
            override=Override(fields["reason"]) if fields["force"] else None,
        )
        return Response(ComparedRolloutSerializer(ended).data)


class RollBackView(JsonView):
    access: ClassVar = {"POST": ADMIN}

    @extend_schema(request=RollBackSerializer, responses={200: ComparedRolloutSerializer})
    def post(self, request: Request, rollout_id: uuid.UUID) -> Response:
        """End a trial at once: all requests go to the active version again."""
        rollout = selectors.get_rollout(actor=self.actor, rollout_id=rollout_id)
        fields = validated(RollBackSerializer, request.data)
        _require_own(self.actor, rollout)
        ended = rollouts.roll_back(actor=self.actor, rollout=rollout, **fields)
        return Response(ComparedRolloutSerializer(ended).data)


class _RolloutsQuerySerializer(StrictSerializer):
    status = serializers.ChoiceField(choices=RolloutStatus.choices, required=False)
    page = serializers.IntegerField(min_value=1, required=False)
    page_size = serializers.IntegerField(min_value=1, required=False)


def _verdicts(candidate: ModelVersion, organization: Organization | None) -> list[Verdict]:
    """By saved evaluations alone: measuring takes longer than a request may."""
    active = rollouts.active_version(candidate)
    return gate.judge(candidate=candidate, active=active, on=gate.manifests(organization))


def _require_own(actor: Actor, rollout: Rollout) -> None:
    if rollout.organization_id is None:
        rights.require_operator(actor, "Ending a trial on all organisations' requests")
