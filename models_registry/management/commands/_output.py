"""What `manage.py models` shows."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from models_registry.catalogue import CatalogueEntry
from models_registry.models import ModelVersion

LICENCE_WIDTH = 32


@contextmanager
def bar(what: str, total: int | None, shown: bool, unit: str = "B") -> Iterator[Callable[[int], None]]:
    scaled = unit == "B"
    with tqdm(desc=what, total=total, unit=unit, unit_scale=scaled, disable=not shown) as bar:

        def advance(amount: int) -> None:
            bar.update(amount)

        yield advance


def line(row: ModelVersion) -> tuple[str, ...]:
    serves = "default" if row.is_default else "active" if row.is_active else ""
    megabytes = f"{row.bytes_on_disk / 1e6:.0f}" if row.bytes_on_disk else "–"
    status = f"{row.status}: {row.last_error[:60]}" if row.last_error else row.status
    engine = f"{row.engine}/{row.format}" if row.format else row.engine
    licence = textwrap.shorten(row.licence, LICENCE_WIDTH, placeholder="…") or "–"
    return (row.reference, row.task, engine, shown_languages(row.languages), serves, status, megabytes, licence)


def entry_line(entry: CatalogueEntry, installed: bool) -> tuple[str, ...]:
    licence = textwrap.shorten(entry.licence, LICENCE_WIDTH, placeholder="…")
    return (
        entry.name, entry.task, f"{entry.engine}/{entry.format}", shown_languages(entry.languages),
        str(entry.megabytes), licence, "yes" if installed else "",
    )  # fmt: skip


def percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"


def processes(number: int) -> str:
    """ "3 processes" """
    return "no process" if not number else "1 process" if number == 1 else f"{number} processes"


def shown_languages(languages: Any) -> str:
    shown = list(languages)
    return ", ".join(shown) if len(shown) <= 4 else f"{len(shown)} languages"


def as_json(row: ModelVersion) -> dict[str, Any]:
    names = (
        "task", "family", "name", "version", "engine", "format", "languages", "path", "licence", "source", "revision",
        "bytes_on_disk", "is_active", "is_default", "status", "memory_bytes", "last_error", "results",
    )  # fmt: skip
    return {"id": str(row.id), **{name: getattr(row, name) for name in names}}


def entry_as_json(entry: CatalogueEntry) -> dict[str, Any]:
    names = ("name", "task", "family", "engine", "format", "languages", "licence", "megabytes", "description")
    repositories = [part.repository for part in entry.parts]
    return {**{name: getattr(entry, name) for name in names}, "repositories": repositories}
