"""Which content the operator pages may load."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from common.middleware import SyncMiddleware
from common.pages import is_page

POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'nonce-{nonce}'",  # for style sheets that scripts make in shadow roots (wavesurfer)
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",  # blob: what was just recorded or is being streamed
        "worker-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)


NO_PAGE_POLICY = "default-src 'none'; media-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""Of answers to programs: should a browser ever take one for a page, it runs nothing; sound it may play."""
_DOCS = "/api/v1/docs"


class ContentSecurityPolicyMiddleware(SyncMiddleware):
    """The policy on every page of the dashboard and the administration, error pages too; another on the API's answers,
    which are not cached unless they say so themselves.

    Not on the API's reference: Swagger UI starts from an inline script.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_page(request):
            response = self.get_response(request)
            if not request.path.startswith(settings.STATIC_URL):
                response.setdefault("Cache-Control", "no-store")
                if request.path != _DOCS:
                    response["Content-Security-Policy"] = NO_PAGE_POLICY
            return response
        nonce = secrets.token_urlsafe(16)
        request.style_nonce = nonce  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["Content-Security-Policy"] = POLICY.format(nonce=nonce)
        return response
