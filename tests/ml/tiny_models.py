"""Builders of tiny real models: small graphs drawn here, saved as the engines read them, no network needed.

For Whisper see `tests.ml.tiny_whisper`, for voices `tests.ml.tiny_voices`.
"""

from __future__ import annotations

import numpy as np

from ml import artifacts


def write_manifest(folder, *, task="stt", engine, format, name, languages=("en",), settings=None, **fields):
    """A `model.json` for what lies in `folder`; returns it read."""
    manifest = artifacts.ModelManifest(
        task=task,
        family="tiny",
        name=name,
        version="1",
        engine=engine,
        format=format,
        languages=tuple(languages),
        settings=settings or {},
        files=artifacts.describe_files(folder),
        **fields,
    )
    artifacts.write(folder, manifest)
    return artifacts.read(folder)


# ── sherpa-onnx: graphs that name tones ─────────────────────────────────────────────────────────────────────────────

TONES = {"▁low": 300.0, "▁mid": 1000.0, "▁high": 3000.0, "er": 6000.0}
"""What the tone models say for a tone of so many hertz; "▁high" followed by "er" is the word "higher"."""

TONE_TOKENS = ("<blk>", *TONES)
SUBSAMPLING = 4
_MEL_BINS = 80


def tone_speech(*hertz, seconds=0.3, pause=0.3):
    """(n,) int16 at 16 kHz: tones between pauses."""
    parts = [np.zeros(int(16_000 * pause))]
    for frequency in hertz:
        parts.append(0.3 * np.sin(2 * np.pi * frequency * np.arange(int(16_000 * seconds)) / 16_000))
        parts.append(np.zeros(int(16_000 * pause)))
    return (np.concatenate(parts) * 32767).astype(np.int16)


def _tone_projection():
    """(80, 5) and (5,): log-mel energies → a score a token, over 0 where the tone sounds; the blank's is 0."""
    edges = np.linspace(_mel(20.0), _mel(7600.0), _MEL_BINS + 2)[1:-1]
    weights = np.zeros((_MEL_BINS, len(TONE_TOKENS)), np.float32)
    for column, frequency in enumerate(TONES.values(), start=1):
        near = np.argsort(np.abs(edges - _mel(frequency)))[:1]
        weights[:, column] = -1.0 / _MEL_BINS
        weights[near, column] += 1.0
    bias = np.array([0.0] + [-7.0] * len(TONES), np.float32)
    return weights, bias


def _mel(hertz):
    return 1127.0 * np.log(1.0 + hertz / 700.0)


def write_tokens(folder, tokens=TONE_TOKENS):
    (folder / "tokens.txt").write_text("".join(f"{symbol} {number}\n" for number, symbol in enumerate(tokens)))


def _save_onnx(path, nodes, inputs, outputs, constants, metadata):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "j": TensorProto.INT32}
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **attributes) for kind, ins, outs, attributes in nodes],
        path.stem,
        [helper.make_tensor_value_info(name, kinds[kind], shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kinds[kind], shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _encoder_nodes():
    """Every fourth frame of x (N, T, 80), as scores (N, T/4, 5)."""
    weights, bias = _tone_projection()
    constants = {
        "start": np.array([0], np.int64),
        "end": np.array([2**31], np.int64),
        "axis": np.array([1], np.int64),
        "step": np.array([SUBSAMPLING], np.int64),
        "weights": weights,
        "bias": bias,
    }
    nodes = [
        ("Slice", ["x", "start", "end", "axis", "step"], ["sliced"], {}),
        ("MatMul", ["sliced", "weights"], ["projected"], {}),
        ("Add", ["projected", "bias"], ["scores"], {}),
    ]
    return nodes, constants


def _length_nodes():
    """ceil(x_lens / 4)."""
    nodes = [
        ("Add", ["x_lens", "three"], ["raised"], {}),
        ("Div", ["raised", "four"], ["out_lens"], {}),
    ]
    return nodes, {"three": np.array([3], np.int64), "four": np.array([4], np.int64)}


def _save_transducer_parts(folder, metadata):
    """The decoder forbids a token to follow itself, the joiner adds: a tone is named once."""
    size = len(TONE_TOKENS)
    forbid = np.zeros((size, size), np.float32)
    forbid[np.arange(1, size), np.arange(1, size)] = -100.0
    _save_onnx(
        folder / "decoder.onnx",
        [
            ("Max", ["y", "zero"], ["known"], {}),  # a beam search starts from −1
            ("Gather", ["known", "last"], ["previous"], {"axis": 1}),
            ("Gather", ["forbid", "previous"], ["decoder_out"], {"axis": 0}),
        ],
        [("y", "i", ["N", 2])],
        [("decoder_out", "f", ["N", size])],
        {"zero": np.array(0, np.int64), "last": np.array(1, np.int64), "forbid": forbid},
        metadata,
    )
    _save_onnx(
        folder / "joiner.onnx",
        [("Add", ["encoder_out", "decoder_out"], ["logit"], {})],
        [("encoder_out", "f", ["N", size]), ("decoder_out", "f", ["N", size])],
        [("logit", "f", ["N", size])],
        {},
        {"joiner_dim": size},
    )
    write_tokens(folder)


def save_transducer(folder, *, metadata=None, name="tone-transducer", settings=None):
    folder.mkdir(parents=True, exist_ok=True)
    nodes, constants = _encoder_nodes()
    nodes[-1] = ("Add", ["projected", "bias"], ["encoder_out"], {})
    lengths, more = _length_nodes()
    lengths[-1] = ("Div", ["raised", "four"], ["encoder_out_lens"], {})
    size = len(TONE_TOKENS)
    _save_onnx(
        folder / "encoder.onnx",
        [*nodes, *lengths],
        [("x", "f", ["N", "T", _MEL_BINS]), ("x_lens", "i", ["N"])],
        [("encoder_out", "f", ["N", "S", size]), ("encoder_out_lens", "i", ["N"])],
        constants | more,
        {},
    )
    _save_transducer_parts(folder, {"vocab_size": size, "context_size": 2} if metadata is None else metadata)
    return write_manifest(folder, engine="sherpa", format="transducer", name=name, settings=settings)


def save_streaming_transducer(folder, *, metadata=None, name="tone-streaming", settings=None):
    """Of the kind "lstm", whose two states pass through."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes, constants = _encoder_nodes()
    nodes[-1] = ("Add", ["projected", "bias"], ["encoder_out"], {})
    size = len(TONE_TOKENS)
    about = {
        "model_type": "lstm",
        "num_encoder_layers": 1,
        "T": 16,
        "decode_chunk_len": 16,
        "rnn_hidden_size": 2,
        "d_model": 2,
    }
    _save_onnx(
        folder / "encoder.onnx",
        [*nodes, ("Identity", ["h"], ["next_h"], {}), ("Identity", ["c"], ["next_c"], {})],
        [("x", "f", ["N", "T", _MEL_BINS]), ("h", "f", [1, "N", 2]), ("c", "f", [1, "N", 2])],
        [("encoder_out", "f", ["N", "S", size]), ("next_h", "f", [1, "N", 2]), ("next_c", "f", [1, "N", 2])],
        constants,
        about if metadata is None else metadata,
    )
    _save_transducer_parts(folder, {"vocab_size": size, "context_size": 2})
    return write_manifest(folder, engine="sherpa", format="streaming_transducer", name=name, settings=settings)


def save_ctc(folder, *, metadata=None, name="tone-ctc", settings=None):
    """Of the kind "zipformer_ctc"."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes, constants = _encoder_nodes()
    lengths, more = _length_nodes()
    lengths[-1] = ("Div", ["raised", "four"], ["log_probs_len"], {})
    size = len(TONE_TOKENS)
    _save_onnx(
        folder / "model.onnx",
        [*nodes, ("LogSoftmax", ["scores"], ["log_probs"], {"axis": -1}), *lengths],
        [("x", "f", ["N", "T", _MEL_BINS]), ("x_lens", "i", ["N"])],
        [("log_probs", "f", ["N", "S", size]), ("log_probs_len", "i", ["N"])],
        constants | more,
        {"vocab_size": size} if metadata is None else metadata,
    )
    write_tokens(folder)
    settings = {"model_type": "zipformer_ctc", **(settings or {})}
    return write_manifest(folder, engine="sherpa", format="ctc", name=name, settings=settings)


def save_embedding(folder, *, metadata=None, file="model.onnx", manifest=True):
    """A "voice" is the mean of log-mel energies, less their mean."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "framework": "wespeaker",
        "language": "en",
        "output_dim": _MEL_BINS,
        "sample_rate": 16_000,
        "normalize_samples": 1,
        "feature_normalize_type": "",
    }
    _save_onnx(
        folder / file,
        [
            ("ReduceMean", ["x"], ["mean"], {"axes": [1], "keepdims": 0}),
            ("ReduceMean", ["mean"], ["level"], {"axes": [1], "keepdims": 1}),
            ("Sub", ["mean", "level"], ["embedding"], {}),
        ],
        [("x", "f", ["N", "T", _MEL_BINS])],
        [("embedding", "f", ["N", _MEL_BINS])],
        {},
        about if metadata is None else metadata,
    )
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
    _save_onnx(
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
    _save_onnx(
        folder / "model.onnx",
        [("Gather", ["table", "inputs"], ["logits"], {"axis": 0}), ("Identity", ["text_lengths"], ["lengths"], {})],
        [("inputs", "j", ["N", "T"]), ("text_lengths", "j", ["N"])],
        [("logits", "f", ["N", "T", len(marks)]), ("lengths", "j", ["N"])],
        {"table": table},
        about if metadata is None else metadata,
    )
    return write_manifest(folder, task="punctuation", engine="sherpa", format="ct_transformer", name="tiny-marks")
