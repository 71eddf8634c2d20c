"""GET /api/v1/jobs/events"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.actors import ANY_SCOPE, Access, Actor
from accounts.authentication import CredentialAuthentication, authenticate_credential, credential_of
from accounts.models import User
from common import errors
from common.api import JsonView
from common.serializers import StrictSerializer, validated
from dashboard.access import visitor_of_cookie
from jobs.events import listeners, reading
from jobs.events.reading import Scope
from jobs.events.stream import EventStream
from jobs.models import MODELS

CONTENT_TYPE = "text/event-stream; charset=utf-8"
EVENTS = (
    "snapshot", "job.queued", "job.started", "job.progress", "job.succeeded", "job.failed", "job.cancelled",
    "batch.progress", "batch.finished", "resync", "end",
)  # fmt: skip


class SessionAuthentication(BaseAuthentication):
    """The dashboard's cookie: a browser's EventSource cannot send a header. Only for what changes nothing."""

    def authenticate(self, request: Request) -> tuple[User | None, Actor] | None:
        visitor = visitor_of_cookie(request._request)
        return (visitor.actor.user, visitor.actor) if visitor else None


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = SessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class EventQuerySerializer(StrictSerializer):
    job_id = serializers.UUIDField(required=False)
    batch_id = serializers.UUIDField(required=False)
    task = serializers.ChoiceField(choices=sorted(MODELS), required=False)


class JobEventsView(JsonView):
    access: ClassVar = {"GET": Access(scope=ANY_SCOPE)}
    authentication_classes = (CredentialAuthentication, SessionAuthentication)

    @extend_schema(
        operation_id="jobs_events",
        parameters=[
            OpenApiParameter("job_id", OpenApiTypes.UUID, description="Only this job."),
            OpenApiParameter("batch_id", OpenApiTypes.UUID, description="Only this batch and its jobs."),
            OpenApiParameter("task", str, enum=sorted(MODELS), description="Only jobs of this kind."),
            OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER, description="Where a client goes on."),
        ],
        responses={(200, "text/event-stream"): str},
        description=(
            "What happens to the organisation's jobs, as server-sent events, until the client leaves or its "
            f"credential ends. Events: {', '.join(EVENTS)}. See docs/api.md."
        ),
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Follow jobs as they run."""
        scope = _scope(self.actor, request)
        if (scope.job_id or scope.batch_id) and not reading.exists(scope):
            raise errors.NotFound("There is no such job or batch.")
        listener_id = listeners.join(scope.organization_id)
        stream = EventStream(listener_id, scope, _still_allowed(request._request, scope))
        response = StreamingHttpResponse(stream, content_type=CONTENT_TYPE)
        response["Cache-Control"] = "no-store"
        response["X-Accel-Buffering"] = "no"  # nginx would hold events back
        return response

    def head(self, request: Request) -> HttpResponse:
        """Not as GET: there would be no end to wait for."""
        return HttpResponse(content_type=CONTENT_TYPE)


def _scope(actor: Actor, request: Request) -> Scope:
    query = validated(EventQuerySerializer, request.query_params)
    wanted = [query["task"]] if "task" in query else sorted(MODELS)
    tasks = _allowed_tasks(actor, wanted)
    if not tasks:
        raise errors.PermissionDenied(f"This API key lacks the scope {wanted[0]!r}.", code="scope_missing")
    since = reading.since(request.headers.get("Last-Event-ID"))
    return Scope(actor.organization.id, tasks, query.get("job_id"), query.get("batch_id"), since)


def _allowed_tasks(actor: Actor, tasks: Any) -> tuple[str, ...]:
    return tuple(task for task in tasks if actor.scopes is None or task in actor.scopes)


def _still_allowed(request: HttpRequest, scope: Scope) -> Callable[[], bool]:
    """Whether the credential still stands for the same organisation and all that the stream tells of."""
    credential = credential_of(request)

    def now() -> Actor | None:
        if credential:
            return authenticate_credential(credential)
        visitor = visitor_of_cookie(request)
        return visitor.actor if visitor else None

    def check() -> bool:
        actor = now()
        if actor is None or actor.organization.id != scope.organization_id:
            return False
        return _allowed_tasks(actor, scope.tasks) == scope.tasks

    return check
