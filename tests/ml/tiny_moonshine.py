"""Moonshine's two layouts. The encoder tells which tone sounds in each frame; the decoder writes them one by one."""

from __future__ import annotations

import base64

import numpy as np

from tests.ml.tiny_models import SYMBOLS, save_onnx, waveform_scores, write_manifest, write_tokens

MOONSHINE_STRIDE = 384  # samples a frame
MOONSHINE_TOKENS = ("<unk>", "<s>", "</s>", *SYMBOLS)


def save_moonshine(folder, *, name="tone-moonshine", settings=None):
    """Of four files: waveform → frames → encoded → the first token, and each next one."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes, constants = waveform_scores("args_0", stride=MOONSHINE_STRIDE)
    save_onnx(
        folder / "preprocess.onnx",
        [*nodes, ("Transpose", ["scores"], ["sequential"], {"perm": [0, 2, 1]})],
        [("args_0", "f", ["N", "T"])],
        [("sequential", "f", ["N", "S", 5])],
        constants,
        {},
    )
    save_onnx(
        folder / "encode.onnx",
        [("Identity", ["args_0"], ["encoded"], {})],
        [("args_0", "f", ["N", "S", 5]), ("args_1", "j", [1])],
        [("encoded", "f", ["N", "S", 5])],
        {},
        {},
    )
    listed, constants = _token_list("args_1")
    first = ("Constant", [], ["steps"], {"value_floats": [0.0]})
    following = ("Add", ["past", "one_more"], ["steps"], {})
    for file, counted, inputs in (
        ("uncached_decode", first, []),
        ("cached_decode", following, [("past", "f", [1])]),
    ):
        save_onnx(
            folder / f"{file}.onnx",
            [*listed, counted, *_written("steps"), ("Identity", ["steps"], ["state"], {})],
            [("args_0", "j", ["N", 1]), ("args_1", "f", ["N", "S", 5]), ("args_2", "j", [1]), *inputs],
            [("logits", "f", [1, 1, len(MOONSHINE_TOKENS)]), ("state", "f", [1])],
            constants | {"one_more": np.array([1.0], np.float32)},
            {},
        )
    write_tokens(folder, MOONSHINE_TOKENS)
    return write_manifest(folder, engine="sherpa", format="moonshine", name=name, settings=settings)


def save_moonshine_v2(folder, *, name="tone-moonshine-v2", settings=None):
    """Of two files: the decoder counts what it has written by the length of its own cache, as real ones do."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes, constants = waveform_scores("input_values", stride=MOONSHINE_STRIDE)
    save_onnx(
        folder / "encoder.onnx",
        [*nodes, ("Transpose", ["scores"], ["last_hidden_state"], {"perm": [0, 2, 1]})],
        [("input_values", "f", ["N", "T"])],
        [("last_hidden_state", "f", ["N", "S", 5])],
        constants,
        {},
    )
    listed, constants = _token_list("encoder_hidden_states")
    sides = [f"{side}.{part}" for side in ("decoder", "encoder") for part in ("key", "value")]
    save_onnx(
        folder / "decoder.onnx",
        [
            *listed,
            ("Shape", ["past_key_values.0.decoder.key"], ["steps"], {"start": 2, "end": 3}),
            *_written("steps"),
            ("Cast", ["input_ids"], ["id"], {"to": 1}),
            ("Reshape", ["id", "shape_1111"], ["new"], {}),
            ("ReduceMean", ["encoder_hidden_states"], ["mean"], {"axes": [2], "keepdims": 1}),
            ("Unsqueeze", ["mean", "axis_0"], ["heard"], {}),
            *((
                "Concat", [f"past_key_values.0.decoder.{part}", "new"], [f"present.0.decoder.{part}"], {"axis": 2}
            ) for part in ("key", "value")),
            *(("Identity", ["heard"], [f"present.0.encoder.{part}"], {}) for part in ("key", "value")),
            ("Identity", ["use_cache_branch"], ["cached"], {}),
        ],
        [("input_ids", "i", ["N", 1]), ("encoder_hidden_states", "f", ["N", "S", 5]),
         *((f"past_key_values.0.{side}", "f", ["N", 1, f"L_{side}", 1]) for side in sides),
         ("use_cache_branch", "b", [1])],
        [("logits", "f", [1, 1, len(MOONSHINE_TOKENS)]),
         *((f"present.0.{side}", "f", ["N", 1, f"M_{side}", 1]) for side in sides), ("cached", "b", [1])],
        constants | {"shape_1111": np.array([1, 1, 1, 1], np.int64)},
        {},
    )  # fmt: skip
    encoded = (base64.b64encode(token.replace("▁", " ").encode()).decode() for token in MOONSHINE_TOKENS)
    write_tokens(folder, tuple(encoded))
    return write_manifest(folder, engine="sherpa", format="moonshine", name=name, settings=settings)


def _token_list(encoded):
    """Nodes: the symbols of `encoded` (1, S, 5) without repeats and pauses, as numbers of `MOONSHINE_TOKENS`."""
    nodes = [
        ("ArgMax", [encoded], ["best"], {"axis": 2, "keepdims": 0}),  # 0: no tone
        ("Slice", ["best", "zero", "minus_one", "axis_1"], ["earlier"], {}),
        ("Pad", ["earlier", "pads"], ["before"], {}),
        ("Equal", ["best", "before"], ["same"], {}),
        ("Not", ["same"], ["begins"], {}),
        ("Greater", ["best", "no_tone"], ["sounds"], {}),
        ("And", ["begins", "sounds"], ["names"], {}),
        ("Squeeze", ["best", "axis_0"], ["row"], {}),
        ("Squeeze", ["names", "axis_0"], ["kept"], {}),
        ("Compress", ["row", "kept"], ["tones"], {"axis": 0}),
        ("Add", ["tones", "two"], ["numbers"], {}),
        ("Concat", ["numbers", "ends"], ["list"], {"axis": 0}),
    ]
    constants = {
        "zero": np.array([0], np.int64),
        "minus_one": np.array([-1], np.int64),
        "axis_0": np.array([0], np.int64),
        "axis_1": np.array([1], np.int64),
        "pads": np.array([0, 1, 0, 0], np.int64),
        "no_tone": np.array(0, np.int64),
        "two": np.array(2, np.int64),
        "ends": np.full(64, MOONSHINE_TOKENS.index("</s>"), np.int64),
        "depth": np.array(len(MOONSHINE_TOKENS), np.int64),
        "off_on": np.array([-10.0, 10.0], np.float32),
        "shape_111": np.array([1, 1], np.int64),
    }
    return nodes, constants


def _written(steps):
    """ "logits" (1, 1, symbols): of the token at place `steps` (1,) of the list."""
    return [
        ("Cast", [steps], ["place"], {"to": 7}),
        ("Gather", ["list", "place"], ["token"], {"axis": 0}),
        ("Reshape", ["token", "shape_111"], ["cell"], {}),
        ("OneHot", ["cell", "depth", "off_on"], ["logits"], {"axis": -1}),
    ]
