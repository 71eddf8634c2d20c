"""Who looks at a page: the Actor of a browser session, found anew at every request. And the base of every page."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user, logout
from django.contrib.auth.views import redirect_to_login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views import View

from accounts import policies, sessions
from accounts.actors import Actor
from accounts.models import Membership, Organization, Role
from accounts.selectors import list_memberships
from common import context, errors
from common.pages import error_page
from dashboard import nav
from dashboard.toasts import carry, pending, toast
from ml.errors import MlError

_SESSION_KEY = "organization_id"
SSO_KEY = "sso_organization"
"""Of a session that an organisation's provider began: its id."""
HOME = "/dashboard"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person: the actor in the organisation that is chosen, and all memberships to choose from."""

    actor: Actor
    memberships: tuple[Membership, ...]


class Page(View):
    """A page of the dashboard, for `role` and above. `visitor` is who looks, `actor` the same in one organisation.

    `post_role`, where there is one, is what a POST needs instead.
    """

    role: ClassVar[str] = "viewer"
    post_role: ClassVar[str] = ""
    before_policy: ClassVar[bool] = False
    """Also for members who do not meet the organisation's policy yet: their account, and the way elsewhere."""
    personal: ClassVar[bool] = False
    """About the person rather than the organisation: not for whom an organisation's provider signed in."""
    visitor: Visitor

    @property
    def actor(self) -> Actor:
        return self.visitor.actor

    @property
    def wants_part(self) -> bool:
        """Whether htmx asks for a part of the page. (Going back in history, it asks for the whole.)"""
        headers = self.request.headers
        return headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in headers

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:  # type: ignore[override]
        if not request.user.is_authenticated:
            return _to_sign_in(request, htmx=self.wants_part)
        visitor = visitor_of(request)
        if visitor is None:
            return _without_organization(request)
        self.visitor = visitor
        if sessions.went_idle(request.session, policies.of(visitor.actor.organization).idle_minutes):
            logout(request)
            return _to_sign_in(request, htmx=self.wants_part)
        sessions.touch(request.session.session_key)
        try:
            if self.personal and visitor.actor.sso:
                raise errors.PermissionDenied(_("You signed in through your organisation, where your account is kept."))
            if not self.before_policy:
                check_policy(visitor.actor)
            self._require_role(request)
            response = super().dispatch(request, *args, **kwargs)
        except (errors.ApiError, MlError) as error:
            response = self._refused(error)
        return self._finished(response)

    def render(
        self, template: str, fields: dict[str, Any] | None = None, *, part: str = "", status: int = 200
    ) -> HttpResponse:
        """The page, with all that the frame around it shows; only `part`, a template too, where htmx asks.

        status: 400 for a form with errors, which htmx gets as 422: those it shows.
        """
        if part and self.wants_part:
            status = 422 if status == 400 else status
            return render(self.request, part, {**_basics(self), **(fields or {})}, status=status)
        return render(self.request, template, {**shell(self), **(fields or {})}, status=status)

    def go(self, to: str, *args: object) -> HttpResponse:
        """To another page, by URL name or address; htmx replaces the whole document then."""
        url = to if to.startswith("/") else reverse(to, args=args)
        if self.wants_part:
            return HttpResponse(status=204, headers={"HX-Redirect": url})
        return HttpResponseRedirect(url)

    def done(self, text: str, to: str, *args: object, undo: str = "") -> HttpResponse:
        """Says what happened, and goes to a page."""
        toast(self.request, text, undo=undo)
        return self.go(to, *args)

    def back(self) -> str:
        """The address of the page that sent the request, if it is one of ours; else the dashboard."""
        try:
            referer = urlsplit(self.request.headers.get("Referer", ""))
        except ValueError:  # no URL at all
            return HOME
        same = referer.netloc == self.request.get_host() and referer.path != self.request.path
        return safe_next(self.request, f"{referer.path}?{referer.query}".rstrip("?")) if same else HOME

    def _require_role(self, request: HttpRequest) -> None:
        role = self.post_role if self.post_role and request.method not in ("GET", "HEAD") else self.role
        if not self.actor.has_role(role):
            raise errors.PermissionDenied(_("Your role does not allow this. An owner or admin can change it."))

    def _refused(self, error: errors.ApiError | MlError) -> HttpResponse:
        """A toast where a page is open already; a page of its own otherwise."""
        if error.code in _REMEDIES or (error.code == "address_not_allowed" and len(self.visitor.memberships) > 1):
            return self._elsewhere(error)
        if self.wants_part:
            toast(self.request, error.message, tone="bad")
            return HttpResponse(status=error.status, headers={"HX-Reswap": "none"})
        if self.request.method == "POST" and error.status in _CORRECTABLE and "Referer" in self.request.headers:
            toast(self.request, error.message, tone="bad")
            return HttpResponseRedirect(self.back())
        return error_page(error.status, _title(error.status), error.message)

    def _elsewhere(self, error: errors.ApiError | MlError) -> HttpResponse:
        """To where the person can do something about it: meet the policy, or choose another organisation."""
        toast(self.request, error.message, tone="bad")
        if error.code == "sso_required":
            return self.go(f"{reverse('dashboard:sso')}?who={self.actor.organization.slug}")
        return self.go(_REMEDIES.get(error.code, "dashboard:account"))

    def _finished(self, response: HttpResponseBase) -> HttpResponseBase:
        add_never_cache_headers(response)
        patch_vary_headers(response, ["HX-Request"])
        # What leads to another page leaves its toasts to that page.
        if self.wants_part and isinstance(response, HttpResponse) and "HX-Redirect" not in response:
            carry(self.request, response)
        return response


class Action(Page):
    """A page that only does something: POST, then elsewhere."""

    http_method_names = ["post", "options"]  # noqa: RUF012  (Django's way)


_REMEDIES = {"two_factor_required": "dashboard:account-two-factor", "sso_required": "dashboard:sso"}
_CORRECTABLE = frozenset({400, 402, 409, 413, 415, 422, 429, 503})


def _title(status: int) -> str:
    return {403: _("Not allowed"), 404: _("Nothing here")}.get(status, _("This did not work"))


def _basics(page: Page) -> dict[str, Any]:
    """What every template may use, of a page or of a part."""
    actor = page.actor
    return {
        "actor": actor,
        "is_owner": actor.has_role(Role.OWNER),
        "is_admin": actor.has_role(Role.ADMIN),
        "is_developer": actor.has_role(Role.DEVELOPER),
        "base_url": page.request.build_absolute_uri("/").rstrip("/"),
    }


def shell(page: Page) -> dict[str, Any]:
    """What the frame around every page shows besides."""
    actor, request = page.actor, page.request
    return {
        **_basics(page),
        "role_label": Role(actor.role).label,
        "memberships": page.visitor.memberships,
        "show_admin": actor.has_role(Role.OWNER) or actor.user.is_superuser,  # type: ignore[union-attr]
        "nav_groups": nav.groups(actor, request.path),
        "account_links": nav.account_links(actor),
        "palette": nav.palette(actor),
        "toasts": pending(request),
        "theme": theme_of(request),
        "version": settings.VERSION,
    }


THEMES = ("system", "light", "dark")


def theme_of(request: HttpRequest) -> str:
    theme = request.COOKIES.get("theme", "")
    return theme if theme in THEMES else "system"


def visitor_of(request: HttpRequest) -> Visitor | None:
    """The person in the chosen organisation, else in the first; None for somebody who is in none."""
    memberships = tuple(list_memberships(user=request.user))  # type: ignore[arg-type]
    if bound := request.session.get(SSO_KEY):  # what one organisation's provider says lets nobody in elsewhere
        memberships = tuple(row for row in memberships if str(row.organization_id) == bound)
    if not memberships:
        return None
    chosen = request.session.get(_SESSION_KEY)
    member = next((row for row in memberships if str(row.organization_id) == chosen), memberships[0])
    context.organization_id.set(str(member.organization_id))
    actor = Actor(organization=member.organization, role=member.role, user=request.user, sso=bool(bound))  # type: ignore[arg-type]
    return Visitor(actor, memberships)


def visitor_of_cookie(request: HttpRequest) -> Visitor | None:
    """`visitor_of` for a request that passed no middleware, such as a socket's; None for nobody who is signed in.

    Raises PermissionDenied where the organisation's policy excludes the caller.
    """
    request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))  # type: ignore[assignment]
    request.user = get_user(request)
    visitor = visitor_of(request) if request.user.is_authenticated else None
    if visitor is None or sessions.went_idle(request.session, policies.of(visitor.actor.organization).idle_minutes):
        return None
    check_policy(visitor.actor)
    return visitor


def check_policy(actor: Actor) -> None:
    """Raises PermissionDenied where the organisation's policy excludes the caller."""
    policies.check_address(actor)
    policies.check_sign_in(actor)


def choose_organization(request: HttpRequest, visitor: Visitor, organization_id: str) -> None:
    """Settles the session's organisation; NotFound unless the person is a member."""
    if all(str(row.organization_id) != organization_id for row in visitor.memberships):
        raise errors.NotFound(_("You are not a member of this organisation."))
    request.session[_SESSION_KEY] = str(uuid.UUID(organization_id))


def enter_organization(request: HttpRequest, organization: Organization) -> None:
    """Acts there from now on; for somebody who has just joined."""
    request.session[_SESSION_KEY] = str(organization.id)


def safe_next(request: HttpRequest, url: str | None) -> str:
    """`url` if it leads to this site, else the dashboard."""
    allowed = url_has_allowed_host_and_scheme(
        url or "", allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return url if allowed and url else HOME


def _to_sign_in(request: HttpRequest, *, htmx: bool) -> HttpResponse:
    if htmx:  # the whole document, not the part that was asked for
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return redirect_to_login(request.get_full_path() if request.method == "GET" else HOME)


def _without_organization(request: HttpRequest) -> HttpResponse:
    if request.user.is_superuser and SSO_KEY not in request.session:
        return redirect("admin:index")
    message = _("%(person)s is not a member of any organisation. An owner can add you.") % {"person": request.user}
    return error_page(403, _("No organisation"), message, sign_out=get_token(request))
