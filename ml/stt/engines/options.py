"""The options of an engine, from a model folder's `settings`.

A folder's settings are data of unknown origin: a name that the engine does not have, a value of another type or out of
range is `ModelInvalid`, never passed on.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from ml.artifacts import ModelManifest
from ml.errors import ModelInvalid

Options = TypeVar("Options")


def read_settings(manifest: ModelManifest, kind: type[Options]) -> Options:
    """An instance of the dataclass `kind` from `manifest.settings`; its defaults where nothing is said.

    `kind` may raise `ValueError` with one sentence for a value out of range. Raises `ModelInvalid`.
    """
    hints = typing.get_type_hints(kind)
    known = {each.name for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for name, value in manifest.settings.items():
        if name not in known:
            raise ModelInvalid(f"{manifest.id}: unknown setting {name!r}; there are: {', '.join(sorted(known))}.")
        values[name] = _checked(manifest, name, value, hints[name])
    try:
        return kind(**values)
    except ValueError as error:
        raise ModelInvalid(f"{manifest.id}: {error}") from None


def spoken_languages(manifest: ModelManifest) -> frozenset[str]:
    """ISO 639: "en" for the manifest's "en-US"."""
    return frozenset(re.split("[-_]", tag, maxsplit=1)[0].lower() for tag in manifest.languages)


def thread_count(wanted: int) -> int:
    """0: the cores that this process may use, at most eight; more seldom help one utterance."""
    return wanted or min(8, len(os.sched_getaffinity(0)))


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises `ValueError`."""
    if not low <= value <= high:  # also false for NaN
        raise ValueError(f"the setting {name} must be between {low:g} and {high:g}, not {value}")


def _checked(manifest: ModelManifest, name: str, value: Any, hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin is tuple and isinstance(value, list):
        (item, _) = typing.get_args(hint)
        return tuple(_checked(manifest, name, each, item) for each in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return value
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is hint:  # not isinstance: True is no number
        return value
    raise ModelInvalid(f"{manifest.id}: {name!r} must be of type {getattr(hint, '__name__', hint)}.")
