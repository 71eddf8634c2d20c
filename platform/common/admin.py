"""What every admin page shares: an owner's view ends at the owner's organisations.

Django's own permissions are not used: nobody is given rows of `auth_permission`. A superuser may do what a page offers
at all; an owner the same, on rows of the owner's organisations. Each page says what it offers (`Offers`).
"""

from __future__ import annotations

import functools
import json
import operator
import uuid
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import InlineModelAdmin
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import PermissionDenied
from django.db.models import DateTimeField, ForeignKey, Model, Q, QuerySet
from django.forms import Media, ModelChoiceField
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from accounts import policies, sessions
from accounts.actors import Actor
from accounts.models import Organization, Role, User
from common import errors
from common.display import status_style
from ml.errors import MlError

_SLUGS = Media(
    js=[
        f"admin/js/{name}.js"
        for name in ("urlify", "prepopulate", "vendor/xregexp/xregexp", "vendor/xregexp/xregexp.min")
    ]
)._js  # type: ignore[attr-defined]

# ── Who sees what ───────────────────────────────────────────────────────────────────────────────────────────────────


def owned_organizations(request: HttpRequest) -> list[Organization] | None:
    """The organisations whose rows the user may see in the admin; None for all of them. One query a request."""
    if not hasattr(request, "_owned_organizations"):
        request._owned_organizations = _owned_organizations(request)  # type: ignore[attr-defined]
    return request._owned_organizations  # type: ignore[attr-defined]


def _owned_organizations(request: HttpRequest) -> list[Organization] | None:
    """Without those whose policy excludes the caller. Operators are bound by no organisation's."""
    user: Any = request.user
    if not user.is_active or "sso_organization" in request.session:  # the anonymous user is not
        return []
    if user.is_superuser:
        return None
    owned = Organization.objects.filter(is_active=True, memberships__user_id=user.pk, memberships__role=Role.OWNER)
    return [organization for organization in owned.select_related("security_policy") if _admits(request, organization)]


def _admits(request: HttpRequest, organization: Organization) -> bool:
    if sessions.went_idle(request.session, policies.of(organization).idle_minutes):
        return False
    actor = Actor(organization=organization, role=Role.OWNER, user=request.user)  # type: ignore[arg-type]
    try:
        policies.check_address(actor)
        policies.check_sign_in(actor)
    except errors.PermissionDenied:
        return False
    return True


def may_enter(request: HttpRequest) -> bool:
    return owned_organizations(request) != []


def scoped(request: HttpRequest, rows: QuerySet, path: str) -> QuerySet:
    """Those of `rows` whose organisation, at the end of `path`, the user owns."""
    owned = owned_organizations(request)
    return rows if owned is None else rows.filter(**{f"{path}__in": [organization.pk for organization in owned]})


def owner_of(request: HttpRequest, organization: Organization) -> Actor:
    """The actor that services get: the admin's user, who is the organisation's owner or the platform's operator."""
    owned = owned_organizations(request)
    if owned is not None and organization not in owned:
        raise errors.NotFound("No such organisation.")
    return Actor(organization=organization, role=Role.OWNER, user=request.user)  # type: ignore[arg-type]


class DateAndTime(AdminSplitDateTime):
    """Names its two inputs: the field's label belongs to neither, and "Date:" before one is text only."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs)
        for widget, label in zip(self.widgets, ("Date", "Time"), strict=True):
            widget.attrs["aria-label"] = label


# ── Pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Scoped:
    """Keeps a ModelAdmin, or an inline, to the organisations that the user owns."""

    organization_path: ClassVar[str | None] = "organization"
    """From the model to its organisation; None: the rows belong to the installation, and every owner may read them."""
    offers: ClassVar[frozenset[str]] = frozenset()
    """Of add, change and delete, what the page has for owners."""
    operator_offers: ClassVar[frozenset[str]] = frozenset()
    """What it has for superusers besides."""

    def _may(self, request: HttpRequest, what: str, obj: Model | None = None) -> bool:
        offered = self.offers | (self.operator_offers if request.user.is_superuser else frozenset())
        return what in offered and self.has_view_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_enter(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_enter(request)  # rows of others are not found: get_queryset

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "delete", obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request)  # type: ignore[misc]
        return scoped(request, rows, self.organization_path) if self.organization_path else rows

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> ModelChoiceField:
        if db_field.related_model is Organization:
            kwargs["queryset"] = scoped(request, Organization.objects.all(), "pk")
            kwargs["initial"] = next(iter(owned_organizations(request) or []), None)
        elif db_field.related_model is User:
            kwargs["queryset"] = scoped(request, User.objects.all(), "memberships__organization").distinct()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]


class ScopedAdmin(Scoped, admin.ModelAdmin):
    """The base of every page. Errors of services become messages; histories say which organisation they belong to."""

    hidden_lookups: ClassVar[frozenset[str]] = frozenset({"password", "digest", "refresh_jti", "key", "audio_key"})
    formfield_overrides: ClassVar[dict[Any, Any]] = {DateTimeField: {"widget": DateAndTime}}
    list_per_page = 50
    show_full_result_count = False
    empty_value_display = "–"

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Secrets cannot be guessed letter by letter with `?password__startswith=`."""
        if self.hidden_lookups & set(lookup.split("__")):
            return False
        return super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    @property
    def media(self) -> Media:
        """Without the scripts that make a slug of another field, the largest of all, where no field is made so."""
        media = super().media
        return media if self.prepopulated_fields else Media(js=[path for path in media._js if path not in _SLUGS])  # type: ignore[attr-defined]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Without the organisation where every row has the same."""
        columns = list(super().get_list_display(request))
        if len(owned_organizations(request) or []) == 1 and "organization" in columns:
            columns.remove("organization")
        return columns

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404(f"No such {opts.verbose_name}.")

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (errors.ApiError, MlError) as error:  # raised out of the transaction, which is rolled back
            return self._refused(request, error)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().delete_view(request, *args, **kwargs)
        except errors.ApiError as error:
            return self._refused(request, error)

    def _refused(self, request: HttpRequest, error: errors.ApiError | MlError) -> HttpResponse:
        self.message_user(request, error.message, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        return super().log_addition(request, obj, self._placed(obj, message))

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        return super().log_change(request, obj, self._placed(obj, message))

    def log_deletions(self, request: HttpRequest, queryset: QuerySet) -> list[LogEntry]:
        entries = super().log_deletions(request, queryset)
        for entry, obj in zip(entries, queryset, strict=True):
            entry.change_message = json.dumps(self._placed(obj, []))
            entry.save(update_fields=["change_message"])
        return entries

    def log_action(self, request: HttpRequest, obj: Model, fields: list[str]) -> None:
        """For actions on lists, which Django does not log."""
        LogEntry.objects.log_actions(
            user_id=request.user.pk,  # type: ignore[arg-type]
            queryset=[obj],  # type: ignore[arg-type]
            action_flag=CHANGE,
            change_message=self._placed(obj, [{"changed": {"fields": fields}}]),
        )

    def _placed(self, obj: Model, message: Any) -> list[dict[str, Any]]:
        """The log message with the row's organisation, which outlives the row: owners read their own log by it."""
        parts = message if isinstance(message, list) else [{"changed": {"fields": [str(message)]}}]
        organization = self.organization_of(obj)
        return [*parts, {"organization": str(organization)}] if organization else parts

    def organization_of(self, obj: Model) -> uuid.UUID | None:
        value: Any = obj
        for name in (self.organization_path or "").split("__"):
            value = getattr(value, name, None)
        return getattr(value, "pk", value)


class ServiceAdmin(ScopedAdmin):
    """A page whose rows services write, with the owner as their actor: it says which service creates, changes and
    deletes one, and what it says nothing of is refused. A form that changes nothing calls none."""

    leads_others: ClassVar[bool] = False
    """Rows of other pages go with one of these; that nobody deletes them singly is no obstacle."""

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> Model:
        raise PermissionDenied

    def change(self, actor: Actor, row: Any, changes: dict[str, Any]) -> Model:
        raise PermissionDenied

    def delete(self, actor: Actor, row: Any) -> None:
        raise PermissionDenied

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        fields = dict(form.cleaned_data)
        if not change:
            actor = owner_of(request, fields.pop("organization"))
            become(obj, self.create(request, actor, fields))
            return
        stored = self.get_queryset(request).select_related("organization").get(pk=obj.pk)
        changes = {name: fields[name] for name in form.changed_data}
        actor = owner_of(request, stored.organization)
        become(obj, self.change(actor, stored, changes) if changes else stored)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.delete(owner_of(request, obj.organization), obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        """One by one: Django's own is a single statement, past the service."""
        for row in queryset.select_related("organization"):
            self.delete_model(request, row)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        to_delete, counts, missing, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, set() if self.leads_others else missing, protected

    def show_once(self, request: HttpRequest, what: str, secret: str) -> None:
        message = format_html("{} is <code>{}</code> – copy it now, it is not shown again.", what, secret)
        self.message_user(request, message, messages.SUCCESS)


class ReadOnlyAdmin(ScopedAdmin):
    """A history: it is written by services, never here. A page names its `fields`, and repeats them as read-only."""

    @property
    def media(self) -> Media:
        """What lists need: there is nothing to fill in."""
        return Media(js=["admin/js/core.js", "admin/js/actions.js"])


class ScopedInline(Scoped, InlineModelAdmin):
    extra = 0
    can_delete = False


class OrganizationFilter(admin.SimpleListFilter):
    """The user's organisations; absent where there is only one. (A plain filter would name everyone's.)"""

    title = "organisation"
    parameter_name = "org"
    path: ClassVar[str] = "organization"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        organizations = owned_organizations(request)
        if organizations is None:
            organizations = list(Organization.objects.all()[:200])
        choices = [(organization.slug, organization.name) for organization in organizations]
        return choices if len(choices) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{f"{self.path}__slug": self.value()}) if self.value() else queryset


def become(obj: Model, row: Model) -> None:
    """Makes the form's object the row that a service wrote, for what Django does with it after saving."""
    for field in row._meta.concrete_fields:
        setattr(obj, field.attname, getattr(row, field.attname))
    obj._state.adding, obj._state.db = False, row._state.db


def pretty(value: Any) -> SafeString:
    """JSON, laid out for reading; a dash for nothing."""
    if value in ({}, [], None):
        return SafeString("–")
    return format_html('<pre tabindex="0">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


def status_mark(status: str, label: str) -> SafeString:
    """A status as symbol, word and colour."""
    style = status_style(status)
    return format_html('<span class="state state-{}"><span aria-hidden="true">{}</span> {}</span>',
                       style.tone, style.symbol, label)  # fmt: skip


# ── The log of what was done here ───────────────────────────────────────────────────────────────────────────────────


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    organization_path = None  # it stands in the message: get_queryset
    list_display = ("action_time", "user", "action", "object_repr", "kind", "what")
    list_filter = ("action_flag", "action_time")
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "user__email")
    date_hierarchy = "action_time"
    fields = ("action_time", "user", "action", "kind", "object_repr", "what")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request)
        owned = owned_organizations(request)
        if owned is None:
            return rows
        # JSON escapes quotes, so nothing that a user types can read like this.
        marks = (Q(change_message__contains=f'{{"organization": "{organization.pk}"}}') for organization in owned)
        return rows.filter(functools.reduce(operator.or_, marks, Q(pk__in=[])))

    @admin.display(description="action", ordering="action_flag")
    def action(self, entry: LogEntry) -> str:
        return entry.get_action_flag_display()

    @admin.display(description="kind of object", ordering="content_type")
    def kind(self, entry: LogEntry) -> str:
        return capfirst(entry.content_type.name) if entry.content_type else "–"

    @admin.display(description="what")
    def what(self, entry: LogEntry) -> str:
        return entry.get_change_message() if entry.action_flag == CHANGE else "–"
