"""Forms whose input a service judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django import forms

from common import errors
from ml.errors import MlError

Answer = TypeVar("Answer")


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
