"""manage.py models promote, rollback, rollouts and manifest."""

from __future__ import annotations

import abc
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from ml.evaluation import FileResult, table
from models_registry import comparing, evaluating, folders, gate, rollouts, selectors, services
from models_registry.gate import Verdict
from models_registry.management.commands._output import bar, percent
from models_registry.models import EvaluationManifest, ModelTask, ModelVersion, Rollout, RolloutMode, RolloutStatus
from models_registry.rollouts import Override, Terms


class RolloutActions(BaseCommand, abc.ABC):
    """Of the command `models`, which knows how to wait for the processes that serve."""

    def _promote(self, options: dict[str, Any]) -> None:
        if options["force"] and not options["reason"]:
            raise CommandError("--force needs a --reason; it is kept in the audit trail.")
        folders.synchronise_rows()
        candidate = selectors.find_version(options["model"], task=ModelTask.STT)
        override = Override(options["reason"]) if options["force"] else None
        terms = _terms(options)
        judged = override is None and (terms is None or terms.mode == RolloutMode.CANARY)
        verdicts = self._judge(candidate, terms.organization if terms else None, options) if judged else []
        for verdict in verdicts:
            self.stdout.write(str(verdict))
        if terms is None:
            row = rollouts.promote(actor=None, candidate=candidate, verdicts=verdicts, override=override)
            self.stdout.write(f"{row.reference} serves as {row.name}.")
            self._await([row], options)
            return
        rollout = rollouts.start(
            actor=None,
            candidate=candidate,
            terms=terms,
            verdicts=verdicts,
            override=override,
            reason=options["reason"] or "",
        )
        self.stdout.write(f"{candidate.reference} is on trial: {_described(rollout)}.")
        self._await([candidate], {**options, "on_trial": True})

    def _judge(
        self, candidate: ModelVersion, organization: Organization | None, options: dict[str, Any]
    ) -> list[Verdict]:
        """Measures what was not measured yet."""

        def measure(row: ModelVersion, manifest: Path) -> ModelVersion:
            with bar(row.reference, None, self._shows_progress(options), unit="file") as progress:

                def count(_: FileResult, progress: Callable[[int], None] = progress) -> None:
                    progress(1)

                evaluation = evaluating.evaluate(row=row, manifest=manifest, progress=count)
            services.save_evaluation(row=row, evaluation=evaluation)
            return ModelVersion.objects.get(id=row.id)

        return gate.judge(
            candidate=candidate,
            active=rollouts.active_version(candidate),
            on=[options["manifest"]] if options["manifest"] else gate.manifests(organization),
            tolerance=options["tolerance"] / 100,
            measure=measure,
        )

    def _rollback(self, options: dict[str, Any]) -> None:
        folders.synchronise_rows()
        row = rollouts.roll_back_model(
            actor=None, task=options["task"] or ModelTask.STT, name=options["model"], reason=options["reason"] or ""
        )
        self.stdout.write(f"{row.reference} serves as {row.name}, and nothing else is on trial for it.")
        self._await([row], options)

    def _rollouts(self, options: dict[str, Any]) -> None:
        rows = Rollout.objects.select_related("candidate", "organization")
        if not options["all"]:
            rows = rows.filter(status=RolloutStatus.RUNNING)
        compared = [(row, comparing.compare(row)) for row in rows[:50]]
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(*pair) for pair in compared], indent=2))
            return
        if not compared:
            self.stdout.write("No version was ever on trial." if options["all"] else "No version is on trial.")
            return
        header = ("model", "trial", "status", "version", "requests", "failed", "confidence", "RTF", "WER to active")
        self.stdout.write(table([header, *(line for pair in compared for line in _lines(*pair))]))
        for row, _ in compared:
            if row.ended_reason:
                self.stdout.write(f"{row.candidate.reference}: {row.ended_reason}")

    def _manifest(self, options: dict[str, Any]) -> None:
        organization = _organization(options["org"])
        if options["file"]:
            path = options["file"].resolve()
            gate.check_manifest(path)
            rollouts.set_manifest(organization=organization, path=str(path))
        elif options["remove"]:
            rollouts.set_manifest(organization=organization, path=None)
        for row in EvaluationManifest.objects.select_related("organization").order_by("created_at"):
            self.stdout.write(f"{row.organization.slug if row.organization else 'the installation'}: {row.path}")

    @abc.abstractmethod
    def _await(self, rows: list[ModelVersion], options: dict[str, Any]) -> None:
        """Until the processes that serve have followed."""

    @abc.abstractmethod
    def _shows_progress(self, options: dict[str, Any]) -> bool:
        """Whether somebody looks on."""


def _terms(options: dict[str, Any]) -> Terms | None:
    """None: it is to serve at once."""
    mode = RolloutMode.CANARY if options["canary"] is not None else RolloutMode.SHADOW
    share = options["canary"] if options["canary"] is not None else options["shadow"]
    if share is None:
        if options["org"]:
            raise CommandError("A version serves everybody; --org is for --canary and --shadow.")
        return None
    return Terms(
        mode=mode,
        share=share / 100,
        organization=_organization(options["org"]),
        max_failure_rate=options["max_failures"] / 100,
        max_slowdown=options["max_slowdown"],
        min_samples=options["min_samples"],
    )


def _organization(slug: str | None) -> Organization | None:
    if not slug:
        return None
    found = Organization.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"There is no organisation {slug!r}.")
    return found


def _described(rollout: Rollout) -> str:
    whose = f"{rollout.organization.slug}'s" if rollout.organization else "all"
    does = "answers" if rollout.mode == RolloutMode.CANARY else "hears in secret"
    return f"it {does} {100 * rollout.share:g} % of {whose} requests"


def _lines(rollout: Rollout, compared: comparing.Comparison) -> list[tuple[str, ...]]:
    trial = f"{rollout.mode} {100 * rollout.share:g} %"
    return [
        (rollout.name, trial, rollout.status, *_arm(compared.active), ""),
        ("", "", "", *_arm(compared.candidate), percent(compared.wer_against_active)),
    ]


def _arm(arm: comparing.ArmSummary) -> tuple[str, ...]:
    confidence = "–" if arm.confidence is None else f"{arm.confidence:.3f}"
    rtf = "–" if arm.median_rtf is None else f"{arm.median_rtf:.3f}"
    return (arm.version, str(arm.requests), percent(arm.failure_rate), confidence, rtf)


def _as_json(rollout: Rollout, compared: comparing.Comparison) -> dict[str, Any]:
    names = ("name", "active_version", "mode", "share", "status", "reason", "started_by", "ended_reason")
    return {
        "id": str(rollout.id),
        **{name: getattr(rollout, name) for name in names},
        "candidate": rollout.candidate.version,
        "organization": rollout.organization.slug if rollout.organization else None,
        "comparison": {**asdict(compared), "slowdown": compared.slowdown},
    }
