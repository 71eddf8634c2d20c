"""Bar charts, laid out on the server: the template writes them as SVG, stretched to its box, and labels as HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Any

COLUMN, HEIGHT = 10.0, 100.0  # SVG units
BAR = 7.0  # of a column's width
SERIES = (("tts_jobs", "Speech out"), ("stt_jobs", "Speech in"), ("failed_jobs", "Failed"))


@dataclass(frozen=True, slots=True)
class Bar:
    series: str
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Day:
    x: float  # of the column's left edge
    title: str  # what a pointer over the column reads
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    width: float
    days: tuple[Day, ...]
    x_labels: tuple[str, ...]  # of every seventh day, the last one included
    y_labels: tuple[str, ...]  # top, middle, bottom
    summary: str


def jobs_chart(daily: list[dict[str, Any]]) -> Chart:
    """Jobs a day, stacked by kind. daily: rows of `analytics.selectors.usage_summary`, oldest first."""
    counts = [sum(row[name] for name, _ in SERIES) for row in daily]
    highest = max(counts, default=0)
    top = _nice(highest)
    dates = [_short(row["date"]) for row in daily]
    return Chart(
        width=COLUMN * len(daily),
        days=tuple(_day(row, COLUMN * index, HEIGHT / top) for index, row in enumerate(daily)),
        x_labels=tuple(dates[::-1][::7][::-1]),
        y_labels=(f"{top:,}", f"{top // 2:,}", "0"),
        summary=f"{sum(counts):,} jobs in {len(daily)} days; at most {highest:,} on one day.",
    )


def _day(row: dict[str, Any], left: float, scale: float) -> Day:
    bars, y = [], HEIGHT
    for name, _ in SERIES:
        if row[name]:
            height = row[name] * scale
            y -= height
            bars.append(Bar(name, round(left + (COLUMN - BAR) / 2, 2), round(y, 2), round(height, 2)))
    counts = ", ".join(f"{label.lower()} {row[name]:,}" for name, label in SERIES)
    return Day(left, f"{_short(row['date'])}: {counts}", tuple(bars))


def _short(iso_date: str) -> str:
    day = date.fromisoformat(iso_date)
    return f"{day:%b} {day.day}"


def _nice(highest: int) -> int:
    """The even round number at or above `highest` that the axis ends at: 2, 4, 6, 10, 20, 40, 60, 100, …"""
    if highest <= 2:
        return 2
    power = 10 ** math.floor(math.log10(highest))
    return next(top for factor in (1, 2, 4, 6, 10) if (top := factor * power) >= highest and top % 2 == 0)
