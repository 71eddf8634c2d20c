"""What the side bar and the command palette offer. An area registers its own entries: see `dashboard.pages`."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.actors import Actor


class Section(enum.IntEnum):
    """Groups of the side bar, from above."""

    OVERVIEW = 0
    STUDIO = 1
    SPEECH = 2
    DEVELOPERS = 3
    ORGANISATION = 4
    ACCOUNT = 5  # not in the side bar: in the menu of the person


TITLES = {
    Section.STUDIO: gettext_lazy("Studio"),
    Section.SPEECH: gettext_lazy("Speech"),
    Section.DEVELOPERS: gettext_lazy("Developers"),
    Section.ORGANISATION: gettext_lazy("Organisation"),
}


@dataclass(frozen=True, slots=True)
class NavItem:
    """A page that people go to. It is also a command of the palette.

    view: a URL name without arguments. icon: a name of scripts/icons.txt. shortcut: keys one after the other, `g j`.
    keywords: what people may also type to find it.
    """

    label: Any  # a string, or a lazily translated one
    view: str
    icon: str
    section: Section
    order: int = 50
    role: str = "viewer"
    shortcut: str = ""
    keywords: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """Something else that the palette offers: leads to `view`, with `query` (`?new=1`) behind it."""

    label: Any
    view: str
    icon: str
    role: str = "viewer"
    query: str = ""
    keywords: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    url: str
    icon: str
    shortcut: str
    current: bool


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    links: tuple[Link, ...]


@functools.cache
def registered() -> tuple[tuple[NavItem, ...], tuple[Command, ...]]:
    """All areas' entries, in the side bar's order, and all of their commands."""
    from dashboard.pages import areas

    items = sorted((item for area in areas() for item in area.nav), key=lambda item: (item.section, item.order))
    return tuple(items), tuple(command for area in areas() for command in area.commands)


def groups(actor: Actor, path: str) -> tuple[Group, ...]:
    """The side bar for this actor, on the page at `path`."""
    items = [item for item in registered()[0] if item.section != Section.ACCOUNT and actor.has_role(item.role)]
    current = _current(items, path)
    found = []
    for section in Section:
        links = tuple(_link(item, current) for item in items if item.section == section)
        if links:
            found.append(Group(str(TITLES.get(section, "")), links))
    return tuple(found)


def account_links(actor: Actor) -> tuple[Link, ...]:
    items = [item for item in registered()[0] if item.section == Section.ACCOUNT and actor.has_role(item.role)]
    return tuple(_link(item, "") for item in items)


def palette(actor: Actor) -> list[dict[str, str]]:
    """What the command palette lists: pages first, then the other commands."""
    items, commands = registered()
    pages = [
        {
            "label": str(item.label),
            "group": _("Go to"),
            "url": reverse(item.view),
            "icon": item.icon,
            "shortcut": item.shortcut,
            "keywords": item.keywords,
        }
        for item in items
        if actor.has_role(item.role)
    ]
    others = [
        {
            "label": str(command.label),
            "group": _("Actions"),
            "url": reverse(command.view) + command.query,
            "icon": command.icon,
            "shortcut": "",
            "keywords": command.keywords,
        }
        for command in commands
        if actor.has_role(command.role)
    ]
    return pages + others


def _current(items: list[NavItem], path: str) -> str:
    """The URL among the items' that `path` is or lies below: the longest."""
    urls = [reverse(item.view) for item in items]
    home = reverse("dashboard:home")
    below = [url for url in urls if path == url or (url != home and path.startswith(f"{url}/"))]
    return max(below, key=len, default="")


def _link(item: NavItem, current: str) -> Link:
    url = reverse(item.view)
    return Link(str(item.label), url, item.icon, item.shortcut, url == current)
