"""Speech to text.

`transcribe(path, options, caller=…)` takes any media file to a `Transcript`; `models()` says what is there. `install`,
`reload` and `uninstall` change that while requests run.

The names are loaded when they are first used: an engine can be imported without the pipeline and
what that decodes with.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.stt.pipeline import transcribe
    from ml.stt.registry import (
        ModelInfo,
        Resolution,
        install,
        models,
        register,
        reload,
        resolve,
        uninstall,
        unregister,
    )

__all__ = [
    "ModelInfo",
    "Resolution",
    "install",
    "models",
    "register",
    "reload",
    "resolve",
    "transcribe",
    "uninstall",
    "unregister",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "ml.stt.pipeline" if name == "transcribe" else "ml.stt.registry"
    return getattr(importlib.import_module(module), name)
