"""Serializers that the job endpoints of tts and stt share."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from common.errors import ApiError, error_type
from common.serializers import StrictSerializer, validated
from jobs import batches
from jobs.models import UNFINISHED, Job, JobStatus
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


class AsyncSerializer(StrictSerializer):
    """Adds `async`, which Python does not allow as an attribute's name; it is validated as `queued`."""

    def get_fields(self) -> dict[str, serializers.Field]:
        queued = serializers.BooleanField(
            source="queued", default=False, help_text="Answer 202 at once; a worker runs the job."
        )
        return {**super().get_fields(), "async": queued}


def accepted(body: dict[str, Any], location: str) -> Response:
    """202 for work that has been queued."""
    return Response(body, status=202, headers={"Location": location})


class JobQuerySerializer(StrictSerializer):
    """The query string of a list of jobs."""

    STATUSES = JobStatus.values

    status = serializers.ChoiceField(choices=JobStatus.choices, required=False)
    created_after = serializers.DateTimeField(required=False)
    key = serializers.UUIDField(required=False, help_text="Only the jobs of this API key.")
    q = serializers.CharField(max_length=200, required=False, help_text="Words of the text or the transcript.")
    page = serializers.IntegerField(min_value=1, required=False)
    page_size = serializers.IntegerField(min_value=1, required=False)


def job_filters(request: Request) -> dict[str, Any]:
    """The query string of a list of jobs, for a selector."""
    query = validated(JobQuerySerializer, request.query_params)
    return {name: value for name, value in query.items() if name not in ("page", "page_size")}


def item_error(error: ApiError | MlError) -> dict[str, Any]:
    """What went wrong with one item of a batch, as an error answer's `error` without the request id."""
    return {"type": error_type(error.status), "code": error.code, "message": error.message, "param": error.param}


JOB_FILTERS = (
    OpenApiParameter("status", str, enum=JobQuerySerializer.STATUSES),
    OpenApiParameter("created_after", OpenApiTypes.DATETIME),
    OpenApiParameter("key", OpenApiTypes.UUID, description="Only the jobs of this API key."),
    OpenApiParameter("q", str, description='Words of the text or the transcript; "…" for a phrase, - for none of it.'),
)


def batch_state(batch_id: uuid.UUID, jobs: list[Any], items: Any) -> dict[str, Any]:
    """The answer of GET …/batches/{id}. items: the jobs, serialised."""
    batch = batches.find(organization_id=jobs[0].organization_id, batch_id=batch_id)
    running = any(job.status in UNFINISHED for job in jobs)  # when they were read: the batch may have ended since
    return {
        "batch_id": str(batch_id),
        **batches.summary_of_jobs(jobs, batch),
        "finished_at": batch.finished_at if batch and not running else None,
        "items": items,
    }


class BatchSummarySerializer(serializers.Serializer):
    batch_id = serializers.UUIDField()
    total = serializers.IntegerField(help_text="Jobs; items that were refused at once are none.")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Jobs by status.")
    progress = serializers.FloatField(help_text="0–1.")
    finished_at = serializers.DateTimeField(allow_null=True, help_text="When the last of its jobs ended.")
