"""The areas of the dashboard: each module or package here is one, found by being here.

An area has `urlpatterns` (names within `dashboard:`), and may have `NAV`, entries of the side bar, and `COMMANDS` of
the command palette.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver

from dashboard.nav import Command, NavItem


@dataclass(frozen=True, slots=True)
class Area:
    name: str
    urlpatterns: tuple[URLPattern | URLResolver, ...]
    nav: tuple[NavItem, ...]
    commands: tuple[Command, ...]


@functools.cache
def areas() -> tuple[Area, ...]:
    """All areas, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    modules = [(name, importlib.import_module(f"{__name__}.{name}")) for name in names]
    return tuple(
        Area(name, tuple(module.urlpatterns), tuple(getattr(module, "NAV", ())), tuple(getattr(module, "COMMANDS", ())))
        for name, module in modules
    )
