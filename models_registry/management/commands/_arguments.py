"""The command line of `manage.py models`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models_registry.models import ModelTask

EPILOG = """
A model is named as NAME or NAME@VERSION; without a version, the active one is meant, or the only one.
Exit status: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage.

examples:
  manage.py models pull --list                      what the catalogue has; --list hi: in Hindi
  manage.py models pull whisper-base                install and activate it
  manage.py models pull org/repo@v1.0 --name mine   any repository of the hub
  manage.py models export whisper-base w.tar        carry it to a machine without internet …
  manage.py models import w.tar                     … and install it there
  manage.py models activate whisper-base@<version>  let a version serve, whatever is known of it
  manage.py models promote mine@2 --canary 10       try it on every tenth request, if it makes no more errors
  manage.py models promote mine@2                   let it serve, if it makes no more errors
  manage.py models rollback mine                    one step back
  manage.py models evaluate --model whisper-base --manifest tests/audio/manifest.jsonl
"""


def add_actions(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_listing(actions)
    _add_moving(actions)
    _add_serving(actions)
    _add_rollouts(actions)
    _add_evaluating(actions)


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
    parser.add_argument("--list", action="store_true", help="show the catalogue, or what of it fits a word: hi, piper")
    parser.add_argument("--json", action="store_true", help="for programs: the catalogue, or what was installed")
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
    parser.add_argument("--json", action="store_true", help="for programs: what was installed")
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


def _add_rollouts(actions: Any) -> None:
    text = "Lets a version serve, or tries it, if it makes no more errors than the active one on known recordings."
    parser = _action(actions, "promote", text)
    parser.add_argument("model", metavar="NAME@VERSION")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="judge it on this, not on those registered")
    parser.add_argument(
        "--tolerance", type=_percent(0), default=0.0, metavar="POINTS",
        help="of word error rate by which it may be worse (0)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="whatever its error rate; needs --reason")
    parser.add_argument("--reason", metavar="TEXT", help="kept in the audit trail")
    trial = parser.add_argument_group("trying it first")
    modes = trial.add_mutually_exclusive_group()
    modes.add_argument("--canary", type=_percent(0.01), metavar="PERCENT", help="it answers so many requests")
    modes.add_argument(
        "--shadow", type=_percent(0.01), metavar="PERCENT", help="it hears so many requests, and answers none"
    )
    trial.add_argument("--org", metavar="SLUG", help="only this organisation's requests")
    trial.add_argument(
        "--max-failures", type=_percent(0), default=5.0, metavar="PERCENT", help="of a canary, or it is rolled back (5)"
    )
    trial.add_argument(
        "--max-slowdown", type=_at_least(1.0, float), default=2.0, metavar="TIMES",
        help="of a canary's median against the active version's, or it is rolled back (2)",
    )  # fmt: skip
    trial.add_argument(
        "--min-samples", type=_at_least(1, int), default=20, metavar="N", help="requests before speed is judged (20)"
    )
    _add_wait(parser)

    parser = _action(actions, "rollback", "One step back: ends the trial that runs, or activates the version before.")
    parser.add_argument("model", metavar="NAME")
    parser.add_argument("--reason", metavar="TEXT", help="kept in the audit trail")
    _add_wait(parser)

    parser = _action(actions, "rollouts", "Shows versions on trial beside those that serve.")
    parser.add_argument("--all", action="store_true", help="those that ended too")
    parser.add_argument("--json", action="store_true", help="for programs")

    parser = _action(actions, "manifest", "Registers the recordings that versions are judged on, or lists them.")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.jsonl", help="as `models evaluate` takes it")
    parser.add_argument("--org", metavar="SLUG", help="an organisation's own; else the installation's")
    parser.add_argument("--remove", action="store_true", help="register none any more")


def _percent(least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not least <= value <= 100:
            raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to 100")
        return value

    return parse


def _at_least(least: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least:g}")
        return value

    return parse


def _add_evaluating(actions: Any) -> None:
    parser = _action(actions, "evaluate", "Measures WER, CER and RTF on a manifest, and keeps them with the model.")
    parser.add_argument("--model", nargs=1, metavar="NAME[@VERSION]")
    parser.add_argument("--compare", nargs="+", metavar="NAME[@VERSION]", help="several, side by side")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON lines: audio, text, language")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N recordings")
    parser.add_argument(
        "--verbatim", action="store_true",
        help="compare words as they were said, not as Whisper's normaliser writes them: for spelled digits and letters",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
