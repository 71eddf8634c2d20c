"""How the two versions of a rollout do, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Aggregate, Avg, Count, F, FloatField, Q, Sum

from models_registry.models import Arm, ModelVersion, Rollout


class Median(Aggregate):
    function = "percentile_cont"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """What one version made of its requests."""

    version: str
    requests: int
    failures: int
    confidence: float | None  # mean; compares results of one model only
    audio_seconds: float
    median_rtf: float | None  # recognition seconds for each second of audio, waiting included

    @property
    def failure_rate(self) -> float | None:
        return round(self.failures / self.requests, 4) if self.requests else None


@dataclass(frozen=True, slots=True)
class OnManifest:
    """Both versions on the same recordings, of which it is known what was said."""

    manifest: str
    manifest_sha256: str
    active_wer: float | None
    candidate_wer: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    active: ArmSummary
    candidate: ArmSummary
    compared_words: int  # of shadows: in the active version's texts
    wer_against_active: float | None  # its text taken for the truth
    evaluations: tuple[OnManifest, ...]

    @property
    def slowdown(self) -> float | None:
        """The candidate's median over the active version's."""
        before, after = self.active.median_rtf, self.candidate.median_rtf
        return round(after / before, 3) if before and after is not None else None


def compare(rollout: Rollout) -> Comparison:
    """Two queries."""
    found = rollout.samples.values("arm").annotate(
        requests=Count("id"),
        failures=Count("id", filter=~Q(error_code="")),
        mean_confidence=Avg("confidence"),
        seconds=Sum("audio_seconds"),
        median_rtf=Median(F("recognise_seconds") / F("audio_seconds"), filter=Q(audio_seconds__gt=0)),
        compared=Sum("words"),
        wrong=Sum("wrong_words"),
    )
    by_arm: dict[str, dict[str, Any]] = {row["arm"]: dict(row) for row in found}
    heard = by_arm.get(Arm.CANDIDATE, {})
    words = heard.get("compared") or 0
    return Comparison(
        active=_summary(rollout.active_version, by_arm.get(Arm.ACTIVE, {})),
        candidate=_summary(rollout.candidate.version, heard),
        compared_words=words,
        wer_against_active=round((heard.get("wrong") or 0) / words, 4) if words else None,
        evaluations=tuple(evaluations(rollout)),
    )


def evaluations(rollout: Rollout) -> list[OnManifest]:
    """The manifests on which both versions were measured whole, their newest results."""
    rows = ModelVersion.objects.filter(task=rollout.task, name=rollout.name, version=rollout.active_version)
    active = rows.first()
    if active is None:
        return []
    theirs, ours = newest_results(active), newest_results(rollout.candidate)
    return [
        OnManifest(Path(result["manifest"]).name, key[0], theirs[key]["wer"], result["wer"])
        for key, result in ours.items()
        if key in theirs
    ]


def newest_results(row: ModelVersion) -> dict[tuple[str, int], dict[str, Any]]:
    """By the manifest's hash and the number of recordings that were taken of it; those that were normalised."""
    found = {}
    for result in row.results:
        if {"manifest_sha256", "files", "wer", "manifest"} <= result.keys() and not result.get("verbatim"):
            found[result["manifest_sha256"], result["files"]] = result
    return found


def _summary(version: str, row: dict[str, Any]) -> ArmSummary:
    rtf, confidence = row.get("median_rtf"), row.get("mean_confidence")
    return ArmSummary(
        version=version,
        requests=row.get("requests", 0),
        failures=row.get("failures", 0),
        confidence=None if confidence is None else round(confidence, 4),
        audio_seconds=round(row.get("seconds") or 0.0, 3),
        median_rtf=None if rtf is None else round(rtf, 5),
    )
