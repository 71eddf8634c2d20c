"""Bar charts, laid out on the server: the template writes them as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Any

WIDTH, HEIGHT = 720, 168  # SVG units; the drawing scales to its box
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 4, 8, 24
SERIES = (("tts_jobs", "Speech out"), ("stt_jobs", "Speech in"), ("failed_jobs", "Failed"))


@dataclass(frozen=True, slots=True)
class Bar:
    series: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Day:
    x: float  # of the column's left edge
    title: str  # what a pointer over the column reads
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    width: int
    height: int
    left: int
    right: int
    top: int
    baseline: int
    step: float
    days: tuple[Day, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str


def jobs_chart(daily: list[dict[str, Any]]) -> Chart:
    """Jobs a day, stacked by kind. daily: rows of `analytics.selectors.usage_summary`, oldest first."""
    counts = [sum(row[name] for name, _ in SERIES) for row in daily]
    top = _nice(max(counts, default=0))
    plot_height, step = HEIGHT - _TOP - _BOTTOM, (WIDTH - _LEFT - _RIGHT) / max(1, len(daily))
    scale = plot_height / top
    days = tuple(_day(row, _LEFT + index * step, step, scale) for index, row in enumerate(daily))
    baseline = HEIGHT - _BOTTOM
    return Chart(
        width=WIDTH, height=HEIGHT, left=_LEFT, right=WIDTH - _RIGHT, top=_TOP, baseline=baseline, step=round(step, 2),
        days=days,
        x_ticks=tuple(
            Tick(round(_LEFT + (index + 0.5) * step, 1), _short(daily[index]["date"]))
            for index in range(len(daily) - 1, -1, -7)
        ),
        y_ticks=tuple(Tick(round(baseline - value * scale, 1), f"{value:,}") for value in (0, top // 2, top)),
        summary=f"{sum(counts):,} jobs in {len(daily)} days; at most {max(counts, default=0):,} on one day.",
    )  # fmt: skip


def _day(row: dict[str, Any], left: float, step: float, scale: float) -> Day:
    bars, y = [], float(HEIGHT - _BOTTOM)
    for name, _ in SERIES:
        if row[name]:
            height = max(1.5, row[name] * scale)
            y -= height
            width = step * 0.72
            bars.append(Bar(name, round(left + step * 0.14, 1), round(y, 1), round(width, 1), round(height, 1)))
    counts = ", ".join(f"{label.lower()} {row[name]:,}" for name, label in SERIES)
    return Day(round(left, 1), f"{_short(row['date'])}: {counts}", tuple(bars))


def _short(iso_date: str) -> str:
    day = date.fromisoformat(iso_date)
    return f"{day:%b} {day.day}"


def _nice(highest: int) -> int:
    """The even round number at or above `highest` that the axis ends at: 2, 4, 10, 20, 40, 100, …"""
    if highest <= 2:
        return 2
    power = 10 ** math.floor(math.log10(highest))
    return next(top for factor in (1, 2, 4, 6, 10) if (top := factor * power) >= highest and top % 2 == 0)
