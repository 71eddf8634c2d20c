"""Models that live tests hear with: a streaming one and an offline one, both tiny and real, beside the embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml import stt

STREAMING, WHISPER, EMBEDDED = "tone-streaming", "tiny-whisper", "pocketsphinx-en-us"


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """The models can be asked for by name; nobody gets them who does not."""
    import torch

    from tests.ml import tiny_transducers, tiny_whisper

    torch.set_num_threads(1)
    cpu = {"device": "cpu", "compute_type": "float32", "threads": 1}
    models = (
        tiny_transducers.save_streaming_transducer(folder / "streaming", name=STREAMING),
        tiny_whisper.save_ctranslate2(tiny_whisper.trained_whisper(), folder / "whisper", name=WHISPER, settings=cpu),
    )
    for model in models:
        stt.install(model, priority=0)
    try:
        yield
    finally:
        for model in models:
            stt.uninstall(model.manifest.name)
