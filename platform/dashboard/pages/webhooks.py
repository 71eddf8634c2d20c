"""Webhooks: where events are sent, what became of each delivery, tests, secrets."""

from __future__ import annotations

import abc
import json
import uuid
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Role
from dashboard.access import Action, Page
from dashboard.forms import attempt
from dashboard.listing import FilterForm, listing
from dashboard.nav import Command, NavItem, Section
from dashboard.toasts import toast
from webhooks import selectors, services
from webhooks.models import DeliveryStatus, Event, WebhookEndpoint


class WebhookForm(forms.Form):
    url = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=2000,
        help_text=gettext_lazy("https://…, reachable from this server; private addresses are refused."),
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://example.com/hooks/speech"}),
    )
    description = forms.CharField(label=gettext_lazy("Description"), max_length=200, required=False)
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        choices=Event.choices,
        initial=list(Event.values),
        widget=forms.CheckboxSelectMultiple,
    )


class DeliveryFilters(FilterForm):
    status = forms.ChoiceField(
        label=gettext_lazy("Status"), choices=[("", gettext_lazy("Any status")), *DeliveryStatus.choices]
    )


class WebhooksPage(Page):
    role = Role.ADMIN

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, WebhookForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        """Registers an address. This answer alone shows the signing secret."""
        form = WebhookForm(request.POST)
        if form.is_valid():
            made = attempt(form, lambda: services.create_endpoint(actor=self.actor, **form.cleaned_data))
            if made is not None:
                return self._page(request, WebhookForm(), made=made)
        return self._page(request, form)

    def _page(
        self, request: HttpRequest, form: WebhookForm, *, made: tuple[WebhookEndpoint, str] | None = None
    ) -> HttpResponse:
        fields = {
            "form": form,
            "listing": listing(request, selectors.list_endpoints(actor=self.actor)),
            "made": made[0] if made else None,
            "secret": made[1] if made else "",
            "open": bool(form.errors) or "new" in request.GET,
        }
        return self.render("dashboard/webhooks/list.html", fields, status=400 if form.errors else 200)


class WebhookPage(Page):
    """One webhook and its deliveries."""

    role = Role.ADMIN

    def get(self, request: HttpRequest, webhook_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_endpoint(actor=self.actor, webhook_id=webhook_id)
        return self._page(request, row, _form_of(row))

    def post(self, request: HttpRequest, webhook_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_endpoint(actor=self.actor, webhook_id=webhook_id)
        form = WebhookForm(request.POST)
        if form.is_valid():
            changes = form.cleaned_data
            if attempt(form, lambda: services.update_endpoint(actor=self.actor, endpoint=row, changes=changes)):
                return self.done(_("The webhook is changed."), "dashboard:webhook", row.id)
        return self._page(request, row, form)

    def _page(self, request: HttpRequest, row: WebhookEndpoint, form: WebhookForm) -> HttpResponse:
        filters = DeliveryFilters(request)
        rows = selectors.list_deliveries(actor=self.actor, webhook_id=row.id, **filters.values)
        fields = {"row": row, "form": form, "filters": filters, "listing": listing(request, rows)}
        status = 400 if form.errors else 200
        part = "dashboard/webhooks/deliveries.html"
        return self.render("dashboard/webhooks/webhook.html", fields, part=part, status=status)


def _form_of(row: WebhookEndpoint) -> WebhookForm:
    return WebhookForm(initial={name: getattr(row, name) for name in ("url", "description", "events")})


class WebhookAction(Action, abc.ABC):
    """An action on one webhook."""

    role = Role.ADMIN

    def post(self, request: HttpRequest, webhook_id: uuid.UUID) -> HttpResponse:
        return self.act(request, selectors.get_endpoint(actor=self.actor, webhook_id=webhook_id))

    @abc.abstractmethod
    def act(self, request: HttpRequest, row: WebhookEndpoint) -> HttpResponse:
        """Does it to `row`."""


class WebhookTest(WebhookAction):
    def act(self, request: HttpRequest, row: WebhookEndpoint) -> HttpResponse:
        """Sends an event now, and says what came of it."""
        delivery = services.send_test(actor=self.actor, endpoint=row)
        if delivery.status == DeliveryStatus.DELIVERED:
            text = _("It arrived: the answer was %(status)s.") % {"status": delivery.response_status}
            return self.done(text, "dashboard:webhook", row.id)
        reason = delivery.error or _("the answer was %(status)s") % {"status": delivery.response_status}
        toast(request, _("It did not arrive: %(reason)s") % {"reason": reason}, tone="bad")
        return self.go("dashboard:webhook", row.id)


class WebhookRotate(WebhookAction):
    def act(self, request: HttpRequest, row: WebhookEndpoint) -> HttpResponse:
        """A new signing secret; this answer alone shows it."""
        row, secret = services.rotate_secret(actor=self.actor, endpoint=row)
        return self.render("dashboard/webhooks/rotated.html", {"row": row, "secret": secret})


class WebhookSwitch(WebhookAction):
    def act(self, request: HttpRequest, row: WebhookEndpoint) -> HttpResponse:
        """On where it was off, off where it was on."""
        active = not row.active
        services.update_endpoint(actor=self.actor, endpoint=row, changes={"active": active})
        text = _("The webhook is on.") if active else _("The webhook is off; events meanwhile are not sent later.")
        undo = reverse("dashboard:webhook-switch", args=[row.id])
        return self.done(text, "dashboard:webhook", row.id, undo=undo)


class WebhookDelete(WebhookAction):
    def act(self, request: HttpRequest, row: WebhookEndpoint) -> HttpResponse:
        services.delete_endpoint(actor=self.actor, endpoint=row)
        return self.done(_("The webhook is deleted, and what was still to be sent with it."), "dashboard:webhooks")


class DeliveryPage(Page):
    """What was sent, and each attempt."""

    role = Role.ADMIN

    def get(self, request: HttpRequest, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_delivery(actor=self.actor, webhook_id=webhook_id, delivery_id=delivery_id)
        fields: dict[str, Any] = {
            "row": row,
            "endpoint": row.endpoint,
            "payload": json.dumps(row.payload, indent=2, ensure_ascii=False),
        }
        return self.render("dashboard/webhooks/delivery.html", fields)


class DeliveryAgain(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_delivery(actor=self.actor, webhook_id=webhook_id, delivery_id=delivery_id)
        services.redeliver(actor=self.actor, delivery=row)
        return self.done(_("The event is being sent again."), "dashboard:webhook", webhook_id)


_BASE = "dashboard/webhooks"
_ONE = f"{_BASE}/<uuid:webhook_id>"
_DELIVERY = f"{_ONE}/deliveries/<uuid:delivery_id>"
urlpatterns = [
    path(_BASE, WebhooksPage.as_view(), name="webhooks"),
    path(_ONE, WebhookPage.as_view(), name="webhook"),
    path(f"{_ONE}/test", WebhookTest.as_view(), name="webhook-test"),
    path(f"{_ONE}/rotate", WebhookRotate.as_view(), name="webhook-rotate"),
    path(f"{_ONE}/switch", WebhookSwitch.as_view(), name="webhook-switch"),
    path(f"{_ONE}/delete", WebhookDelete.as_view(), name="webhook-delete"),
    path(_DELIVERY, DeliveryPage.as_view(), name="webhook-delivery"),
    path(f"{_DELIVERY}/again", DeliveryAgain.as_view(), name="webhook-delivery-again"),
]

NAV = (
    NavItem(
        gettext_lazy("Webhooks"), "dashboard:webhooks", "webhook", Section.DEVELOPERS, order=20, role=Role.ADMIN,
        shortcut="g w", keywords="events callbacks deliveries",
    ),
)  # fmt: skip
COMMANDS = (Command(gettext_lazy("Add a webhook"), "dashboard:webhooks", "plus", role=Role.ADMIN, query="?new=1"),)
