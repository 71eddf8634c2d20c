"""The components of the dashboard as template tags. Their HTML stands in templates/components/; /design shows them all.

A keyword that a tag does not name becomes an attribute of its element: `hx_post=url` is `hx-post="…"`, `class_` is
`class`, True an attribute without a value; None and False are left out.
"""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

from django import template
from django.forms import BoundField
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from common.display import duration, size, status_style

register = template.Library()
register.filter("duration", duration)
register.filter("size", size)

_ids = itertools.count(1)


def _attributes(extra: dict[str, Any]) -> SafeString:
    shown = {name.rstrip("_").replace("_", "-"): value for name, value in extra.items()}
    pairs = [(name, value) for name, value in shown.items() if value not in (None, False)]
    return format_html_join("", " {}{}", ((name, _value(value)) for name, value in pairs))


def _value(value: Any) -> SafeString:
    """Escaped in any case: what a template writes out counts as safe, and JSON there has quotes."""
    return mark_safe("" if value is True else f'="{escape(str(value))}"')  # noqa: S308


def _part(name: str, **fields: Any) -> SafeString:
    return mark_safe(render_to_string(f"components/{name}.html", fields))  # noqa: S308  (an escaped template)


def _new_id(kind: str) -> str:
    return f"{kind}-{next(_ids)}"


# ── Words, numbers, times ───────────────────────────────────────────────────────────────────────────────────────────


@register.simple_tag
def icon(name: str, px: int = 16) -> SafeString:
    """A drawing of the sprite (scripts/icons.txt names them). A word always stands beside it, or in a label."""
    return format_html(
        '<svg class="icon"{} aria-hidden="true"><use href="{}#{}"></use></svg>',
        "" if px == 16 else format_html(' width="{}" height="{}"', px, px), static("vendor/lucide/sprite.svg"), name,
    )  # fmt: skip


@register.simple_tag
def status(value: str, label: str) -> SafeString:
    """A state as icon, word and colour."""
    style = status_style(value)
    return badge(label, tone=style.tone, icon_name=style.icon)


@register.simple_tag
def badge(label: str, tone: str = "quiet", icon_name: str = "") -> SafeString:
    """A word in a soft pill. tone: good, bad, busy, accent or quiet."""
    drawing = icon(icon_name, 14) if icon_name else ""
    return format_html('<span class="badge badge-{}">{}{}</span>', tone, drawing, label)


@register.simple_tag
def kbd(keys: str) -> SafeString:
    """Keys to press, one after the other: `g h`."""
    return format_html_join(" ", "<kbd>{}</kbd>", ((key,) for key in keys.split()))


@register.simple_tag
def avatar(name: str, px: int = 24) -> SafeString:
    """The initials of a person or an organisation, in one of six colours that belongs to the name."""
    words = name.replace("@", " ").replace(".", " ").split()
    initials = "".join(word[0] for word in words[:2]).upper() or "?"
    return format_html('<span class="avatar avatar-{} avatar-{}px" aria-hidden="true">{}</span>',
                       sum(map(ord, name)) % 6, px, initials)  # fmt: skip


@register.filter
def number(value: float | None) -> str:
    """`12,345`, or `12,345.6` for a fraction; a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if isinstance(value, float) and not value.is_integer() else f"{value:,.0f}"


@register.filter
def percent(share: float | None) -> str:
    """`12 %` of 0–1; a dash for nothing."""
    return "–" if share is None else f"{share * 100:.0f} %"


@register.filter
def ago(moment: datetime | None) -> str | SafeString:
    """How long ago, or how long until; the exact time for the pointer, in the reader's zone."""
    return _time(moment, "ago", _since(moment)) if moment else "–"


@register.filter
def at(moment: datetime | None) -> str | SafeString:
    """Date and time: in UTC from the server, which the page's script puts into the reader's zone."""
    return _time(moment, "datetime", f"{moment:%Y-%m-%d %H:%M} UTC") if moment else "–"


@register.filter
def on(moment: datetime | None) -> str | SafeString:
    """The date alone."""
    return _time(moment, "date", f"{moment:%Y-%m-%d}") if moment else "–"


def _time(moment: datetime, style: str, text: str) -> SafeString:
    utc = moment.astimezone(timezone.get_default_timezone())
    return format_html(
        '<time datetime="{}" data-time="{}" title="{}">{}</time>',
        utc.isoformat("T", "seconds"), style, f"{utc:%Y-%m-%d %H:%M:%S} UTC", text,
    )  # fmt: skip


def _since(moment: datetime) -> str:
    seconds = (timezone.now() - moment).total_seconds()
    for length, unit in ((86_400, _("d")), (3_600, _("h")), (60, _("min"))):
        if abs(seconds) >= length:
            count = f"{abs(seconds) // length:.0f} {unit}"
            return _("%s ago") % count if seconds > 0 else _("in %s") % count
    return _("just now") if seconds > 0 else _("in a moment")


# ── Controls ────────────────────────────────────────────────────────────────────────────────────────────────────────


@register.simple_tag
def button(
    label: str, variant: str = "", icon: str = "", href: str = "", small: bool = False, **extra: Any
) -> SafeString:
    """variant: primary, danger, ghost or none. `only_icon=True` keeps the label for screen readers and the pointer.

    With `href` it is a link; else a submit button unless `type` says otherwise.
    """
    only_icon = extra.pop("only_icon", False)
    classes = ["button", *(f"button-{part}" for part in (variant, "small" if small else "") if part)]
    if only_icon:
        classes.append("button-icon")
        extra.setdefault("title", label)
    if added := extra.pop("class_", ""):
        classes.append(added)
    return _part("button", label=label, icon=icon, href=href, only_icon=only_icon, classes=" ".join(classes),
                 attributes=_attributes(extra))  # fmt: skip


@register.simple_tag
def field(bound: BoundField, compact: bool = False, suffix: str = "", **extra: Any) -> SafeString:
    """A form's field with its label, help and errors. extra: attributes of the input. compact: the label hidden.

    `id` tells two forms with the same field on one page apart; `optional=False` leaves that word out.
    """
    optional = extra.pop("optional", bound.widget_type != "select") and not bound.field.required and not compact
    attributes = {name.rstrip("_").replace("_", "-"): value for name, value in extra.items()}
    described = bound.aria_describedby if "id" in extra and bound.auto_id else ""
    if described:
        attributes["aria-describedby"] = described.replace(bound.auto_id, extra["id"])
    kind = bound.widget_type
    shown = bound.as_widget(attrs=attributes)
    return _part("field", field=bound, kind=kind, input=shown, compact=compact, suffix=suffix, id=extra.get("id"),
                 optional=optional,
                 group=kind in ("checkboxselectmultiple", "radioselect"))  # fmt: skip


@register.simple_tag
def meter(value: float, most: float | None, label: str, detail: str = "") -> SafeString:
    """How much of a limit is used. most: None for no limit. Turns amber at 80 % and red at 100 %."""
    share = min(value / most, 1.0) if most else 0.0
    tone = "bad" if most and value >= most else "busy" if share >= 0.8 else "accent"
    return _part("meter", value=value, most=most, label=label, detail=detail, tone=tone,
                 width=f"{share * 100:.1f}")  # fmt: skip


@register.simple_tag
def progress(share: float | None, label: str, **extra: Any) -> SafeString:
    """share: 0–1, None for work whose length nobody knows. A script may set its `value`."""
    return _part("progress", share=share, label=label, attributes=_attributes(extra))


@register.simple_tag
def skeleton(lines: int = 3) -> SafeString:
    """Stands where text will be. Put it where the part will be swapped in."""
    return _part("skeleton", lines=range(lines))


@register.simple_tag
def tabs(items: list[dict[str, Any]], label: str) -> SafeString:
    """Tabs that are links. items: dicts of label and url; perhaps current, count."""
    return _part("tabs", items=items, label=label)


@register.simple_tag
def pagination(listing: Any, target: str = "") -> SafeString:
    """Which rows are shown, and the ways to the pages beside. target: the part that htmx replaces, `#results`."""
    return _part("pagination", listing=listing, target=target)


@register.simple_tag
def copyable(value: str, label: str = "") -> SafeString:
    """A value in one line with a button that copies it. label: what it is, for screen readers."""
    return _part("copyable", value=value, label=label, id=_new_id("copy"))


# ── Containers: {% card title="…" %}…{% endcard %} ──────────────────────────────────────────────────────────────────


@register.simple_block_tag
def card(
    content: str, title: str = "", subtitle: str = "", flush: bool = False, actions: str = "", **extra: Any
) -> SafeString:
    """A titled box. flush: without padding, for tables. actions: HTML for its upper right corner (`as` of a tag)."""
    added = extra.pop("class_", "")
    return _part("card", content=content, title=title, subtitle=subtitle, flush=flush, actions=actions, added=added,
                 id=_new_id("card"), attributes=_attributes(extra))  # fmt: skip


@register.simple_block_tag
def pagehead(content: str, title: str, subtitle: str = "", back: str = "", back_label: str = "") -> SafeString:
    """The page's heading; inside stand its actions. back: the address of the page above."""
    return _part("pagehead", content=content, title=title, subtitle=subtitle, back=back, back_label=back_label)


@register.simple_block_tag
def datatable(content: str, label: str, listing: Any = None, target: str = "", **extra: Any) -> SafeString:
    """A table that scrolls in its box below a sticky head. Inside: thead and tbody; below: the pages of listing."""
    added = extra.pop("class_", "")
    return _part("datatable", content=content, label=label, listing=listing, target=target, added=added,
                 attributes=_attributes(extra))  # fmt: skip


@register.simple_block_tag
def emptystate(content: str, title: str, text: str = "", icon: str = "inbox") -> SafeString:
    """What a list says while there is nothing in it; inside stand the ways to change that."""
    return _part("emptystate", content=content, title=title, text=text, icon=icon)


@register.simple_block_tag
def dialog(content: str, id: str, title: str, wide: bool = False, open: bool = False) -> SafeString:
    """A modal dialog. A button with `data-dialog="id"` opens it; open: at once. Inside stands its form."""
    return _part("dialog", content=content, id=id, title=title, wide=wide, open=open)


@register.simple_block_tag
def menu(content: str, label: str, icon: str = "ellipsis", end: bool = True, text: bool = False) -> SafeString:
    """A button that drops a menu of `.menu-item`s. text: shows the label beside the icon."""
    return _part("menu", content=content, label=label, icon=icon, end=end, text=text)


@register.simple_block_tag
def snippet(content: str, label: str = "", language: str = "") -> SafeString:
    """Code to copy. What it interpolates is escaped as anywhere; `<` and `&` of its own stand as entities."""
    inner = mark_safe(content.strip("\n"))  # noqa: S308  (strip() forgets that it is escaped)
    return _part("snippet", content=inner, label=label, language=language, id=_new_id("code"))


@register.simple_block_tag
def snippets(content: str, label: str) -> SafeString:
    """Several `snippet`s behind tabs; each snippet's label is its tab."""
    return _part("snippets", content=content, label=label)


@register.simple_block_tag
def filterbar(content: str, form: Any, target: str = "") -> SafeString:
    """The filters of a list, sent when they change. target: the part that htmx replaces; inside: more controls."""
    return _part("filterbar", content=content, form=form, target=target)


@register.simple_block_tag
def live(content: str, id: str, url: str, seconds: int = 5) -> SafeString:
    """A part that is asked for anew while people look at it; `url` answers the same part, without `live` at the end."""
    return _part("live", content=content, id=id, url=url, seconds=seconds)


@register.filter
def modules(names: str) -> list[str]:
    """Paths of the scripts that main.js imports, to be fetched with it."""
    return [f"dashboard/js/{name}.js" for name in names.split(",")]
