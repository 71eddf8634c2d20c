"""Dashboards, alert rules, scrapes and Kubernetes' scaling ask for what /metrics has, and for nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from observability import metrics, scraping
from tests.conftest import ROOT
from tests.observability.support import Metrics

FOLDER = ROOT / "deploy" / "observability"
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
VARIABLES = {"$__rate_interval": "5m", "$instance": "one", "$model": "one"}
OF_PROMETHEUS = {"up"}
ITS_LABELS = {"job", "instance", "le", "__name__"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panel_expressions(path: Path) -> dict[str, str]:
    """By panel; variables filled in."""
    found = {}
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found[f"{path.name}: {panel['title']}/{target['refId']}"] = expression
    return found


def scaling() -> dict[str, str]:
    """What Kubernetes scales workers on."""
    path = ROOT / "deploy" / "kubernetes" / "base" / "scaling.yaml"
    objects = [made for made in yaml.safe_load_all(path.read_text()) if made and made["kind"] == "ScaledObject"]
    assert objects
    triggers = [trigger for made in objects for trigger in made["spec"]["triggers"]]
    return {f"scaling.yaml: {t['type']}": t["metadata"]["query"] for t in triggers if t["type"] == "prometheus"}


def expressions() -> dict[str, str]:
    found = {f"alerts.yml: {rule['alert']}": rule["expr"] for rule in rules()} | scaling()
    for path in DASHBOARDS:
        found |= panel_expressions(path)
    return found


def selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        if (child := getattr(node, name, None)) is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from selectors(child)


@pytest.fixture(scope="module")
def scrape(database: None) -> Metrics:
    return Metrics(scraping.exposition().decode())


def known_labels() -> dict[str, set[str]]:
    """Of what is counted and measured, also where nothing has been yet."""
    declared = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    return {metric._name: set(metric._labelnames) for metric in declared}


def test_everything_asked_for_exists(scrape: Metrics) -> None:
    asked = expressions()
    assert len(asked) > 60
    labels = known_labels()
    for where, expression in asked.items():
        found = list(selectors(promql_parser.parse(expression)))
        assert found, where
        for selector in found:
            assert selector.name in scrape.names | OF_PROMETHEUS, f"{where}: there is no {selector.name}"
            family = re.sub(r"_(total|bucket|sum|count|created)$", "", selector.name)
            used = {matcher.name for matcher in selector.matchers.matchers}
            assert used <= labels.get(family, used) | ITS_LABELS, f"{where}: {selector.name} has no {used}"


def test_everything_there_is_asked_for(scrape: Metrics) -> None:
    """A number that nobody looks at is only a cost."""
    asked = {s.name for text in expressions().values() for s in selectors(promql_parser.parse(text))}
    families = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in asked}
    ours = {re.sub(r"_(total|bucket|sum|count|created)$", "", n) for n in scrape.names if n.startswith("speech_")}
    assert ours - families == set()


def test_a_wrong_name_is_found(scrape: Metrics) -> None:
    """The reading above does read."""
    names = [s.name for s in selectors(promql_parser.parse("sum(rate(a[5m])) / on (x) topk(3, max by (y) (b > 2))"))]
    assert names == ["a", "b"]
    assert "a" not in scrape.names


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_whole(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == path.stem
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    variables = {variable["name"] for variable in board["templating"]["list"]}
    for panel in panels:
        assert panel["targets"], panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel["targets"]:
            named = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert named <= variables, panel["title"]
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = re.search(r"\bby \(([^)]*)\)", target["expr"])
            if kept:
                assert shown <= set(re.split(r",\s*", kept[1])), panel["title"]


def test_every_alert_says_what_to_do() -> None:
    guide = (ROOT / "docs" / "observability.md").read_text()
    headings = {line.lstrip("# ").lower() for line in guide.splitlines() if line.startswith("#")}
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (path, anchor in headings) == ("docs/observability.md", True), rule["alert"]


def test_every_metric_is_explained(scrape: Metrics) -> None:
    guide = (ROOT / "docs" / "observability.md").read_text()
    families = {re.sub(r"_(total|bucket|sum|count|created)$", "", n) for n in scrape.names if n.startswith("speech_")}
    assert {name for name in families if name not in guide} == set()


def test_scrape_configuration_loads_the_rules() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert [(FOLDER / name).is_file() for name in config["rule_files"]] == [True]
    jobs = [job["job_name"] for job in config["scrape_configs"]]
    assert all(re.fullmatch("speech.*", job) for job in jobs)  # as alerts.yml has it
    assert all(job.get("metrics_path", "/metrics") == "/metrics" for job in config["scrape_configs"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_agrees() -> None:
    checks = (
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
    )
    for arguments in checks:
        command = ["promtool", *arguments]
        result = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
