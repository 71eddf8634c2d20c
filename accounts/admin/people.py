"""People, members of organisations and their log-ins."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts import services, two_factor
from accounts.actors import Actor
from accounts.models import LoginSession, Membership, User
from common import errors
from common.admin import (
    OrganizationFilter,
    ReadOnlyAdmin,
    ScopedAdmin,
    ServiceAdmin,
    owned_organizations,
    owner_of,
    scoped,
    status_mark,
)


class LowerEmailField(forms.EmailField):
    """As the model stores addresses, so that uniqueness is checked on what will be saved."""

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").lower()


admin.site.unregister(Group)  # roles are memberships; groups would promise permissions that nothing reads


@admin.register(User)
class UserAdmin(ScopedAdmin, DjangoUserAdmin):
    """Owners look at their members. Only operators change accounts: a person may belong to other organisations too."""

    organization_path = None
    operator_offers = frozenset({"add", "change"})
    list_display = ("email", "name", "state", "memberships_here", "last_login", "created_at")
    list_filter = ("is_active",)
    search_fields = ("email", "name")
    ordering = ("email",)
    date_hierarchy = "created_at"
    filter_horizontal = ()
    formfield_overrides: ClassVar = {models.EmailField: {"form_class": LowerEmailField}}
    readonly_fields = ("memberships_here", "new_password", "last_login", "created_at")
    fieldsets: ClassVar = (
        (None, {"fields": ("email", "name", "memberships_here", "new_password")}),
        ("Account", {"fields": ("is_active", "is_staff", "is_superuser", "last_login", "created_at")}),
    )
    actions = ("turn_two_factor_off",)
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "name", "password1", "password2")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        memberships = scoped(request, Membership.objects.select_related("organization"), "organization")
        rows = super().get_queryset(request).prefetch_related(Prefetch("memberships", memberships, to_attr="here"))
        if owned_organizations(request) is not None:
            rows = rows.filter(pk__in=memberships.values("user_id"))
        return rows

    def get_list_filter(self, request: HttpRequest) -> tuple[str, ...]:
        return (*self.list_filter, "is_superuser") if request.user.is_superuser else self.list_filter

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None or request.user.is_superuser:
            return super().get_fieldsets(request, obj)
        return ((None, {"fields": ("email", "name", "memberships_here", "is_active", "last_login", "created_at")}),)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "add")

    @admin.display(description="status", ordering="is_active")
    def state(self, user: User) -> SafeString:
        return status_mark("active", "Active") if user.is_active else status_mark("inactive", "Inactive")

    @admin.action(description="Turn two-factor off for selected people", permissions=["change"])
    def turn_two_factor_off(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """For whoever lost the phone and the recovery codes. The operator has made sure who asks."""
        for user in queryset:
            two_factor.disable(user=user, by_operator=True)
            self.log_action(request, user, ["two-factor"])
        self.message_user(request, "The selected people sign in with their password alone.", messages.SUCCESS)

    @admin.display(description="password")
    def new_password(self, user: User) -> SafeString:
        url = reverse("admin:auth_user_password_change", args=[user.pk])
        return format_html('<a href="{}">Set a new password</a>', url)

    @admin.display(description="member of")
    def memberships_here(self, user: Any) -> str:
        rows = getattr(user, "here", [])
        return (
            format_html_join(", ", "{} ({})", ((row.organization.name, row.get_role_display()) for row in rows)) or "–"
        )


class MemberAddForm(forms.ModelForm):
    email = forms.EmailField(label="E-mail address", max_length=254)
    name = forms.CharField(max_length=200, required=False, help_text="For a person who has no account yet.")
    password = forms.CharField(
        max_length=200, strip=False, required=False, help_text="For a person who has no account yet.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )  # fmt: skip

    class Meta:
        model = Membership
        fields = ("organization", "email", "role", "name", "password")

    def clean(self) -> dict[str, Any]:
        """What the service would refuse, said beside the field."""
        fields = super().clean() or self.cleaned_data
        user = User.objects.filter(email=fields.get("email", "").lower()).first()
        organization = fields.get("organization")
        if user and organization and organization.memberships.filter(user=user).exists():
            self.add_error("email", "This person is a member already.")
        if user is None and "email" in fields:
            self._check_password(fields)
        return fields

    def _check_password(self, fields: dict[str, Any]) -> None:
        if not fields.get("password"):
            self.add_error("password", "A new user needs a password.")
            return
        try:
            validate_password(fields["password"], User(email=fields["email"], name=fields.get("name", "")))
        except ValidationError as error:
            self.add_error("password", error)


@admin.register(Membership)
class MembershipAdmin(ServiceAdmin):
    """Log-in sessions end with the membership."""

    offers = frozenset({"add", "change", "delete"})
    leads_others = True
    list_display = ("user", "name", "organization", "role", "account", "created_at")
    list_filter = (OrganizationFilter, "role")
    list_select_related = ("user", "organization")
    search_fields = ("user__email", "user__name")
    date_hierarchy = "created_at"
    actions = ("remove_members",)

    def get_form(self, request: HttpRequest, obj: Membership | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = MemberAddForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("organization", "email", "role", "name", "password")
        return ("organization", "user", "role", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        return ("organization", "user", "created_at") if obj else ()

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> Membership:
        return services.add_member(actor=actor, **{**fields, "password": fields["password"] or None})

    def change(self, actor: Actor, row: Membership, changes: dict[str, Any]) -> Membership:
        return services.change_role(actor=actor, member=row, role=changes["role"])

    def delete(self, actor: Actor, row: Membership) -> None:
        services.remove_member(actor=actor, member=row)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # `remove_members` goes on where the rules keep one of them
        return actions

    @admin.action(description="Remove selected members", permissions=["delete"])
    def remove_members(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        for member in queryset.select_related("organization", "user"):
            name = str(member)
            try:
                actor = owner_of(request, member.organization)
                with transaction.atomic():  # a refused removal is not logged either
                    self.log_deletions(request, Membership.objects.filter(pk=member.pk))
                    services.remove_member(actor=actor, member=member)
            except errors.ApiError as error:
                self.message_user(request, f"{name}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, f"Removed {name}.", messages.SUCCESS)

    @admin.display(description="name", ordering="user__name")
    def name(self, row: Membership) -> str:
        return row.user.name or "–"

    @admin.display(description="account", ordering="user__is_active")
    def account(self, row: Membership) -> SafeString:
        return status_mark("active", "Active") if row.user.is_active else status_mark("inactive", "Inactive")


@admin.register(LoginSession)
class LoginSessionAdmin(ReadOnlyAdmin):
    organization_path = "membership__organization"
    list_display = ("member", "organization", "state", "address", "created_at", "refreshed_at", "expires_at")
    list_filter = (type("Filter", (OrganizationFilter,), {"path": "membership__organization"}), "created_at")
    list_select_related = ("membership__user", "membership__organization")
    search_fields = ("membership__user__email", "address")
    date_hierarchy = "created_at"
    fields = (
        "member", "organization", "state", "address", "user_agent", "created_at", "refreshed_at", "expires_at",
        "revoked_at",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("end_sessions",)

    @admin.action(description="End selected log-ins", permissions=["view"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[LoginSession]) -> None:
        for session in queryset.filter(revoked_at=None):
            actor = owner_of(request, session.membership.organization)
            services.end_session(actor=actor, session=session)
            self.log_action(request, session, ["revoked at"])
        self.message_user(request, "The selected log-ins have ended.", messages.SUCCESS)

    @admin.display(description="member", ordering="membership__user__email")
    def member(self, row: LoginSession) -> str:
        return row.membership.user.email

    @admin.display(description="organisation", ordering="membership__organization__name")
    def organization(self, row: LoginSession) -> str:
        return row.membership.organization.name

    @admin.display(description="status")
    def state(self, row: LoginSession) -> SafeString:
        if row.revoked_at:
            return status_mark("ended", "Ended")
        return (
            status_mark("expired", "Expired") if row.expires_at <= timezone.now() else status_mark("active", "Active")
        )
