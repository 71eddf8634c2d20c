"""The edge: errors become answers here, once; and the base of every JSON view."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFilesSent
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import exceptions as drf
from rest_framework import serializers
from rest_framework.pagination import PageNumberPagination
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Access, Actor
from common import errors, outages
from ml.errors import Cancelled, MlError

log = logging.getLogger(__name__)


class JsonView(APIView):
    """A view whose `access` says, for each method, who may call it.

    A method that `access` does not name answers 405; every answer carries the caller's rate-limit headers.
    """

    access: ClassVar[dict[str, Access]] = {}

    @property
    def actor(self) -> Actor:
        """Who calls. Only for methods whose access requires a credential."""
        return self.request.auth  # type: ignore[return-value]

    @property
    def client_left(self) -> threading.Event | None:
        """Set when the client disconnects; pass it to long work as `cancel`."""
        return getattr(self.request._request, "client_left", None)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in getattr(request, "rate_limit_headers", {}).items():
            response[name] = value
        return response


class PagePagination(PageNumberPagination):
    """`?page=2&page_size=50` → `{count, next, previous, results}`."""

    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100


def paginated(view: JsonView, rows: QuerySet, serializer: type[serializers.BaseSerializer], **context: Any) -> Response:
    """The page of `rows` that the query string asks for."""
    paginator = PagePagination()
    try:
        page = paginator.paginate_queryset(rows, view.request, view)
    except drf.NotFound:
        raise errors.NotFound("There is no such page.", param=paginator.page_query_param) from None
    return paginator.get_paginated_response(serializer(page, many=True, context=context).data)


def paginated_schema(serializer: type[serializers.BaseSerializer], *filters: OpenApiParameter) -> dict[str, Any]:
    """Arguments for `extend_schema` of a view that answers with `paginated`."""
    page = inline_serializer(
        f"Paginated{serializer.__name__.removesuffix('Serializer')}",
        {
            "count": serializers.IntegerField(),
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
            "results": serializer(many=True),  # type: ignore[dict-item]
        },
    )
    parameters = [
        OpenApiParameter("page", int, description="From 1."),
        OpenApiParameter("page_size", int, description=f"1–{PagePagination.max_page_size}."),
        *filters,
    ]
    return {"responses": {200: page}, "parameters": parameters, "filters": False}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Any expected error as the contract's answer; None for a fault, which Django turns into `server_error`."""
    outage = outages.recognise(error)
    answer = error_response(error)
    if answer is None:
        return None
    if outage:
        log.error("request failed: %s", outages.reason(error), extra={"status": answer.status_code})
    elif answer.status_code >= 500:
        log.error("request failed", exc_info=error, extra={"status": answer.status_code})
    # Whatever the view answers with otherwise (CSV, YAML, a page): an error is JSON.
    request = context["request"]
    request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    return answer


def error_response(error: BaseException) -> Response | None:
    """The answer to an expected error; None for a fault."""
    answer: Response | None = None
    error = outages.recognise(error) or error
    match error:
        case errors.ApiError():
            retry_after = error.retry_after_seconds
            answer = _response(error.status, error.code, error.message, error.param, retry_after, error.extra)
        case Cancelled():
            answer = _response(409, "job_cancelled", "The job was cancelled while it ran.")
        case MlError():
            answer = _response(error.status, error.code, error.message, error.param)
        case drf.ValidationError():
            first = first_problem(error)
            answer = _response(first.status, first.code, first.message, first.param)
        case drf.Throttled():
            wait = int(getattr(error, "wait", None) or 1)
            answer = _response(429, "rate_limited", f"Too many requests; try again in {wait} s.", None, wait)
        case drf.APIException():
            answer = _drf_answer(error)
        case _:
            for kinds, (status, code, message) in _FOREIGN_ERRORS.items():
                if isinstance(error, kinds):
                    answer = _response(status, code, message)
    return answer


_TOO_BIG = (413, "request_too_large", "The request has too much data or too many files.")
_MALFORMED = (400, "invalid_request", "The request is malformed.")
_FORBIDDEN = (403, "permission_denied", "You may not do this.")
# Subclasses come after their bases: the last entry that fits answers.
_FOREIGN_ERRORS: dict[tuple[type[Exception], ...], tuple[int, str, str]] = {
    (Http404,): (404, "not_found", "There is nothing here."),
    (DjangoPermissionDenied,): _FORBIDDEN,
    (SuspiciousOperation,): _MALFORMED,
    (RequestDataTooBig, TooManyFilesSent): _TOO_BIG,
    (UnreadablePostError,): (400, "upload_incomplete", "The request's body ended before its end."),
}


_DRF_CODES = {
    "parse_error": "malformed_body",
    "unsupported_media_type": "unsupported_media_type",
    "method_not_allowed": "method_not_allowed",
    "not_found": "not_found",
    "authentication_failed": "not_authenticated",
}


def _drf_answer(error: drf.APIException) -> Response:
    code = getattr(error.detail, "code", error.default_code)
    answer = _response(error.status_code, _DRF_CODES.get(code, code), str(error.detail))
    if auth := getattr(error, "auth_header", None):
        answer["WWW-Authenticate"] = auth
    return answer


def _response(
    status: int,
    code: str,
    message: str,
    param: str | None = None,
    retry_after_seconds: int | None = None,
    extra: dict[str, Any] | None = None,
) -> Response:
    body = errors.error_body(status, code=code, message=message, param=param, extra=extra)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status in (429, 503) or retry_after_seconds:
        headers["Retry-After"] = str(retry_after_seconds or 2)
    return Response(body, status=status, headers=headers)


def first_problem(error: drf.ValidationError) -> errors.InvalidRequest:
    """Of all that is wrong with a request, what an answer tells."""
    param, message, code = next(_flatten(error.get_full_details()))
    if param is None and code == "null":  # the body itself, in the words of DRF's forms
        return errors.InvalidRequest("The body must be a JSON object, not null.", code="invalid")
    return errors.InvalidRequest(message, code=f"parameter_{code}" if param else code, param=param)


def _flatten(detail: Any, path: str = "") -> Iterator[tuple[str | None, str, str]]:
    """(param, message, code) of each leaf of DRF's nested error details; `items.0.text` for a nested field."""
    if isinstance(detail, dict) and set(detail) == {"message", "code"}:
        yield path or None, str(detail["message"]), str(detail["code"])
    elif isinstance(detail, dict):
        for key, value in detail.items():
            yield from _flatten(value, path if key == "non_field_errors" else f"{path}.{key}".lstrip("."))
    else:
        for index, value in enumerate(detail):
            leaf = isinstance(value, dict) and set(value) == {"message", "code"}
            yield from _flatten(value, path if leaf else f"{path}.{index}".lstrip("."))


# ── Errors outside views: Django's handler400, 403, 404 and 500 ─────────────────────────────────────────────────────


def error_answer(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse(errors.error_body(status, code=code, message=message), status=status)


def bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:
    return error_answer(*(_TOO_BIG if isinstance(exception, RequestDataTooBig | TooManyFilesSent) else _MALFORMED))


def permission_denied(request: HttpRequest, exception: Exception) -> JsonResponse:
    return error_answer(*_FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> JsonResponse:
    return error_answer(403, "csrf_failed", "The form has expired; load the page again and resend it.")


def page_not_found(request: HttpRequest, exception: Exception) -> JsonResponse:
    return error_answer(404, "not_found", f"There is nothing at {request.path}.")


def server_error(request: HttpRequest) -> JsonResponse:
    """Called by Django while it handles the exception."""
    if outage := outages.recognise(sys.exc_info()[1]):
        answer = error_answer(outage.status, outage.code, outage.message)
        answer["Retry-After"] = "2"
        return answer
    log.exception("unhandled exception", extra={"path": request.path})
    return error_answer(500, "internal_error", "Something went wrong here; it is logged under this request id.")
