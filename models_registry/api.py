"""/api/v1/models/…"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from common.api import JsonView
from common.serializers import StrictSerializer, validated
from models_registry import rights, selectors, services
from models_registry.models import ModelStatus, ModelTask, ModelVersion, Rollout, WorkerState

TASKS = ModelTask.values

ROLLOUT_FIELDS: tuple[str, ...] = (
    "id", "task", "model", "candidate", "active", "mode", "share", "scope", "max_failure_rate", "max_slowdown",
    "min_samples", "forced", "reason", "started_by", "status", "created_at", "ended_at", "ended_reason",
)  # fmt: skip


class RolloutSerializer(serializers.ModelSerializer):
    model = serializers.CharField(source="name")
    candidate = serializers.CharField(source="candidate.version")
    active = serializers.CharField(source="active_version", help_text="The version that it is compared with.")
    scope = serializers.SerializerMethodField()

    class Meta:
        model = Rollout
        fields = ROLLOUT_FIELDS
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(choices=["organization", "platform"]))
    def get_scope(self, rollout: Rollout) -> str:
        return "organization" if rollout.organization_id else "platform"


class ModelSerializer(serializers.ModelSerializer):
    default = serializers.BooleanField(source="is_default")
    active = serializers.BooleanField(source="is_active", help_text="The version that serves under this name.")

    class Meta:
        model = ModelVersion
        fields = (
            "id", "task", "family", "name", "version", "engine", "format", "status", "default", "active", "languages",
            "licence", "source", "revision", "bytes_on_disk", "memory_bytes", "loaded_at", "last_error", "results",
        )  # fmt: skip
        read_only_fields = fields
        extra_kwargs: ClassVar = {"results": {"help_text": "Evaluations: WER, CER and RTF by manifest."}}


class ModelReportSerializer(serializers.Serializer):
    """One model in one process."""

    task = serializers.CharField()
    name = serializers.CharField()
    version = serializers.CharField()
    status = serializers.ChoiceField(choices=ModelStatus.choices)
    memory_bytes = serializers.IntegerField(allow_null=True)
    loaded_at = serializers.DateTimeField(allow_null=True)
    last_error = serializers.CharField(allow_blank=True)
    on_trial = serializers.BooleanField(
        default=False, help_text="A rollout's candidate: it serves only what that gives it."
    )


class WorkerSerializer(serializers.ModelSerializer):
    models = serializers.SerializerMethodField()

    class Meta:
        model = WorkerState
        fields = ("id", "kind", "host", "pid", "started_at", "seen_at", "memory_bytes", "models")
        read_only_fields = fields
        extra_kwargs: ClassVar = {
            "memory_bytes": {"help_text": "Resident memory of the process."},
            "seen_at": {"help_text": "Written every few seconds; a silent process is not shown."},
        }

    @extend_schema_field(ModelReportSerializer(many=True))
    def get_models(self, worker: WorkerState) -> list[dict[str, Any]]:
        return list(ModelReportSerializer(worker.reports, many=True).data)


class ReloadSerializer(StrictSerializer):
    task = serializers.CharField(required=False, max_length=16, help_text=f"One of {', '.join(TASKS)}.")
    model = serializers.CharField(required=False, max_length=165, help_text="name, or name@version.")

    def validate_task(self, task: str) -> str:
        if task not in TASKS:
            raise serializers.ValidationError(f"The task is one of {', '.join(TASKS)}.", code="invalid_choice")
        return task


class ReloadedSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    task = serializers.CharField()
    name = serializers.CharField()
    version = serializers.CharField()
    status = serializers.ChoiceField(choices=ModelStatus.choices)


class NotReloadedSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="row.id")
    task = serializers.CharField(source="row.task")
    name = serializers.CharField(source="row.name")
    version = serializers.CharField(source="row.version")
    error = serializers.CharField(source="reason", help_text="Why; the version that served goes on serving.")


class ReloadOutcomeSerializer(serializers.Serializer):
    reloaded = ReloadedSerializer(many=True)
    failed = NotReloadedSerializer(many=True)


class ModelStatusView(JsonView):
    access: ClassVar = {"GET": Access()}

    class ModelsStatusSerializer(serializers.Serializer):
        models = ModelSerializer(many=True)
        workers = WorkerSerializer(many=True)
        rollouts = RolloutSerializer(many=True, help_text="Those that run, of the organisation's or all requests.")
        healthy = serializers.BooleanField(help_text="No default model has failed.")

    @extend_schema(responses={200: ModelsStatusSerializer})
    def get(self, request: Request) -> Response:
        """The models of this installation, their state, and every process that serves them."""
        return Response(self.ModelsStatusSerializer(selectors.models_status(actor=self.actor)).data)


class ModelReloadView(JsonView):
    access: ClassVar = {"POST": Access(role=Role.ADMIN)}

    @extend_schema(request=ReloadSerializer, responses={200: ReloadOutcomeSerializer})
    def post(self, request: Request) -> Response:
        """Load the active models anew, or one task's, or one.

        Requests under way finish on the version that they began with. Other processes follow within moments.
        """
        rights.require_reload(self.actor)
        fields = validated(ReloadSerializer, request.data)
        return Response(ReloadOutcomeSerializer(services.reload(actor=self.actor, **fields)).data)
