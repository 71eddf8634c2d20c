"""Multipart forms as OpenAI's SDKs write nested values: `include[]=logprobs`, `chunking_strategy[type]=server_vad`."""

from __future__ import annotations

import json
import re
from typing import Any

from django.http import QueryDict

_NESTED = re.compile(r"(?P<name>[^\[\]]+)\[(?P<key>[^\[\]]+)\]")


def plain(form: QueryDict) -> dict[str, Any]:
    """Name → value. A name that ends with `[]`, or comes more than once, has a list; `name[key]` makes an object."""
    found: dict[str, Any] = {}
    for name, values in form.lists():
        if name.endswith("[]"):
            found.setdefault(name[:-2], []).extend(values)
        elif (nested := _NESTED.fullmatch(name)) and isinstance(found.setdefault(nested["name"], {}), dict):
            found[nested["name"]][nested["key"]] = values[-1]
        elif isinstance(found.get(name), list):
            found[name].extend(values)
        else:
            found[name] = values[0] if len(values) == 1 else list(values)
    return found


def decoded(value: Any) -> Any:
    """A value that curl users write as JSON."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
