"""How does a model folder decode? By plain sherpa-onnx, as the server does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import ExportInvalid
from training.stt.audio import AudioStore

BATCH_UTTERANCES = 16


def find_part(folder: Path, part: str) -> str:
    """The graph of a part: int8 where there is one."""
    for name in (f"{part}.int8.onnx", f"{part}.onnx"):
        if (folder / name).is_file():
            return str(folder / name)
    raise ExportInvalid(f"{folder}: no {part}")


def open_recognizer(folder: Path, *, threads: int = 1, **decoding: Any) -> Any:
    """A sherpa-onnx recognizer; `decoding` holds `decoding_method`, `max_active_paths`, `blank_penalty` and so on."""
    import sherpa_onnx

    return sherpa_onnx.OfflineRecognizer.from_transducer(
        encoder=find_part(folder, "encoder"),
        decoder=find_part(folder, "decoder"),
        joiner=find_part(folder, "joiner"),
        tokens=str(folder / "tokens.txt"),
        num_threads=threads,
        **decoding,
    )


def decode(recognizer: Any, store: AudioStore, indices: Sequence[int]) -> list[str]:
    """The text of each recording, decoded in batches."""
    texts: list[str] = []
    for start in range(0, len(indices), BATCH_UTTERANCES):
        streams = []
        for index in indices[start : start + BATCH_UTTERANCES]:
            stream = recognizer.create_stream()
            stream.accept_waveform(store.sample_rate, store.read(index))
            streams.append(stream)
        recognizer.decode_streams(streams)
        texts += [" ".join(stream.result.text.lower().split()) for stream in streams]
    return texts
