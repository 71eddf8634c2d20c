"""Usage as files."""

from __future__ import annotations

import csv
import io
from typing import Any


def daily_csv(summary: dict[str, Any]) -> str:
    """The daily rows of `selectors.usage_summary`, as the API and the dashboard hand them out."""
    file = io.StringIO()
    columns = ["date", *(name for name in summary["daily"][0] if name != "date")]
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(summary["daily"])
    return file.getvalue()
