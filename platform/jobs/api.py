"""Serializers that the job endpoints of tts and stt share."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.errors import ApiError, error_type
from common.serializers import StrictSerializer
from jobs.models import Job, JobStatus
from ml.errors import MlError


class JobErrorSerializer(serializers.Serializer):
    code = serializers.CharField()
    message = serializers.CharField()


class JobFieldsSerializer(serializers.ModelSerializer):
    """`job_id`, `status` and `error`, which every job answers with."""

    job_id = serializers.UUIDField(source="id")
    error = serializers.SerializerMethodField(help_text="Why the job failed or was cancelled; null otherwise.")

    @extend_schema_field(JobErrorSerializer(allow_null=True))
    def get_error(self, job: Job) -> dict[str, str] | None:
        return {"code": job.error_code, "message": job.error_message} if job.error_code else None


class JobQuerySerializer(StrictSerializer):
    """The query string of a list of jobs."""

    STATUSES = JobStatus.values

    status = serializers.ChoiceField(choices=JobStatus.choices, required=False)
    page = serializers.IntegerField(min_value=1, required=False)
    page_size = serializers.IntegerField(min_value=1, required=False)


def item_error(error: ApiError | MlError) -> dict[str, Any]:
    """What went wrong with one item of a batch, as an error answer's `error` without the request id."""
    return {"type": error_type(error.status), "code": error.code, "message": error.message, "param": error.param}
