"""Whether a version may take over: it must not make more errors than the active one, on recordings that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accounts.models import Organization
from common import errors
from ml import evaluation
from models_registry.comparing import newest_results
from models_registry.models import EvaluationManifest, ModelVersion

Measure = Callable[[ModelVersion, Path], ModelVersion]
"""Evaluates a version on a manifest, keeps the result, and gives the row back as it is then."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Word error rates on one manifest, 0–1 and above."""

    manifest: str
    active: float
    candidate: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.candidate <= self.active + self.tolerance

    def __str__(self) -> str:
        rates = f"{100 * self.candidate:.2f} % of the words wrong, the active version {100 * self.active:.2f} %"
        return f"{self.manifest}: {rates}"


def manifests(organization: Organization | None = None) -> list[Path]:
    """On which a version is judged: an organisation's and the installation's own, or, for all, everybody's."""
    rows = EvaluationManifest.objects.order_by("created_at")
    if organization is not None:
        rows = rows.filter(organization=organization) | rows.filter(organization=None)
    return list(dict.fromkeys(Path(row.path) for row in rows))


def check_manifest(path: Path) -> None:
    """Raises `InvalidRequest` naming the line that is wrong."""
    evaluation.read_manifest(path)


def judge(
    *,
    candidate: ModelVersion,
    active: ModelVersion,
    on: Iterable[Path],
    tolerance: float = 0.0,
    measure: Measure | None = None,
) -> list[Verdict]:
    """Compares the newest results of both on each manifest, whole.

    measure: makes results that are missing; without it they are an error. tolerance: of word error rate, 0–1.
    Raises `InvalidRequest` for a manifest that is wrong, and `Conflict` (`evaluation_missing`).
    """
    verdicts = []
    for manifest in on:
        key = evaluation.manifest_key(manifest)
        before, after = (_rate(row, manifest, key, measure) for row in (active, candidate))
        verdicts.append(Verdict(manifest.name, before, after, tolerance))
    return verdicts


def require(verdicts: Sequence[Verdict]) -> None:
    """Raises `Conflict`: `evaluation_missing` without a verdict, `evaluation_worse` where one is against it."""
    if not verdicts:
        raise errors.Conflict(
            "There is no evaluation manifest to judge it on: register one with `manage.py models manifest`, name one "
            "with --manifest, or force it, with a reason.",
            code="evaluation_missing",
        )
    worse = [verdict for verdict in verdicts if not verdict.passed]
    if worse:
        raise errors.Conflict(
            f"It is worse than the version that serves. {'; '.join(map(str, worse))}. Force it, with a reason, if you "
            "want it nevertheless.",
            code="evaluation_worse",
        )


def _rate(row: ModelVersion, manifest: Path, key: tuple[str, int], measure: Measure | None) -> float:
    result = newest_results(row).get(key)
    if result is None and measure is not None:
        result = newest_results(measure(row, manifest)).get(key)
    if result is None or result["wer"] is None:
        raise errors.Conflict(
            f"{row.reference} was not measured on {manifest}: `manage.py models evaluate --model {row.reference} "
            f"--manifest {manifest}` does so.",
            code="evaluation_missing",
        )
    rate: float = result["wer"]
    return rate
