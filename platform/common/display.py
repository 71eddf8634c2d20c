"""How quantities and states read on pages."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import get_language_info


@dataclass(frozen=True, slots=True)
class StatusStyle:
    """tone: a colour of the stylesheets. icon: a name of scripts/icons.txt. symbol: where there is no icon."""

    tone: str
    icon: str
    symbol: str


_GOOD = StatusStyle("good", "circle-check", "●")
_BAD = StatusStyle("bad", "circle-x", "▲")
_BUSY = StatusStyle("busy", "circle-dashed", "◐")
_QUIET = StatusStyle("quiet", "circle-minus", "○")
_STATUSES = {
    "succeeded": _GOOD, "ready": _GOOD, "ok": _GOOD, "active": _GOOD,
    "failed": _BAD, "revoked": _BAD, "not available": _BAD,
    "processing": _BUSY, "queued": _BUSY, "loading": _BUSY,
}  # fmt: skip


def status_style(status: str) -> StatusStyle:
    return _STATUSES.get(status, _QUIET)


def duration(seconds: float | None) -> str:
    """`4 ms`, `0.42 s`, `12.3 s`, `4:05 min`, `1:02:03 h`; a dash for nothing."""
    if seconds is None:
        return "–"
    if seconds == 0:
        return "0 s"
    if seconds < 0.1:
        return f"{max(seconds * 1000, 1):.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def size(size_bytes: int | None) -> str:
    """`812 B`, `3.4 kB`, `1.2 MB`, in powers of 1000; a dash for nothing."""
    if size_bytes is None:
        return "–"
    value = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def language_name(tag: str) -> str:
    """`English (en-US)` of a BCP-47 tag; the tag alone where its name is not known."""
    try:
        return f"{get_language_info(tag.lower())['name']} ({tag})"
    except KeyError:
        return tag
