"""Parts that templates share."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.display import duration, status_style

register = template.Library()
register.filter("duration", duration)


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing of icons.svg. It says nothing to a screen reader: a word always stands beside it."""
    return format_html('<svg class="icon" width="16" height="16" aria-hidden="true" focusable="false">'
                       '<use href="{}#{}"></use></svg>', static("dashboard/icons.svg"), name)  # fmt: skip


@register.simple_tag
def status(value: str, label: str) -> SafeString:
    """A state as icon, word and colour."""
    style = status_style(value)
    return format_html('<span class="status status-{}">{}{}</span>', style.tone, icon(style.icon), label)


@register.filter
def number(value: float) -> str:
    """`12,345`, or `12,345.6` for a fraction."""
    return f"{value:,.1f}" if isinstance(value, float) and not value.is_integer() else f"{value:,.0f}"


@register.filter
def ago(moment: datetime) -> SafeString:
    """How long ago, with the exact time for the pointer; the page's script puts it into the reader's zone."""
    utc = moment.astimezone(timezone.get_default_timezone())
    exact = f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', utc.isoformat("T", "seconds"), exact, _since(moment))


def _since(moment: datetime) -> str:
    seconds = max(0, (timezone.now() - moment).total_seconds())
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"
