"""From JSON to the dataclasses of `types`. Fields that they do not know stay in `raw`."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read(kind: type[T], data: Mapping[str, Any]) -> T:
    """An instance of a dataclass. Fields that the server does not send keep their defaults."""
    readers = _readers(kind)  # type: ignore[arg-type]
    values = {name: reader(data[name]) for name, reader in readers.items() if name in data}
    if "raw" in readers:
        values["raw"] = dict(data)
    return kind(**values)


@functools.cache
def _readers(kind: type) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(kind)
    return {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}


def _reader(hint: Any) -> Callable[[Any], Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = _reader(next(arg for arg in args if arg is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is list:
        item = _reader(args[0])
        return lambda value: [item(part) for part in value]
    if origin is dict:
        of_value = _reader(args[1])
        return lambda value: {name: of_value(part) for name, part in value.items()}
    if hint is datetime:
        return datetime.fromisoformat
    if dataclasses.is_dataclass(hint):
        return lambda value: read(hint, value)  # type: ignore[arg-type]
    return lambda value: value
