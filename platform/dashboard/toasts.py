"""Short messages about what happened. They travel in Django's messages and are shown as toasts."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse

_LEVELS = {"good": messages.SUCCESS, "bad": messages.ERROR, "info": messages.INFO, "busy": messages.WARNING}
_TONES = {level: tone for tone, level in _LEVELS.items()}


def toast(request: HttpRequest, text: str, *, tone: str = "good", undo: str = "") -> None:
    """Says `text` with the next page, or with this answer where htmx asked.

    tone: good, bad, busy or info. undo: an address; a POST to it takes back what was done.
    """
    messages.add_message(request, _LEVELS[tone], text, extra_tags=undo)


def pending(request: HttpRequest) -> list[dict[str, str]]:
    """The toasts to show now; they are gone then."""
    return [_fields(message) for message in messages.get_messages(request)]


def carry(request: HttpRequest, response: HttpResponse) -> None:
    """Sends what is pending along with an answer to htmx, in the `HX-Trigger` header that its script listens to."""
    if waiting := pending(request):
        response["HX-Trigger"] = json.dumps({"toasts": waiting})  # ASCII: a header


def _fields(message: Any) -> dict[str, str]:
    return {"text": str(message), "tone": _TONES.get(message.level, "info"), "undo": message.extra_tags or ""}
