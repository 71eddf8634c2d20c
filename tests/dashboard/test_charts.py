"""The layout of the bar chart, and how quantities read."""

from __future__ import annotations

import pytest

from common.display import duration, size
from dashboard.charts import HEIGHT, jobs_chart


def day(number: int, tts: int = 0, stt: int = 0, failed: int = 0) -> dict:
    return {"date": f"2026-01-{number:02}", "tts_jobs": tts, "stt_jobs": stt, "failed_jobs": failed}


def test_stacks_bars_on_the_baseline_within_the_box() -> None:
    chart = jobs_chart([day(1), day(2, 3, 2, 1), day(3, 10)])
    assert chart.y_labels == ("10", "5", "0")
    first, second, third = chart.days
    assert first.bars == ()
    assert third.bars[0].y == 0
    assert third.bars[0].height == HEIGHT
    assert second.bars[0].y + second.bars[0].height == HEIGHT
    for lower, upper in zip(second.bars, second.bars[1:], strict=False):
        assert upper.y + upper.height == pytest.approx(lower.y)
    assert "Jan 2: speech out 3, speech in 2, failed 1" in second.title
    assert chart.summary == "16 jobs in 3 days; at most 10 on one day."


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 7, 9, 11, 59, 61, 99, 100, 101, 12_345, 999_999])
def test_axis_holds_every_bar(highest: int) -> None:
    top = int(jobs_chart([day(1, highest)]).y_labels[0].replace(",", ""))
    assert max(highest, 1) <= top <= max(2, 2 * highest)
    assert top % 2 == 0


def test_empty_period() -> None:
    assert jobs_chart([]).days == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.0004, "1 ms"),
        (0.029, "29 ms"),
        (0.42, "0.42 s"),
        (12.34, "12.3 s"),
        (60, "1:00 min"),
        (245, "4:05 min"),
        (3723, "1:02:03 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(None, "–"), (812, "812 B"), (3400, "3.4 kB"), (1_200_000, "1.2 MB"), (5e9, "5.0 GB")]
)
def test_sizes(size_bytes: int | None, text: str) -> None:
    assert size(size_bytes) == text
