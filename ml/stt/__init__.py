"""Speech to text.

`transcribe(path, options, caller=…)` takes any media file to a `Transcript`; `models()` says what is there. `install`,
`reload` and `uninstall` change that while requests run.
"""

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
