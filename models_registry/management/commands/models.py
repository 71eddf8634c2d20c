"""manage.py models …: what is installed, and everything that changes it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import ProgrammingError
from psycopg.errors import UndefinedTable

from common.errors import ApiError
from ml.errors import MlError
from ml.evaluation import FileResult, per_file, summary, table
from models_registry import evaluating, folders, installing, selectors, services
from models_registry.catalogue import catalogue
from models_registry.management.commands._arguments import EPILOG, add_actions
from models_registry.management.commands._output import as_json, bar, entry_as_json, entry_line, line, processes
from models_registry.management.commands._rollouts import RolloutActions
from models_registry.models import ModelTask, ModelVersion


class Command(RolloutActions):
    help = "Lists, fetches, moves, activates, tries, checks and evaluates speech models."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs.update(epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_actions(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        action: Callable[[dict[str, Any]], None] = getattr(self, f"_{options['action']}")
        try:
            services.ensure_embedded()
            action(options)
        except (MlError, ApiError) as error:
            raise CommandError(error.message) from None
        except ProgrammingError as error:
            if not isinstance(error.__cause__, UndefinedTable):
                raise
            raise CommandError("The database is not ready: run `manage.py migrate`, or `manage.py serve`.") from None
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
            self.stdout.write(json.dumps({"models": [as_json(row) for row in rows], "broken": problems}, indent=2))
            return
        header = ("model", "task", "engine", "languages", "serves", "status", "MB", "licence")
        self.stdout.write(table([header, *map(line, rows)]))
        for folder in broken:
            self.stderr.write(f"{folder.path}: {folder.reason}")
        self.stdout.write(f"\nFolders are under {folders.base()}; {processes(len(status.workers))} serving.")

    def _catalogue(self, options: dict[str, Any]) -> None:
        word = options["model"] or ""
        entries = [
            entry for entry in catalogue().values() if options["task"] in (None, entry.task) and entry.matches(word)
        ]
        if options["json"]:
            self.stdout.write(json.dumps([entry_as_json(entry) for entry in entries], indent=2))
            return
        if not entries:
            raise CommandError(f"Nothing in the catalogue fits {word!r}.")
        installed = set(selectors.list_models().values_list("name", flat=True))
        header = ("model", "task", "engine", "languages", "about MB", "licence", "installed")
        self.stdout.write(table([header, *(entry_line(entry, entry.name in installed) for entry in entries)]))
        if len(entries) == 1:
            self.stdout.write(f"\n{entries[0].description}")

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
            actor=None,
            name=options["model"],
            overrides=overrides,
            progress=self._shows_progress(options),
            tell=self._tell,
        )
        return self._installed(row, options)

    def _tell(self, line: str) -> None:
        """For people, and not in red: no problem is meant. Standard output is for what programs read."""
        self.stderr.write(line, style_func=str)

    def _import(self, options: dict[str, Any]) -> None:
        source: Path = options["source"]
        with bar(source.name, installing.import_size(source), self._shows_progress(options)) as progress:
            row = installing.import_model(actor=None, source=source, progress=progress)
        self._installed(row, options)

    def _export(self, options: dict[str, Any]) -> None:
        row = selectors.find_version(options["model"], task=options["task"])
        with bar(row.reference, row.bytes_on_disk, self._shows_progress(options)) as progress:
            installing.export_model(row=row, file=options["file"], progress=progress)
        self.stdout.write(f"{row.reference} is in {options['file']}.")

    def _installed(self, row: ModelVersion, options: dict[str, Any]) -> None:
        if options["json"]:
            row = services.activate(actor=None, row=row, default=options["default"]) if options["activate"] else row
            self.stdout.write(json.dumps(as_json(row), indent=2))
            return
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
        ready, waiting = services.wait_for_workers(
            rows=rows, timeout_seconds=options["wait"], on_trial=options.get("on_trial", False)
        )
        if ready:
            self.stdout.write(f"Served by {processes(len(ready))}.")
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
            with bar(row.reference, None, self._shows_progress(options), unit="file") as progress:

                def count(_: FileResult, progress: Callable[[int], None] = progress) -> None:
                    progress(1)

                evaluation = evaluating.evaluate(
                    row=row,
                    manifest=options["manifest"],
                    limit=options["limit"],
                    verbatim=options["verbatim"],
                    progress=count,
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
