"""Organisations, people, members, log-ins and API keys."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts import services, two_factor
from accounts.joining_admin import InvitationAdmin, ServiceAccountAdmin
from accounts.models import ApiKey, LoginSession, Membership, Organization, Scope, User
from common import errors
from common.admin import (
    OrganizationFilter,
    ReadOnlyAdmin,
    ScopedAdmin,
    become,
    owned_organizations,
    owner_of,
    scoped,
    status_mark,
)

__all__ = [
    "ApiKeyAdmin", "InvitationAdmin", "LoginSessionAdmin", "MembershipAdmin", "OrganizationAdmin",
    "ServiceAccountAdmin", "UserAdmin",
]  # fmt: skip


class LowerEmailField(forms.EmailField):
    """As the model stores addresses, so that uniqueness is checked on what will be saved."""

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").lower()


admin.site.unregister(Group)  # roles are memberships; groups would promise permissions that nothing reads


@admin.register(Organization)
class OrganizationAdmin(ScopedAdmin):
    """No deletion: an operator deactivates an organisation, which refuses its credentials at once."""

    organization_path = "pk"
    offers = frozenset({"change"})
    operator_offers = frozenset({"add"})
    list_display = ("name", "slug", "state", "members", "usable_keys", "created_at")
    search_fields = ("name", "slug")
    list_filter = ("is_active",)
    date_hierarchy = "created_at"
    fields = ("name", "slug", "is_active", "created_at")
    prepopulated_fields: ClassVar = {"slug": ("name",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        usable = Q(api_keys__revoked_at=None) & (
            Q(api_keys__expires_at=None) | Q(api_keys__expires_at__gt=timezone.now())
        )
        return super().get_queryset(request).annotate(
            member_count=Count("memberships", distinct=True),
            key_count=Count("api_keys", filter=usable & Q(api_keys__id__isnull=False), distinct=True),
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> tuple[str, ...]:
        return ("created_at",) if request.user.is_superuser else ("slug", "is_active", "created_at")

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> dict[str, Any]:
        return {} if obj else dict(self.prepopulated_fields)

    @admin.display(description="status", ordering="is_active")
    def state(self, row: Organization) -> SafeString:
        return status_mark("active", "Active") if row.is_active else status_mark("inactive", "Inactive")

    @admin.display(description="members", ordering="member_count")
    def members(self, row: Any) -> int:
        return row.member_count

    @admin.display(description="usable API keys", ordering="key_count")
    def usable_keys(self, row: Any) -> int:
        return row.key_count


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


# ── Members ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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
class MembershipAdmin(ScopedAdmin):
    offers = frozenset({"add", "change", "delete"})
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

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        if change:
            stored = Membership.objects.select_related("organization").get(pk=obj.pk)
            role = form.cleaned_data["role"]
            become(obj, services.change_role(actor=owner_of(request, stored.organization), member=stored, role=role))
            return
        fields = form.cleaned_data
        member = services.add_member(
            actor=owner_of(request, fields["organization"]),
            email=fields["email"],
            role=fields["role"],
            name=fields["name"],
            password=fields["password"] or None,
        )
        become(obj, member)

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        services.remove_member(actor=owner_of(request, obj.organization), member=obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # it deletes in one statement, past the service and its rules
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

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Log-in sessions end with the membership; that nobody deletes them singly is no obstacle."""
        to_delete, model_count, _, protected = super().get_deleted_objects(objs, request)
        return to_delete, model_count, set(), protected

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

    @admin.display(description="organization", ordering="membership__organization__name")
    def organization(self, row: LoginSession) -> str:
        return row.membership.organization.name

    @admin.display(description="status")
    def state(self, row: LoginSession) -> SafeString:
        if row.revoked_at:
            return status_mark("ended", "Ended")
        return (
            status_mark("expired", "Expired") if row.expires_at <= timezone.now() else status_mark("active", "Active")
        )


# ── API keys ────────────────────────────────────────────────────────────────────────────────────────────────────────


class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple, initial=Scope.values,
        help_text="What the key may call.",
    )  # fmt: skip
    rate_limit = forms.IntegerField(
        min_value=1, max_value=1_000_000, required=False, help_text="Requests a minute; empty: the default."
    )

    class Meta:
        model = ApiKey
        fields = ("organization", "name", "scopes", "rate_limit", "expires_at")

    def clean_scopes(self) -> list[str]:
        return sorted(set(self.cleaned_data["scopes"]))

    def clean_expires_at(self) -> Any:
        value = self.cleaned_data["expires_at"]
        if value is not None and "expires_at" in self.changed_data and value <= timezone.now():
            raise forms.ValidationError("Must be in the future.")
        return value


class UsableFilter(admin.SimpleListFilter):
    title = "usable"
    parameter_name = "usable"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No: revoked or expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        usable = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        match self.value():
            case "yes":
                return queryset.filter(usable)
            case "no":
                return queryset.exclude(usable)
        return queryset


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    """No deletion: a revoked key stays, so that old jobs and usage keep their name."""

    offers = frozenset({"add", "change"})
    form = ApiKeyForm
    list_display = (
        "name",
        "shown_key",
        "organization",
        "scope_list",
        "state",
        "last_used_at",
        "expires_at",
        "created_at",
    )
    list_filter = (OrganizationFilter, UsableFilter)
    list_select_related = ("organization", "service_account")
    search_fields = ("name", "prefix", "last4", "service_account__name")
    date_hierarchy = "created_at"
    actions = ("revoke_keys", "rotate_keys")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        editable = ("organization", "name", "scopes", "rate_limit", "expires_at")
        if obj is None:
            return editable
        return (*editable, "shown_key", "state", "created_by", "created_at", "last_used_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return ("organization", "shown_key", "state", "created_by", "created_at", "last_used_at", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.revoked_at is None)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        fields = form.cleaned_data
        if change:
            changes = {name: fields[name] for name in form.changed_data}
            stored = self.get_queryset(request).select_related("organization").get(pk=obj.pk)
            actor = owner_of(request, stored.organization)
            if changes:
                stored = services.update_api_key(actor=actor, api_key=stored, changes=changes)
            become(obj, stored)
            return
        actor = owner_of(request, fields.pop("organization"))
        row, key = services.create_api_key(actor=actor, **fields)
        become(obj, row)
        self._show_once(request, row, key)

    @admin.action(description="Revoke selected keys (at once and for good)", permissions=["change"])
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for row in queryset.filter(revoked_at=None):
            services.revoke_api_key(actor=owner_of(request, row.organization), api_key=row)
            self.log_action(request, row, ["revoked at"])
            self.message_user(request, f"{row} is revoked; it is refused from now on.", messages.SUCCESS)

    @admin.action(description="Rotate selected keys (the old ones are refused at once)", permissions=["change"])
    def rotate_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for row in queryset:
            try:
                actor = owner_of(request, row.organization)
                rotated, key = services.rotate_api_key(actor=actor, api_key=row)
            except errors.ApiError as error:
                self.message_user(request, f"{row}: {error.message}", messages.ERROR)
            else:
                self.log_action(request, rotated, ["prefix", "last4"])
                self._show_once(request, rotated, key)

    def _show_once(self, request: HttpRequest, row: ApiKey, key: str) -> None:
        message = format_html("The key “{}” is <code>{}</code> – copy it now, it is not shown again.", row.name, key)
        self.message_user(request, message, messages.SUCCESS)

    @admin.display(description="key", ordering="prefix")
    def shown_key(self, row: ApiKey) -> SafeString:
        return format_html("<code>{}…{}</code>", row.prefix, row.last4)

    @admin.display(description="scopes")
    def scope_list(self, row: ApiKey) -> str:
        return ", ".join(row.scopes)

    @admin.display(description="usable")
    def state(self, row: ApiKey) -> SafeString:
        if row.usable:
            return status_mark("active", "Usable")
        return status_mark("revoked", "Revoked") if row.revoked_at else status_mark("expired", "Expired")
