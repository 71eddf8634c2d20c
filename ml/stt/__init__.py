"""Speech to text. `transcribe(path, options)` takes any media file to a `Transcript`; `models()` says what is there."""

from ml.stt.pipeline import transcribe
from ml.stt.registry import ModelInfo, Resolution, models, register, resolve, unregister

__all__ = ["ModelInfo", "Resolution", "models", "register", "resolve", "transcribe", "unregister"]
