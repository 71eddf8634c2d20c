"""Forms whose input a service judges."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from django import forms
from django.utils.dateparse import parse_datetime

from common import errors
from ml.errors import MlError

Answer = TypeVar("Answer")


class MomentWidget(forms.DateTimeInput):
    """Holds UTC; js/moments.js shows it in the reader's zone, and sends UTC again. Without the script it is UTC."""

    def __init__(self) -> None:
        super().__init__(attrs={"type": "datetime-local", "data-utc": True, "autocomplete": "off"})

    def format_value(self, value: Any) -> Any:
        """Also of what was sent, which says so itself: `2030-01-01T10:00:00.000Z`."""
        try:
            moment = parse_datetime(value) if isinstance(value, str) else value
        except ValueError:
            return value
        if not isinstance(moment, datetime):
            return value
        utc = moment.astimezone(UTC) if moment.tzinfo else moment
        return f"{utc:%Y-%m-%dT%H:%M}"


class LinesWidget(forms.Textarea):
    def __init__(self) -> None:
        super().__init__(attrs={"rows": 3, "class": "mono", "spellcheck": "false", "autocapitalize": "off"})

    def format_value(self, value: Any) -> str:
        return "\n".join(value) if isinstance(value, list) else value or ""


class NetworksField(forms.CharField):
    """Addresses and networks, one a line (or with commas between them); a list. What they say, a service judges."""

    widget = LinesWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=6000, **kwargs)

    def to_python(self, value: Any) -> Any:
        return re.split(r"[\s,]+", value.strip()) if value and value.strip() else []

    def run_validators(self, value: Any) -> None:
        """Of the text's length alone: the list is the service's matter."""
        super().run_validators("\n".join(value))


def attempt(form: forms.Form, call: Callable[[], Answer]) -> Answer | None:
    """What `call` answers, None after its error became the form's: beside the field that it names, else above all.

    Not found and not allowed are no matter of what was typed: they go on to the page.
    """
    try:
        return call()
    except (errors.NotFound, errors.PermissionDenied):
        raise
    except (errors.ApiError, MlError) as error:
        name = error.param if error.param in form.fields else None
        form.add_error(name, forms.ValidationError(error.message, code=error.code))
        return None


def succeeds(form: forms.Form, call: Callable[[], object]) -> bool:
    """`attempt` for what answers nothing: whether it went through."""

    def called() -> bool:
        call()
        return True

    return attempt(form, called) is not None
