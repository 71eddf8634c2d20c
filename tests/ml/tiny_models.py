"""What the tiny real models of the tests are made of: graphs of a few nodes, drawn here, that name the tones they hear.

`tiny_transducers`, `tiny_ctc`, `tiny_moonshine` and `tiny_helpers` build the models of sherpa-onnx, which are decoded
for real: the library computes its own features, runs the graph and searches, and what comes out is what was played.
What differs is what a test must not take for granted: features, layouts, where the blank is, batches, states, metadata.
Names and shapes were read in the library's sources (csrc/offline-*-model.cc), version 2.0.1. For Whisper see
`tiny_whisper` and `tiny_whisper_onnx`, for voices `tiny_voices`.
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


# ── Tones ───────────────────────────────────────────────────────────────────────────────────────────────────────────

TONES = {"▁low": 300.0, "▁mid": 1000.0, "▁high": 3000.0, "er": 6000.0}
"""What the tone models say for a tone of so many hertz; "▁high" followed by "er" is the word "higher"."""

TONE_TOKENS = ("<blk>", *TONES)
SUBSAMPLING = 4
MEL_BINS = 80


def tone_speech(*hertz, seconds=0.3, pause=0.3):
    """(n,) int16 at 16 kHz: tones between pauses."""
    parts = [np.zeros(int(16_000 * pause))]
    for frequency in hertz:
        parts.append(0.3 * np.sin(2 * np.pi * frequency * np.arange(int(16_000 * seconds)) / 16_000))
        parts.append(np.zeros(int(16_000 * pause)))
    return (np.concatenate(parts) * 32767).astype(np.int16)


# ── Graphs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_tokens(folder, tokens=TONE_TOKENS):
    (folder / "tokens.txt").write_text("".join(f"{symbol} {number}\n" for number, symbol in enumerate(tokens)))


def save_onnx(path, nodes, inputs, outputs, constants, metadata):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "j": TensorProto.INT32, "b": TensorProto.BOOL}
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


SYMBOLS = tuple(TONES)
BLANK_LAST = (*SYMBOLS, "<blk>")
THRESHOLD = 7.0  # a tone's band is so much louder than the mean of all, in natural logarithms


# ── Scores of frames ────────────────────────────────────────────────────────────────────────────────────────────────


def slaney(hertz):
    """NeMo's and librosa's mel scale."""
    hertz = np.asarray(hertz, float)
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1e-9) / 1000) / np.log(6.4) * 27)


def kaldi(hertz):
    return 1127.0 * np.log(1.0 + np.asarray(hertz, float) / 700.0)


def projection(mel=kaldi, low=20.0, high=7600.0, bins=80):
    """(bins, 4): log-mel energies → how much louder a tone's band is than the mean of all."""
    centres = np.linspace(mel(low), mel(high), bins + 2)[1:-1]
    weights = np.full((bins, len(SYMBOLS)), -1.0 / bins, np.float32)
    for column, hertz in enumerate(TONES.values()):
        weights[np.argmin(np.abs(centres - mel(hertz))), column] += 1.0
    return weights


def with_blank(weights, place):
    """The blank's column, whose score is `THRESHOLD` over the tones' zero."""
    weights = np.insert(weights, place, 0.0, axis=1)
    bias = np.full(weights.shape[1], -THRESHOLD, np.float32)
    bias[place] = 0.0
    return weights.astype(np.float32), bias


def scores_of(features, weights, bias, *, out, axis=1):
    """Nodes and constants: every fourth frame of `features` (N, T, bins), as scores (N, T / 4, symbols)."""
    constants = {
        "start": np.array([0], np.int64),
        "end": np.array([2**31], np.int64),
        "axis": np.array([axis], np.int64),
        "step": np.array([SUBSAMPLING], np.int64),
        "weights": weights,
        "bias": bias,
    }
    nodes = [
        ("Slice", [features, "start", "end", "axis", "step"], ["sliced"], {}),
        ("MatMul", ["sliced", "weights"], ["projected"], {}),
        ("Add", ["projected", "bias"], [out], {}),
    ]
    return nodes, constants


def lengths_of(lengths, *, out):
    """ceil(lengths / 4)."""
    nodes = [("Add", [lengths, "three"], ["raised"], {}), ("Div", ["raised", "four"], [out], {})]
    return nodes, {"three": np.array([3], np.int64), "four": np.array([4], np.int64)}


def waveform_scores(samples, *, stride):
    """`samples` (N, T) → "scores" (N, 5, T / stride): the energy at each tone, less half of what one has."""
    width = 400
    time = np.arange(width) / 16_000
    waves = [wave(2 * np.pi * hertz * time) for hertz in TONES.values() for wave in (np.cos, np.sin)]
    kernels = np.stack(waves)[:, None].astype(np.float32) * 2 / width  # one of amplitude a gives a² in both together
    gather = np.zeros((5, 8, 1), np.float32)
    for tone in range(4):
        gather[tone + 1, 2 * tone : 2 * tone + 2] = 100.0
    nodes = [
        ("Unsqueeze", [samples, "channel"], ["wave"], {}),
        ("Conv", ["wave", "kernels"], ["heard"], {"strides": [stride]}),
        ("Mul", ["heard", "heard"], ["energy"], {}),
        ("Conv", ["energy", "gather", "rest"], ["scores"], {}),
    ]
    rest = np.array([0.0] + [-2.0] * 4, np.float32)
    return nodes, {"channel": np.array([1], np.int64), "kernels": kernels, "gather": gather, "rest": rest}
