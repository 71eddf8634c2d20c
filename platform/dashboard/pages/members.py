"""Who is in the organisation, with which role, and who is invited."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.core import signing
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import invitations, selectors, services
from accounts.actors import ROLE_RANKS, Actor
from accounts.models import Invitation, Membership, Role
from common import errors
from common.network import public_url
from dashboard.access import Action, Page
from dashboard.forms import attempt
from dashboard.listing import FilterForm, listing
from dashboard.nav import Command, NavItem, Section
from dashboard.pages.service_accounts import AccountForm

ROLE_HELP = {
    Role.OWNER: gettext_lazy("Everything, the organisation's settings and end included."),
    Role.ADMIN: gettext_lazy("Also keys, webhooks, members below them, models and the audit trail."),
    Role.DEVELOPER: gettext_lazy("Also speak, transcribe, clone voices, delete jobs."),
    Role.VIEWER: gettext_lazy("Look at jobs, voices, models and usage."),
}
_UNDO_SALT = "dashboard.members.undo"
_UNDO_SECONDS = 300


def manageable_roles(actor: Actor) -> list[Role]:
    """The roles that the actor may give and take: below the own; all for owners."""
    owner = actor.role == Role.OWNER
    return [Role(role) for role in Role.values if owner or ROLE_RANKS[role] < ROLE_RANKS[actor.role]]


class MemberFilters(FilterForm):
    q = forms.CharField(
        label=gettext_lazy("Search by name or address"), widget=forms.TextInput(attrs={"type": "search"})
    )
    role = forms.ChoiceField(
        label=gettext_lazy("Role"), choices=[("", gettext_lazy("Any role")), *((role, role.label) for role in Role)]
    )


class InviteForm(forms.Form):
    email = forms.EmailField(
        label=gettext_lazy("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(label=gettext_lazy("Role"), widget=forms.RadioSelect)

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        roles = manageable_roles(actor)
        choices = [(role.value, f"{role.label}: {ROLE_HELP[role]}") for role in roles]
        self.fields["role"].choices = choices  # type: ignore[attr-defined]
        self.fields["role"].initial = Role.DEVELOPER if Role.DEVELOPER in roles else Role.VIEWER


class MembersPage(Page):
    role = Role.ADMIN

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, InviteForm(self.actor))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Invites; the link is shown once, for where no e-mail arrives."""
        form = InviteForm(self.actor, request.POST)
        if form.is_valid():
            base_url = public_url(request)
            fields = form.cleaned_data
            row = attempt(form, lambda: invitations.invite(actor=self.actor, **fields, base_url=base_url))
            if row is not None:
                return self._page(request, InviteForm(self.actor), invited=row)
        return self._page(request, form)

    def _page(self, request: HttpRequest, form: InviteForm, *, invited: Invitation | None = None) -> HttpResponse:
        filters = MemberFilters(request)
        fields = {
            "form": form,
            "filters": filters,
            "listing": listing(request, _found(self.actor, **filters.values)),
            "invitations": selectors.list_invitations(actor=self.actor)[:100],
            "service_accounts": selectors.list_service_accounts(actor=self.actor)[:200],
            "account_form": AccountForm(),
            "roles": [(role.value, role.label) for role in manageable_roles(self.actor)],
            "manageable": [role.value for role in manageable_roles(self.actor)],
            "invited": invited,
            "link": invitations.link_of(invited, public_url(request)) if invited else "",
            "open": bool(form.errors) or "invite" in request.GET,
        }
        status = 400 if form.errors else 200
        return self.render("dashboard/members/list.html", fields, part="dashboard/members/rows.html", status=status)


def _found(actor: Actor, *, q: str = "", role: str = "") -> Any:
    rows = selectors.list_members(actor=actor).order_by("user__name", "user__email")
    if q:
        rows = rows.filter(Q(user__name__icontains=q) | Q(user__email__icontains=q))
    return rows.filter(role=role) if role else rows


class MemberRole(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest, member_id: uuid.UUID) -> HttpResponse:
        member = selectors.get_member(actor=self.actor, member_id=member_id)
        role = request.POST.get("role", "")
        if role not in Role.values:
            raise errors.InvalidRequest(_("There is no such role."), param="role")
        former = member.role
        services.change_role(actor=self.actor, member=member, role=role)
        text = _("%(person)s is %(role)s now.") % {"person": _name(member), "role": Role(role).label}
        undo = _undo({"role": former, "member": str(member.id)}) if self._still_manages(member) else ""
        return self.done(text, "dashboard:members", undo=undo)

    def _still_manages(self, member: Membership) -> bool:
        """Not where an owner gave up their own role."""
        return member.user_id != self.actor.user.id  # type: ignore[union-attr]


class MemberRemove(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest, member_id: uuid.UUID) -> HttpResponse:
        member = selectors.get_member(actor=self.actor, member_id=member_id)
        undo = _undo({"role": member.role, "email": member.user.email})
        services.remove_member(actor=self.actor, member=member)
        text = _("%(person)s is no longer a member.") % {"person": _name(member)}
        return self.done(text, "dashboard:members", undo=undo)


class MemberUndo(Action):
    """Takes back the last change: the former role, or the membership."""

    role = Role.ADMIN

    def post(self, request: HttpRequest, signed: str) -> HttpResponse:
        try:
            former = signing.loads(signed, salt=_UNDO_SALT, max_age=_UNDO_SECONDS)
        except signing.BadSignature:
            raise errors.InvalidRequest(_("It is too late to undo this.")) from None
        if "member" in former:
            member = selectors.get_member(actor=self.actor, member_id=uuid.UUID(former["member"]))
            services.change_role(actor=self.actor, member=member, role=former["role"])
        else:
            fields = {"email": former["email"], "role": former["role"]}
            services.add_member(actor=self.actor, **fields, name="", password=None)
        return self.done(_("Undone."), "dashboard:members")


class InvitationResend(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest, invitation_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_invitation(actor=self.actor, invitation_id=invitation_id)
        invitations.resend(actor=self.actor, invitation=row, base_url=public_url(request))
        text = _("A new link is on its way to %(email)s; the old one works no more.") % {"email": row.email}
        return self.done(text, "dashboard:members")


class InvitationWithdraw(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest, invitation_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_invitation(actor=self.actor, invitation_id=invitation_id)
        invitations.withdraw(actor=self.actor, invitation=row)
        return self.done(_("The invitation is withdrawn; its link works no more."), "dashboard:members")


def _name(member: Membership) -> str:
    return member.user.name or member.user.email


def _undo(former: dict[str, str]) -> str:
    return reverse("dashboard:member-undo", args=[signing.dumps(former, salt=_UNDO_SALT)])


_BASE = "dashboard/members"
urlpatterns = [
    path(_BASE, MembersPage.as_view(), name="members"),
    path(f"{_BASE}/<uuid:member_id>/role", MemberRole.as_view(), name="member-role"),
    path(f"{_BASE}/<uuid:member_id>/remove", MemberRemove.as_view(), name="member-remove"),
    path(f"{_BASE}/undo/<str:signed>", MemberUndo.as_view(), name="member-undo"),
    path(f"{_BASE}/invitations/<uuid:invitation_id>/resend", InvitationResend.as_view(), name="invitation-resend"),
    path(
        f"{_BASE}/invitations/<uuid:invitation_id>/withdraw", InvitationWithdraw.as_view(), name="invitation-withdraw"
    ),
]

NAV = (
    NavItem(
        gettext_lazy("Members"), "dashboard:members", "users", Section.ORGANISATION, order=10, role=Role.ADMIN,
        shortcut="g m", keywords="people roles team invite",
    ),
)  # fmt: skip
COMMANDS = (
    Command(
        gettext_lazy("Invite somebody"), "dashboard:members", "user-plus", role=Role.ADMIN, query="?invite=1",
        keywords="member add",
    ),
)  # fmt: skip
