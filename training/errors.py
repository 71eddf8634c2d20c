"""One tree of errors for the recipes.

    TrainingError
    ├─ ConfigInvalid      the YAML or an override does not describe a run
    ├─ ManifestInvalid    the data cannot be trained on; carries every problem as `file:line: reason`
    ├─ CheckpointInvalid  a checkpoint does not belong to this run
    └─ ExportInvalid      an exported model differs from the trained one

A script turns any of them into one message and exit status 2; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

SHOWN_PROBLEMS = 20


class TrainingError(Exception):
    """Base of every error that a recipe raises on purpose."""


class ConfigInvalid(TrainingError):
    """A configuration file or an override that does not describe a run."""


class CheckpointInvalid(TrainingError):
    """A checkpoint of another configuration, or one that is damaged."""


class ExportInvalid(TrainingError):
    """An exported model whose output differs from the model it was exported from."""


class ManifestInvalid(TrainingError):
    """Data that cannot be trained on. `problems` holds one `file:line: reason` each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = "\n  ".join(self.problems[:SHOWN_PROBLEMS])
        more = len(self.problems) - SHOWN_PROBLEMS
        tail = f"\n  … and {more} more" if more > 0 else ""
        super().__init__(f"{len(self.problems)} problem(s) in the manifests:\n  {shown}{tail}")


def run_script(main: Callable[[], None]) -> None:
    """Run a recipe's `main`, answering a deliberate error with its message and exit status 2."""
    try:
        main()
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
