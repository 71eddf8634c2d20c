"""Who looks at a page: the Actor of a browser session, found anew at every request."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.views import redirect_to_login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from accounts.actors import Actor
from accounts.models import Membership
from accounts.selectors import list_memberships
from common import context, errors
from common.pages import error_page
from ml.errors import MlError

_SESSION_KEY = "organization_id"
HOME = "/dashboard"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person: the actor in the organisation that is chosen, and all memberships to choose from."""

    actor: Actor
    memberships: tuple[Membership, ...]


class Page(View):
    """A page of the dashboard, for `role` and above. `visitor` is who looks, `actor` the same in one organisation."""

    role = "viewer"
    visitor: Visitor

    @property
    def actor(self) -> Actor:
        return self.visitor.actor

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:  # type: ignore[override]
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path() if request.method == "GET" else HOME)
        visitor = visitor_of(request)
        if visitor is None:
            return _without_organization(request)
        self.visitor = visitor
        try:
            if not self.actor.has_role(self.role):
                raise errors.PermissionDenied("Your role does not allow this. An owner or admin can change it.")
            return super().dispatch(request, *args, **kwargs)  # type: ignore[return-value]
        except (errors.ApiError, MlError) as error:
            return error_page(error.status, _TITLES.get(error.status, "This did not work"), error.message)


_TITLES = {403: "Not allowed", 404: "Nothing here"}


def visitor_of(request: HttpRequest) -> Visitor | None:
    """The person in the chosen organisation, else in the first; None for somebody who is in none."""
    memberships = tuple(list_memberships(user=request.user))  # type: ignore[arg-type]
    if not memberships:
        return None
    chosen = request.session.get(_SESSION_KEY)
    member = next((row for row in memberships if str(row.organization_id) == chosen), memberships[0])
    context.organization_id.set(str(member.organization_id))
    actor = Actor(organization=member.organization, role=member.role, user=request.user)  # type: ignore[arg-type]
    return Visitor(actor, memberships)


def visitor_of_cookie(request: HttpRequest) -> Visitor | None:
    """`visitor_of` for a request that passed no middleware, such as a socket's; None for nobody who is signed in."""
    request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))  # type: ignore[assignment]
    request.user = get_user(request)
    return visitor_of(request) if request.user.is_authenticated else None


def choose_organization(request: HttpRequest, visitor: Visitor, organization_id: str) -> None:
    """Settles the session's organisation; NotFound unless the person is a member."""
    if all(str(row.organization_id) != organization_id for row in visitor.memberships):
        raise errors.NotFound("You are not a member of this organization.")
    request.session[_SESSION_KEY] = str(uuid.UUID(organization_id))


def safe_next(request: HttpRequest, url: str | None) -> str:
    """`url` if it leads to this site, else the dashboard."""
    allowed = url_has_allowed_host_and_scheme(
        url or "", allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return url if allowed and url else HOME


def _without_organization(request: HttpRequest) -> HttpResponse:
    if request.user.is_superuser:
        return redirect("admin:index")
    message = f"{request.user} is not a member of any organization. An owner can add you."
    return error_page(403, "No organization", message)
