"""What is kept as JSON, laid out for people."""

from __future__ import annotations

from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

_SHORT = {"db": "dB", "hz": "Hz", "id": "ID", "itn": "ITN", "snr": "SNR", "ssml": "SSML", "url": "URL"}


def described(value: Any) -> SafeString | str:
    """Names with their values, objects of a list as a table; a dash for nothing."""
    if isinstance(value, dict):
        return _pairs({name: part for name, part in value.items() if part not in (None, "", [], {})})
    if isinstance(value, list):
        return _rows(value) if value and isinstance(value[0], dict) else ", ".join(map(str, value)) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return "–" if value in (None, "") else str(value)


def _pairs(fields: dict[str, Any]) -> SafeString | str:
    lines = format_html_join("", "<dt>{}</dt><dd>{}</dd>", ((_name(n), described(part)) for n, part in fields.items()))
    return format_html('<dl class="facts">{}</dl>', lines) if fields else "–"


def _rows(rows: list[dict[str, Any]]) -> SafeString:
    """Without what lies deeper, such as the words of a segment."""
    names = sorted((n for n, part in rows[0].items() if not isinstance(part, list | dict)), key=_place)
    head = format_html_join("", "<th>{}</th>", ((_name(name),) for name in names))
    lines = (format_html_join("", "<td>{}</td>", ((described(row.get(n)),) for n in names)) for row in rows)
    body = format_html_join("", "<tr>{}</tr>", ((line,) for line in lines))
    table = "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    return format_html('<div class="facts-rows" tabindex="0">' + table + "</div>", head, body)


def _place(name: str) -> int:
    """Times first, text last: the database keeps names by their length."""
    return {"at": -3, "start": -2, "end": -1, "text": 1}.get(name, 0)


def _name(name: str) -> str:
    """`speech_ratio` as "Speech ratio", `snr_db` as "SNR dB"."""
    return capfirst(" ".join(_SHORT.get(word, word) for word in name.split("_")))
