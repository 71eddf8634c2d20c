"""Models: what is installed and how it does, what the catalogue offers, and how evaluations compare."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from common import errors
from dashboard.access import Action, Page
from dashboard.listing import FilterForm
from dashboard.nav import Command, NavItem, Section
from dashboard.toasts import toast
from jobs.models import UNFINISHED
from models_registry import installations, rights, selectors, services
from models_registry.catalogue import CatalogueEntry, catalogue
from models_registry.models import ModelTask, ModelVersion, WorkerState

FEW_LANGUAGES = 4


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model as a list shows it."""

    model: ModelVersion
    languages: str
    serves: str  # for which languages it is the default; "" for none
    processes: int  # that serve it


@dataclass(frozen=True, slots=True)
class Process:
    """A process, and how it does with one model."""

    worker: WorkerState
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """A saved evaluation of one version."""

    model: ModelVersion
    totals: dict[str, Any]

    @property
    def wer(self) -> str:
        return _percent(self.totals.get("wer"))

    @property
    def cer(self) -> str:
        return _percent(self.totals.get("cer"))

    @property
    def rtf(self) -> str:
        rtf = self.totals.get("rtf")
        return f"{rtf:.3f}" if isinstance(rtf, int | float) else "–"

    @property
    def evaluated_at(self) -> datetime | None:
        try:
            return datetime.fromisoformat(str(self.totals.get("evaluated_at")))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The newest evaluation of each version on the same recordings, best first."""

    manifest: str
    files: int
    results: tuple[Result, ...]


class ModelsPage(Page):
    def show(self, template: str, fields: dict[str, Any], *, part: str = "") -> HttpResponse:
        fields |= {"is_operator": rights.is_operator(self.actor), "may_reload": rights.may_reload(self.actor)}
        names = ((_("Installed"), "models"), (_("Catalogue"), "models-catalogue"), (_("Evaluations"), "models-compare"))
        urls = [(label, reverse(f"dashboard:{name}")) for label, name in names]
        tabs = [{"label": label, "url": url, "current": url == self.request.path} for label, url in urls]
        return self.render(f"dashboard/models/{template}.html", {**fields, "tabs": tabs}, part=part)


class InstalledPage(ModelsPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        status = selectors.models_status()
        served = selectors.default_languages(status.models)
        rows = [_row(model, status.workers, served) for model in status.models]
        fields = {"rows": rows, "workers": [_summary(worker) for worker in status.workers], "healthy": status.healthy}
        return self.show("list", fields, part="dashboard/models/rows.html")


class ModelPage(ModelsPage):
    """One version: what it is, where it runs, and what operators may do with it."""

    def get(self, request: HttpRequest, model_id: uuid.UUID) -> HttpResponse:
        status = selectors.models_status()
        model = next((row for row in status.models if row.id == model_id), None)
        if model is None:
            raise errors.NotFound(_("There is no such model."))
        alike = [row for row in status.models if (row.task, row.name) == (model.task, model.name)]
        served = selectors.default_languages(status.models)
        fields = {
            "model": model,
            "row": _row(model, status.workers, served),
            "processes": _processes(model, status.workers),
            "versions": [row for row in alike if row.id != model.id],
            "comparisons": [one for one in _comparisons(status.models) if any(r.model == model for r in one.results)],
        }
        return self.show("model", fields)


class ComparePage(ModelsPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show("compare", {"comparisons": _comparisons(selectors.list_models())})


class CatalogueFilters(FilterForm):
    q = forms.CharField(
        label=gettext_lazy("Search by name or language"), widget=forms.TextInput(attrs={"type": "search"})
    )
    task = forms.ChoiceField(label=gettext_lazy("Task"), choices=[("", gettext_lazy("Any task")), *ModelTask.choices])


class CataloguePage(ModelsPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        filters = CatalogueFilters(request)
        installed = set(selectors.list_models().values_list("task", "name"))
        rows = installations.latest() if rights.is_operator(self.actor) else []
        busy = {row.model for row in rows if row.status in UNFINISHED}
        entries = _entries(installed, **filters.values)
        fields = {"filters": filters, "entries": entries, "installations": rows, "busy": busy}
        return self.show("catalogue", fields, part="dashboard/models/catalogue_rows.html")


def _entries(installed: set[tuple[str, str]], *, q: str = "", task: str = "") -> list[dict[str, Any]]:
    found = [entry for entry in catalogue().values() if task in ("", entry.task) and entry.matches(q)]
    return [
        {"entry": entry, "languages": _languages(entry.languages), "task": ModelTask(entry.task).label,
         "installed": (entry.task, entry.name) in installed, "bytes": entry.megabytes * 1_000_000,
         "command": _command(entry), "install_label": _("Install %s") % entry.name}
        for entry in found
    ]  # fmt: skip


def _command(entry: CatalogueEntry) -> str:
    return f"manage.py models pull {entry.name}"


def _row(model: ModelVersion, workers: list[WorkerState], served: dict[uuid.UUID, list[str]]) -> ModelRow:
    return ModelRow(
        model=model,
        languages=_languages(model.languages),
        serves=_languages(served[model.id]) or _("any") if model.id in served else "",
        processes=len(_processes(model, workers)),
    )


def _languages(languages: Any) -> str:
    shown = list(languages)
    if len(shown) <= FEW_LANGUAGES:
        return ", ".join(shown)
    return ngettext("%d language", "%d languages", len(shown)) % len(shown)


def _processes(model: ModelVersion, workers: list[WorkerState]) -> list[Process]:
    wanted = (model.task, model.name, model.version)
    reports = [(worker, report) for worker in workers for report in worker.reports]
    return [
        Process(worker, report)
        for worker, report in reports
        if model.is_active and (report["task"], report["name"], report["version"]) == wanted
    ]


def _summary(worker: WorkerState) -> dict[str, Any]:
    reports = worker.reports
    return {
        "worker": worker,
        "models": len(reports),
        "loaded": sum(report["memory_bytes"] is not None for report in reports),
        "failed": sum(bool(report["last_error"]) for report in reports),
    }


def _comparisons(models: Any) -> list[Comparison]:
    """By recordings: two evaluations compare where the manifest's contents are the same."""
    newest: dict[str, dict[uuid.UUID, Result]] = {}
    for model in models:
        for totals in model.results:
            if isinstance(totals, dict) and totals.get("manifest"):  # model.json may come from elsewhere
                key = str(totals.get("manifest_sha256") or totals["manifest"])
                newest.setdefault(key, {})[model.id] = Result(model, totals)
    return [_comparison(list(results.values())) for results in newest.values()]


def _comparison(results: list[Result]) -> Comparison:
    totals = results[0].totals
    best_first = sorted(results, key=lambda result: _error_rate(result.totals))
    return Comparison(PurePath(str(totals["manifest"])).name, totals.get("files") or 0, tuple(best_first))


def _percent(share: Any) -> str:
    return f"{share * 100:.1f} %" if isinstance(share, int | float) else "–"


def _error_rate(totals: dict[str, Any]) -> float:
    wer = totals.get("wer")
    return float(wer) if isinstance(wer, int | float) else float("inf")


# ── What operators do ─────────────────────────────────────────────────────────────────────────────────────────────────


class ModelInstall(Action):
    """Of the catalogue; the page of it shows how far it is."""

    def post(self, request: HttpRequest) -> HttpResponse:
        row = installations.request_installation(actor=self.actor, model=request.POST.get("model", "")[:200])
        return self.done(_("%(model)s is being installed.") % {"model": row.model}, "dashboard:models-catalogue")


class InstallationCancel(Action):
    def post(self, request: HttpRequest, installation_id: uuid.UUID) -> HttpResponse:
        installations.cancel(actor=self.actor, row=installations.get(installation_id=installation_id))
        text = _("The installation was cancelled. What was downloaded is kept for the next try.")
        return self.done(text, "dashboard:models-catalogue")


class ModelActivate(Action):
    def post(self, request: HttpRequest, model_id: uuid.UUID) -> HttpResponse:
        """Answers when the model has been tried; processes follow within moments."""
        rights.require_operator(self.actor, _("Activating a version"))
        row = services.activate(actor=self.actor, row=selectors.get_model(model_id=model_id))
        return self.done(_("%(model)s serves from now on.") % {"model": row.reference}, "dashboard:model", row.id)


class ModelReload(Action):
    def post(self, request: HttpRequest, model_id: uuid.UUID) -> HttpResponse:
        rights.require_reload(self.actor)
        row = selectors.get_model(model_id=model_id)
        outcome = services.reload(actor=self.actor, task=row.task, model=row.reference)
        if outcome.failed:
            text = _("Not reloaded; what served before goes on serving. %(reason)s")
            toast(request, text % {"reason": outcome.failed[0].reason}, tone="bad")
            return self.go("dashboard:model", row.id)
        return self.done(_("%(model)s is loaded anew.") % {"model": row.reference}, "dashboard:model", row.id)


class ModelRemove(Action):
    """Only of what does not serve: others may be using what does."""

    def post(self, request: HttpRequest, model_id: uuid.UUID) -> HttpResponse:
        rights.require_operator(self.actor, _("Removing a model"))
        row = selectors.get_model(model_id=model_id)
        services.remove(actor=self.actor, row=row)
        return self.done(_("%(model)s is removed.") % {"model": row.reference}, "dashboard:models")


_BASE = "dashboard/models"
urlpatterns = [
    path(_BASE, InstalledPage.as_view(), name="models"),
    path(f"{_BASE}/catalogue", CataloguePage.as_view(), name="models-catalogue"),
    path(f"{_BASE}/install", ModelInstall.as_view(), name="model-install"),
    path(f"{_BASE}/installations/<uuid:installation_id>/cancel", InstallationCancel.as_view(), name="install-cancel"),
    path(f"{_BASE}/evaluations", ComparePage.as_view(), name="models-compare"),
    path(f"{_BASE}/<uuid:model_id>", ModelPage.as_view(), name="model"),
    path(f"{_BASE}/<uuid:model_id>/activate", ModelActivate.as_view(), name="model-activate"),
    path(f"{_BASE}/<uuid:model_id>/reload", ModelReload.as_view(), name="model-reload"),
    path(f"{_BASE}/<uuid:model_id>/remove", ModelRemove.as_view(), name="model-remove"),
]

NAV = (
    NavItem(
        gettext_lazy("Models"), "dashboard:models", "brain", Section.SPEECH, order=30, shortcut="g o",
        keywords="engines whisper memory versions workers",
    ),
)  # fmt: skip
COMMANDS = (
    Command(
        gettext_lazy("Install a model"),
        "dashboard:models-catalogue",
        "package-plus",
        keywords="catalogue pull download",
    ),
    Command(gettext_lazy("Compare evaluations"), "dashboard:models-compare", "git-compare", keywords="wer cer rtf"),
)
