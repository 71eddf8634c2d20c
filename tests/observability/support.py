"""Reading metrics."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.platform_process import TLS

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Metrics:
    """What a process said: `metrics("speech_http_requests_total", status="200")` sums the series that fit."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self.series: Series = {}
        for family in text_string_to_metric_families(text):
            self.names |= {family.name} | {f"{family.name}{suffix}" for suffix in _SUFFIXES.get(family.type, ())}
            for sample in family.samples:
                self.names.add(sample.name)
                self.series[sample.name, frozenset(sample.labels.items())] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        assert name in self.names, f"there is no {name}"
        wanted = labels.items()
        return sum(value for (known, found), value in self.series.items() if known == name and wanted <= found)


class Scrape(Metrics):
    """What /metrics said once."""

    def __init__(self, url: str, **headers: str) -> None:
        # No X-Forwarded-For: a scraper on this machine.
        answer = httpx.get(f"{url}/metrics", headers=headers, timeout=60, trust_env=False, verify=TLS)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        super().__init__(answer.text)


# Of families that nothing has been counted in yet, too: they stand there with their type.
_SUFFIXES = {"counter": ("_total", "_created"), "histogram": ("_bucket", "_sum", "_count", "_created")}
