"""Loads a model folder once in a process of its own, so that files which crash native code crash nothing else.

`check(path)` raises `ModelInvalid` with the reason, or returns what the model said about itself. The process is
`python -m ml.trial PATH`, which prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts, devices, engines, runtime
from ml.errors import MlError, ModelInvalid

TIMEOUT_SECONDS = 600.0
"""For loading and one second of audio: large models come from slow disks."""

_ROOT = Path(__file__).resolve().parent.parent
_MARK = "trial: "


@dataclass(frozen=True, slots=True)
class Trial:
    capabilities: dict[str, Any]
    memory_bytes: int  # by which the process grew


def check(path: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Trial:
    """Loads the folder and, where it recognises, lets it hear a second of noise. Raises `ModelInvalid`."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ml.trial", str(path)],
            cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=timeout_seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ModelInvalid(f"{path.name}: it did not load within {timeout_seconds:.0f} seconds.") from None
    report = _report(done.stdout)
    if report is None:
        raise ModelInvalid(f"{path.name}: loading it ended the process ({_how(done.returncode)}).{_last(done.stderr)}")
    if "error" in report:
        raise ModelInvalid(report["error"])
    return Trial(**report)


def _report(output: str) -> dict[str, Any] | None:
    """Libraries print too, so the line is marked."""
    lines = [line[len(_MARK) :] for line in output.splitlines() if line.startswith(_MARK)]
    return json.loads(lines[-1]) if lines else None


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _last(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return f" Its last words: {lines[-1][:300]}" if lines else ""


def main(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = devices.resident_bytes()
    try:
        engine = engines.load(runtime.for_engine(artifacts.read(path)))
        capabilities = _capabilities(engine)
        if hasattr(engine, "recognise"):
            _hear(engine)
        report: dict[str, Any] = {
            "capabilities": capabilities,
            "memory_bytes": max(0, devices.resident_bytes() - before),
        }
    except MlError as error:
        report = {"error": error.message}
    except Exception as error:
        report = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(f"\n{_MARK}{json.dumps(report)}\n")
    sys.stdout.flush()
    os._exit(0)  # native threads of a half-loaded engine may not let go


def _capabilities(engine: Any) -> dict[str, Any]:
    declared = getattr(engine, "capabilities", None)
    if not is_dataclass(declared) or isinstance(declared, type):
        return {}
    return {
        name: sorted(value) if isinstance(value, frozenset | set) else value for name, value in asdict(declared).items()
    }


def _hear(engine: Any) -> None:
    """A second of noise: whatever it recognises in it, it must answer in the engine's shape."""
    from ml.stt.engines.base import Hypothesis, Window

    noise = np.random.default_rng(0).normal(0, 300, 16_000).astype(np.int16)
    language = min(engine.capabilities.languages, default=None)
    heard = engine.recognise([Window(noise, language=language)])
    if len(heard) != 1 or not isinstance(heard[0], Hypothesis):
        raise ModelInvalid("It does not answer one hypothesis for one window.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
