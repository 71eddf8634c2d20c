"""Who is told? A progress bar on a terminal, TensorBoard, and a JSON line for each report."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from tqdm import tqdm


class Reporter:
    """Reports of the first process; the others' are silent."""

    def __init__(self, folder: Path, *, total_steps: int, first_step: int, active: bool) -> None:
        self._file: TextIO | None = None
        self._started = time.monotonic()
        self._bar = tqdm(
            total=total_steps, initial=first_step, unit="step", disable=not (active and sys.stderr.isatty())
        )
        if active:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))
            self._file = (folder / "log.jsonl").open("a", encoding="utf-8")

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._file:
            self._file.close()
            self._board.close()

    def advance(self) -> None:
        """One step is done."""
        self._bar.update()

    def report(self, event: str, step: int, values: dict[str, float]) -> None:
        """Write one event's figures to every listener."""
        if not self._file:
            return
        row = {"event": event, "step": step, "seconds": round(time.monotonic() - self._started, 2), **values}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{event}/{name}", value, step)
        self._bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()})
        if self._bar.disable and event != "train":
            print(json.dumps(row), flush=True)
