"""Errors outside views: a page for browsers at the dashboard and the administration, JSON everywhere else."""

from __future__ import annotations

import logging
import sys

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from common import api, context, outages

log = logging.getLogger(__name__)

_PAGES = ("/dashboard", "/admin", "/design")


def is_page(request: HttpRequest) -> bool:
    return any(request.path == root or request.path.startswith(f"{root}/") for root in _PAGES)


DASHBOARD = ("Go to the dashboard", "/dashboard")


def error_page(
    status: int, title: str, message: str, *, sign_out: str = "", way_on: tuple[str, str] = DASHBOARD
) -> HttpResponse:
    """Rendered without the request: no session, no user and no query, which may be what is broken.

    sign_out: a CSRF token, for somebody whom the dashboard would lead back here.
    way_on: what the button says, and where it leads.
    """
    fields = {
        "way_on": way_on,
        "sign_out": sign_out,
        "status": status,
        "title": title,
        "message": message,
        "request_id": context.request_id.get(),
    }
    return HttpResponse(render_to_string("errors/error.html", fields), status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_page(request):
        return api.bad_request(request, exception)
    return error_page(400, "The request is malformed", "Go back, load the page again and retry.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_page(request):
        return api.permission_denied(request, exception)
    if request.path.startswith("/admin"):
        return error_page(403, "For owners only", "The administration is for owners of an organisation.")
    return error_page(403, "Not allowed", "Your role does not allow this. An owner or admin can change it.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if not is_page(request):
        return api.csrf_failure(request, reason)
    return error_page(403, "The form has expired", "Load the page again and resend it. Cookies must be allowed.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_page(request):
        return api.page_not_found(request, exception)
    return error_page(404, "Nothing here", "The page does not exist, or it belongs to another organisation.")


def server_error(request: HttpRequest) -> HttpResponse:
    if not is_page(request):
        return api.server_error(request)
    log.exception("unhandled exception", extra={"path": request.path})
    if outage := outages.recognise(sys.exc_info()[1]):
        page = error_page(outage.status, "Not available at the moment", outage.message)
        page["Retry-After"] = "2"
        return page
    return error_page(
        500, "Something went wrong here", "It is logged. Try again; if it persists, report the request id."
    )
