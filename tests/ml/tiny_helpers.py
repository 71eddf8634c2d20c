"""Helpers of recognition: punctuation, speaker embedding, diarization."""

from __future__ import annotations

import numpy as np

from tests.ml.tiny_models import MEL_BINS, save_onnx, write_manifest


def save_embedding(folder, *, framework="wespeaker", file="model.onnx", manifest=True):
    """A "voice" is the mean of log-mel energies, less their mean. Of any framework; NeMo's hears (N, 80, T)."""
    folder.mkdir(parents=True, exist_ok=True)
    nemo = framework == "nemo"
    about = {"framework": framework, "language": "en", "output_dim": MEL_BINS, "sample_rate": 16_000}
    own = {"normalize_samples": 1, "feature_normalize_type": ""}
    if nemo:
        own = {"feat_dim": MEL_BINS, "window_size_ms": 25, "window_stride_ms": 10}
    nodes = [
        ("ReduceMean", ["x"], ["mean"], {"axes": [2 if nemo else 1], "keepdims": 0}),
        ("ReduceMean", ["mean"], ["level"], {"axes": [1], "keepdims": 1}),
        ("Sub", ["mean", "level"], ["embedding"], {}),
    ]
    inputs, outputs = [("x", "f", ["N", "T", MEL_BINS])], [("embedding", "f", ["N", MEL_BINS])]
    if nemo:  # whose first output, the speakers that it was trained on, is not asked for
        nodes.append(("Identity", ["level"], ["logits"], {}))
        inputs = [("x", "f", ["N", MEL_BINS, "T"]), ("length", "i", ["N"])]
        outputs.insert(0, ("logits", "f", ["N", 1]))
    save_onnx(folder / file, nodes, inputs, outputs, {}, about | own)
    if manifest:
        return write_manifest(folder, task="speaker", engine="sherpa", format="embedding", name="tone-voice")
    return None


def save_diarization(folder, *, settings=None):
    """Deep tones are one local speaker, high tones another: told by the mean of |x| and of its differences."""
    folder.mkdir(parents=True, exist_ok=True)
    mixing = np.zeros((7, 2, 1), np.float32)
    mixing[1, :, 0] = 20.0, -40.0  # |x| well over its differences: up to 1 kHz
    mixing[2, :, 0] = -8.0, 20.0
    bias = np.array([0.5, 0, 0, -99, -99, -99, -99], np.float32)
    pool = {"kernel_shape": [400], "strides": [160]}
    save_onnx(
        folder / "segmentation.onnx",
        [
            ("Abs", ["x"], ["size"], {}),
            ("AveragePool", ["size"], ["energy"], pool),
            ("Conv", ["x", "difference"], ["change"], {"pads": [1, 0]}),
            ("Abs", ["change"], ["speed"], {}),
            ("AveragePool", ["speed"], ["pitch"], pool),
            ("Concat", ["energy", "pitch"], ["both"], {"axis": 1}),
            ("Conv", ["both", "mixing", "bias"], ["scores"], {}),
            ("Transpose", ["scores"], ["turned"], {"perm": [0, 2, 1]}),
            ("LogSoftmax", ["turned"], ["y"], {"axis": -1}),
        ],
        [("x", "f", ["N", 1, "T"])],
        [("y", "f", ["N", "S", 7])],
        {"difference": np.array([[[-1.0, 1.0]]], np.float32), "mixing": mixing, "bias": bias},
        {
            "num_speakers": 3,
            "powerset_max_classes": 2,
            "num_classes": 7,
            "sample_rate": 16_000,
            "window_size": 160_000,
            "receptive_field_size": 400,
            "receptive_field_shift": 160,
        },
    )
    save_embedding(folder, file="embedding.onnx", manifest=False)
    return write_manifest(
        folder, task="diarization", engine="sherpa", format="pyannote", name="tone-turns", settings=settings
    )


def save_punctuation(folder, *, metadata=None):
    """A full stop after "river", a comma after "city", a question mark after "why"."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["<unk>", "the", "city", "river", "why", "walked", "along"]
    marks = ["<unk>", "_", "，", "。", "？", "、"]
    table = np.zeros((len(tokens), len(marks)), np.float32)
    table[:, 1] = 1.0
    for word, mark in (("city", "，"), ("river", "。"), ("why", "？")):
        table[tokens.index(word), marks.index(mark)] = 2.0
    about = {
        "tokens": "|".join(tokens),
        "punctuations": "|".join(marks),
        "unk_symbol": "<unk>",
        "vocab_size": len(tokens),
    }
    save_onnx(
        folder / "model.onnx",
        [("Gather", ["table", "inputs"], ["logits"], {"axis": 0}), ("Identity", ["text_lengths"], ["lengths"], {})],
        [("inputs", "j", ["N", "T"]), ("text_lengths", "j", ["N"])],
        [("logits", "f", ["N", "T", len(marks)]), ("lengths", "j", ["N"])],
        {"table": table},
        about if metadata is None else metadata,
    )
    return write_manifest(folder, task="punctuation", engine="sherpa", format="ct_transformer", name="tiny-marks")
