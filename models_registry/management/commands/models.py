"""manage.py models …: what is installed, and everything that changes it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from common.errors import ApiError
from ml.errors import MlError
from ml.evaluation import FileResult, per_file, summary, table
from models_registry import evaluating, folders, installing, selectors, services
from models_registry.catalogue import catalogue
from models_registry.models import ModelTask, ModelVersion

EPILOG = """
A model is named as NAME or NAME@VERSION; without a version, the active one is meant, or the only one.
Exit status: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage.

examples:
  manage.py models pull --list                      what the catalogue has
  manage.py models pull whisper-base                install and activate it
  manage.py models pull org/repo@v1.0 --name mine   any repository of the hub
  manage.py models export whisper-base w.tar        carry it to a machine without internet …
  manage.py models import w.tar                     … and install it there
  manage.py models activate whisper-base@<version>  roll back, or forth
  manage.py models evaluate --model whisper-base --manifest tests/audio/manifest.jsonl
"""


class Command(BaseCommand):
    help = "Lists, fetches, moves, activates, checks and evaluates speech models."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs.update(epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        _add_listing(actions)
        _add_moving(actions)
        _add_serving(actions)
        _add_evaluating(actions)

    def handle(self, *args: Any, **options: Any) -> None:
        action: Callable[[dict[str, Any]], None] = getattr(self, f"_{options['action']}")
        try:
            action(options)
        except (MlError, ApiError) as error:
            raise CommandError(error.message) from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted; run the same command again to continue.", returncode=130) from None

    # ── Listing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _list(self, options: dict[str, Any]) -> None:
        services.register_embedded()
        broken = folders.synchronise_rows()
        status = selectors.models_status()
        rows = [row for row in status.models if options["task"] in (None, row.task)]
        if options["json"]:
            problems = [{"path": folder.path, "reason": folder.reason} for folder in broken]
            self.stdout.write(json.dumps({"models": [_as_json(row) for row in rows], "broken": problems}, indent=2))
            return
        header = ("model", "task", "engine", "languages", "serves", "status", "MB", "licence")
        self.stdout.write(table([header, *map(_line, rows)]))
        for folder in broken:
            self.stderr.write(f"{folder.path}: {folder.reason}")
        self.stdout.write(f"\nFolders are under {folders.base()}; {len(status.workers)} processes serve.")

    def _catalogue(self, options: dict[str, Any]) -> None:
        entries = [entry for entry in catalogue().values() if options["task"] in (None, entry.task)]
        if options["json"]:
            self.stdout.write(json.dumps([_entry_as_json(entry) for entry in entries], indent=2))
            return
        header = ("model", "task", "engine", "languages", "about MB", "licence")
        lines = [
            (entry.name, entry.task, f"{entry.engine}/{entry.format}", _languages(entry.languages),
             str(entry.megabytes), entry.licence)
            for entry in entries
        ]  # fmt: skip
        self.stdout.write(table([header, *lines]))

    # ── Moving models ───────────────────────────────────────────────────────────────────────────────────────────────

    def _pull(self, options: dict[str, Any]) -> None:
        if options["list"]:
            return self._catalogue(options)
        if not options["model"]:
            raise CommandError("Name a model of the catalogue (`models pull --list`) or a repository.")
        overrides = installing.Overrides(
            name=options["name"],
            task=options["task"],
            family=options["family"],
            engine=options["engine"],
            format=options["format"],
            languages=tuple(options["languages"] or ()),
            files=tuple(options["files"] or ()),
            settings=dict(options["set"] or ()),
        )
        row = installing.pull(
            actor=None, name=options["model"], overrides=overrides, progress=self._shows_progress(options)
        )
        return self._installed(row, options)

    def _import(self, options: dict[str, Any]) -> None:
        source: Path = options["source"]
        with _bar(source.name, installing.import_size(source), self._shows_progress(options)) as progress:
            row = installing.import_model(actor=None, source=source, progress=progress)
        self._installed(row, options)

    def _export(self, options: dict[str, Any]) -> None:
        row = selectors.find_version(options["model"], task=options["task"])
        with _bar(row.reference, row.bytes_on_disk, self._shows_progress(options)) as progress:
            installing.export_model(row=row, file=options["file"], progress=progress)
        self.stdout.write(f"{row.reference} is in {options['file']}.")

    def _installed(self, row: ModelVersion, options: dict[str, Any]) -> None:
        self.stdout.write(f"{row.reference} is installed in {folders.base() / row.path}.")
        if options["activate"]:
            self._activated(services.activate(actor=None, row=row, default=options["default"]), options)

    # ── Serving ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _activate(self, options: dict[str, Any]) -> None:
        folders.synchronise_rows()
        row = selectors.find_version(options["model"], task=options["task"])
        self._activated(services.activate(actor=None, row=row, default=options["default"]), options)

    def _activated(self, row: ModelVersion, options: dict[str, Any]) -> None:
        self.stdout.write(f"{row.reference} is active{', and the default' if row.is_default else ''}.")
        self._await([row], options)

    def _reload(self, options: dict[str, Any]) -> None:
        outcome = services.reload(actor=None, task=options["task"], model=options["model"])
        for row in outcome.reloaded:
            self.stdout.write(f"{row.reference} is to be loaded anew.")
        for failure in outcome.failed:
            self.stderr.write(f"{failure.row.reference}: {failure.reason}")
        self._await(list(outcome.reloaded), options)
        if outcome.failed:
            raise CommandError(f"{len(outcome.failed)} models were refused; what served before goes on serving.")

    def _await(self, rows: list[ModelVersion], options: dict[str, Any]) -> None:
        """Until the processes that serve have followed; they do so by themselves, so this only informs."""
        ready, waiting = services.wait_for_workers(rows=rows, timeout_seconds=options["wait"])
        if ready:
            self.stdout.write(f"Served by {len(ready)} process{'' if len(ready) == 1 else 'es'}.")
        for problem in waiting:
            self.stderr.write(f"Not yet: {problem}")

    def _warm(self, options: dict[str, Any]) -> None:
        rows = [selectors.find_version(name, task=options["task"]) for name in options["models"]]
        rows = rows or list(selectors.list_active())
        services.warm(rows=rows)
        self.stdout.write(f"{', '.join(row.reference for row in rows)}: every process that serves loads them.")

    def _remove(self, options: dict[str, Any]) -> None:
        folders.synchronise_rows()
        row = selectors.find_version(options["model"], task=options["task"])
        services.remove(actor=None, row=row, force=options["force"])
        self.stdout.write(f"{row.reference} is removed.")

    def _verify(self, options: dict[str, Any]) -> None:
        folders.synchronise_rows()
        rows = [selectors.find_version(name, task=options["task"]) for name in options["models"]]
        rows = rows or [row for row in selectors.list_models() if not row.is_embedded]
        corrupt = 0
        for row in rows:
            try:
                services.verify(row=row)
                self.stdout.write(f"{row.reference}: as its manifest says")
            except MlError as error:
                corrupt += 1
                self.stderr.write(error.message)
        if corrupt:
            raise CommandError(f"{corrupt} of {len(rows)} models are corrupt.")

    # ── Evaluating ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _evaluate(self, options: dict[str, Any]) -> None:
        names: list[str] = [*(options["model"] or []), *(options["compare"] or [])]
        if not names:
            raise CommandError("Name a model with --model, or two with --compare.")
        evaluations = []
        for name in names:
            row = selectors.find_version(name, task=ModelTask.STT)
            with _bar(row.reference, None, self._shows_progress(options), unit="file") as progress:

                def count(_: FileResult, progress: Callable[[int], None] = progress) -> None:
                    progress(1)

                evaluation = evaluating.evaluate(
                    row=row, manifest=options["manifest"], limit=options["limit"], progress=count
                )
            services.save_evaluation(row=row, evaluation=evaluation)
            evaluations.append(evaluation)
        if options["json"]:
            document = json.dumps([evaluation.as_dict() for evaluation in evaluations], indent=2, ensure_ascii=False)
            options["json"].write_text(document + "\n", encoding="utf-8")
        self.stdout.write(per_file(*evaluations))
        self.stdout.write("\n" + summary(*evaluations))

    def _shows_progress(self, options: dict[str, Any]) -> bool:
        return not options["quiet"] and sys.stderr.isatty()


# ── Arguments ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=text, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=ModelTask.values, help="where one name stands for models of several tasks")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def _add_listing(actions: Any) -> None:
    parser = _action(actions, "list", "Shows installed models, after comparing the rows with the folders.")
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_moving(actions: Any) -> None:
    parser = _action(actions, "pull", "Installs a model of the catalogue or of any repository of the hub.")
    parser.add_argument("model", nargs="?", metavar="NAME|org/repo[@revision]")
    parser.add_argument("--list", action="store_true", help="show the catalogue")
    parser.add_argument("--json", action="store_true", help="with --list: for programs")
    described = parser.add_argument_group("for a repository that does not say what it is")
    described.add_argument("--name", help="what to call the model")
    described.add_argument("--family")
    described.add_argument("--engine", help="e.g. sherpa")
    described.add_argument("--format", help="e.g. transducer")
    described.add_argument("--languages", nargs="+", metavar="LANG")
    described.add_argument("--files", nargs="+", metavar="PATTERN", help="which files to fetch")
    described.add_argument("--set", nargs="+", type=_setting, metavar="KEY=VALUE", help="settings of the engine")
    _add_activating(parser)

    parser = _action(actions, "import", "Installs a model from an archive, or from a folder with a model.json.")
    parser.add_argument("source", type=Path, metavar="FILE|FOLDER")
    _add_activating(parser)

    parser = _action(actions, "export", "Writes a model as one archive, for a machine without internet.")
    parser.add_argument("model", metavar="NAME[@VERSION]")
    parser.add_argument("file", type=Path, metavar="FILE.tar")


def _add_activating(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-activate", dest="activate", action="store_false", help="only install; do not let it serve yet"
    )
    _add_default(parser)
    _add_wait(parser)


def _add_default(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--default",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="serve requests that name no model; else where no installed model does",
    )


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="for the processes that serve to follow (30)"
    )


def _add_serving(actions: Any) -> None:
    parser = _action(actions, "activate", "Lets a version serve under its name; no request fails.")
    parser.add_argument("model", metavar="NAME[@VERSION]")
    _add_default(parser)
    _add_wait(parser)

    parser = _action(actions, "reload", "Loads the active models anew in every process; no request fails.")
    parser.add_argument("model", nargs="?", metavar="NAME")
    _add_wait(parser)

    parser = _action(actions, "warm", "Loads models before their first request, in every process that serves.")
    parser.add_argument("models", nargs="*", metavar="NAME", help="all active ones where none is named")

    parser = _action(actions, "remove", "Deletes a model; an active one only with --force.")
    parser.add_argument("model", metavar="NAME[@VERSION]")
    parser.add_argument("--force", action="store_true")

    parser = _action(actions, "verify", "Compares every file with its SHA-256.")
    parser.add_argument("models", nargs="*", metavar="NAME[@VERSION]", help="all where none is named")


def _add_evaluating(actions: Any) -> None:
    parser = _action(actions, "evaluate", "Measures WER, CER and RTF on a manifest, and keeps them with the model.")
    parser.add_argument("--model", nargs=1, metavar="NAME[@VERSION]")
    parser.add_argument("--compare", nargs="+", metavar="NAME[@VERSION]", help="several, side by side")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON lines: audio, text, language")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N recordings")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


# ── Showing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _bar(what: str, total: int | None, shown: bool, unit: str = "B") -> Iterator[Callable[[int], None]]:
    scaled = unit == "B"
    with tqdm(desc=what, total=total, unit=unit, unit_scale=scaled, disable=not shown) as bar:

        def advance(amount: int) -> None:
            bar.update(amount)

        yield advance


def _line(row: ModelVersion) -> tuple[str, ...]:
    serves = "default" if row.is_default else "active" if row.is_active else ""
    megabytes = f"{row.bytes_on_disk / 1e6:.0f}" if row.bytes_on_disk else "–"
    status = f"{row.status}: {row.last_error[:60]}" if row.last_error else row.status
    engine = f"{row.engine}/{row.format}" if row.format else row.engine
    return (
        row.reference, row.task, engine, _languages(row.languages), serves, status, megabytes, row.licence or "–",
    )  # fmt: skip


def _languages(languages: Any) -> str:
    shown = list(languages)
    return ", ".join(shown) if len(shown) <= 4 else f"{len(shown)} languages"


def _as_json(row: ModelVersion) -> dict[str, Any]:
    names = (
        "task", "family", "name", "version", "engine", "format", "languages", "path", "licence", "source", "revision",
        "bytes_on_disk", "is_active", "is_default", "status", "memory_bytes", "last_error", "results",
    )  # fmt: skip
    return {"id": str(row.id), **{name: getattr(row, name) for name in names}}


def _entry_as_json(entry: Any) -> dict[str, Any]:
    names = ("name", "task", "family", "engine", "format", "languages", "licence", "megabytes", "description")
    repositories = [part.repository for part in entry.parts]
    return {**{name: getattr(entry, name) for name in names}, "repositories": repositories}
