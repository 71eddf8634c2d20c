"""Transducers: of icefall for whole windows and for streams, of NeMo, and language models beside them."""

from __future__ import annotations

import struct

import numpy as np

from tests.ml.tiny_models import (
    BLANK_LAST,
    MEL_BINS,
    SUBSAMPLING,
    SYMBOLS,
    TONE_TOKENS,
    lengths_of,
    projection,
    save_onnx,
    scores_of,
    slaney,
    with_blank,
    write_manifest,
    write_tokens,
)

TWIN = "▁med"
"""A word that sounds as "▁mid" does, a little less likely by sound."""

_TWIN_OF, _TWIN_GAP = 2, 0.5  # the place of "▁mid" in the tokens, and how much less likely


def save_transducer(folder, *, metadata=None, name="tone-transducer", twin=False, settings=None):
    """A tone is named once: the decoder forbids the last token. With `twin` the vocabulary has `TWIN` too."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes, constants, size = _heard(twin)
    lengths, more = lengths_of("x_lens", out="encoder_out_lens")
    save_onnx(
        folder / "encoder.onnx",
        [*nodes, *lengths],
        [("x", "f", ["N", "T", MEL_BINS]), ("x_lens", "i", ["N"])],
        [("encoder_out", "f", ["N", "S", size]), ("encoder_out_lens", "i", ["N"])],
        constants | more,
        {},
    )
    _save_parts(folder, twin, {"vocab_size": size, "context_size": 2} if metadata is None else metadata)
    return write_manifest(folder, engine="sherpa", format="transducer", name=name, settings=settings)


_CHUNK = {"T": 16, "decode_chunk_len": 16}
STREAMING_KINDS = {
    # what an encoder's metadata says of its states, and their shapes; those that are whole numbers end in an "i"
    "lstm": ({"num_encoder_layers": 1, "rnn_hidden_size": 2, "d_model": 2}, [(1, "N", 2), (1, "N", 2)]),
    "conformer": (
        {"num_encoder_layers": 2, "left_context": 4, "encoder_dim": 8, "pad_length": 0, "cnn_module_kernel": 5},
        [(2, 4, "N", 8), (2, 4, "N", 8)],
    ),
    "zipformer": (
        {"encoder_dims": 8, "attention_dims": 4, "num_encoder_layers": 2, "cnn_module_kernels": 5,
         "left_context_len": 4},
        [(2, "N", "i"), (2, "N", 8), (2, 4, "N", 4), (2, 4, "N", 2), (2, 4, "N", 2), (2, "N", 8, 4), (2, "N", 8, 4)],
    ),
    "zipformer2": (
        {"encoder_dims": "8,12", "query_head_dims": "2,2", "value_head_dims": "3,3", "num_heads": "2,2",
         "num_encoder_layers": "1,1", "cnn_module_kernels": "5,7", "left_context_len": "4,2"},
        [*((left, "N", 4) if part == 0 else (1, "N", left, 3 * dim // 4) if part == 1 else (left, "N", 6)
           if part < 4 else ("N", dim, kernel // 2)
           for dim, kernel, left in ((8, 5, 4), (12, 7, 2)) for part in range(6)),
         ("N", 128, 3, 19), ("N", "i")],
    ),
}  # fmt: skip


def save_streaming_transducer(folder, *, kind="lstm", metadata=None, name="tone-streaming", twin=False, settings=None):
    """Hears each chunk by itself; the states pass through, those of whole numbers counting the chunks."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes, constants, size = _heard(twin)
    about, shapes = STREAMING_KINDS[kind]
    inputs, outputs = [("x", "f", ["N", "T", MEL_BINS])], [("encoder_out", "f", ["N", "S", size])]
    for number, shape in enumerate(shapes):
        whole = shape[-1] == "i"
        dims = list(shape[:-1] if whole else shape)
        inputs.append((f"state_{number}", "i" if whole else "f", dims))
        outputs.append((f"next_{number}", "i" if whole else "f", dims))
        counted = ("Add", [f"state_{number}", "one"], [f"next_{number}"], {})
        nodes.append(counted if whole else ("Identity", [f"state_{number}"], [f"next_{number}"], {}))
    if kind == "conformer":
        inputs.append(("processed_lens", "i", ["N"]))
    save_onnx(
        folder / "encoder.onnx",
        nodes,
        inputs,
        outputs,
        constants | {"one": np.array(1, np.int64)},
        {"model_type": kind, **_CHUNK, **about} if metadata is None else metadata,
    )
    _save_parts(folder, twin, {"vocab_size": size, "context_size": 2})
    return write_manifest(folder, engine="sherpa", format="streaming_transducer", name=name, settings=settings)


def _heard(twin):
    """Nodes and constants of "encoder_out", and the number of tokens."""
    weights, bias = with_blank(projection(), 0)
    if twin:
        weights = np.c_[weights, weights[:, _TWIN_OF]]
        bias = np.append(bias, bias[_TWIN_OF] - _TWIN_GAP).astype(np.float32)
    nodes, constants = scores_of("x", weights, bias, out="encoder_out")
    return nodes, constants, len(bias)


def _save_parts(folder, twin, metadata):
    """Decoder and joiner, which adds."""
    tokens = (*TONE_TOKENS, TWIN) if twin else TONE_TOKENS
    size = len(tokens)
    forbid = np.zeros((size, size), np.float32)
    forbid[np.arange(1, size), np.arange(1, size)] = -100.0
    if twin:
        forbid[_TWIN_OF, -1] = forbid[-1, _TWIN_OF] = -100.0
    save_onnx(
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
    save_onnx(
        folder / "joiner.onnx",
        [("Add", ["encoder_out", "decoder_out"], ["logit"], {})],
        [("encoder_out", "f", ["N", size]), ("decoder_out", "f", ["N", size])],
        [("logit", "f", ["N", size])],
        {},
        {"joiner_dim": size},
    )
    write_tokens(folder, tokens)


# ── Language models beside them ─────────────────────────────────────────────────────────────────────────────────────


def save_window_lm(path, costs):
    """The negative log-likelihood of whole sentences (N, L), from the cost of each token; padding is free."""
    save_onnx(
        path,
        [("Gather", ["costs", "x"], ["each"], {"axis": 0}), ("ReduceSum", ["each", "axis"], ["nll"], {"keepdims": 0})],
        [("x", "i", ["N", "L"]), ("x_lens", "i", ["N"])],
        [("nll", "f", ["N"])],
        {"costs": np.asarray(costs, np.float32), "axis": np.array([1], np.int64)},
        {},
    )


def save_stream_lm(path, costs):
    """The log-probabilities of what follows a token: here the same whatever went before; its states pass through."""
    table = np.tile(-np.asarray(costs, np.float32), (len(costs), 1))
    save_onnx(
        path,
        [
            ("Gather", ["table", "x"], ["log_probs"], {"axis": 0}),
            ("Identity", ["h0"], ["next_h0"], {}),
            ("Identity", ["c0"], ["next_c0"], {}),
        ],
        [("x", "i", ["N", "L"]), ("h0", "f", [1, "N", 2]), ("c0", "f", [1, "N", 2])],
        [("log_probs", "f", ["N", "L", len(costs)]), ("next_h0", "f", [1, "N", 2]), ("next_c0", "f", [1, "N", 2])],
        {"table": table},
        {"num_layers": 1, "hidden_size": 2, "sos_id": 0},
    )


def save_lodr(path, costs):
    """A unigram of a transducer's own language in OpenFst's binary format: state 0 backs off to state 1, which loops.

    The backing-off arc's input is the number after the last token's, its output nothing; arcs are sorted by input.
    """
    arcs = {0: [(len(costs), 0, 0.0, 1)], 1: [(token, token, cost, 1) for token, cost in enumerate(costs) if token]}
    vector, standard = b"vector", b"standard"
    out = struct.pack("<ii", 2125659606, len(vector)) + vector + struct.pack("<i", len(standard)) + standard
    count = sum(map(len, arcs.values()))
    out += struct.pack("<iiQqqq", 2, 0, 3, 0, len(arcs), count)  # version, flags, properties, start, states, arcs
    for state in arcs.values():
        out += struct.pack("<fq", 0.0, len(state))
        for arc in state:
            out += struct.pack("<iifi", *arc)
    path.write_bytes(out)


# ── NeMo's ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def save_nemo_transducer(folder, *, durations=0, name="tone-nemo-transducer", settings=None):
    """A tone is named once: the decoder forbids the last symbol, and its two states pass through.

    durations: of a token-and-duration transducer, which says after each symbol how many frames to skip; 0: none. The
    library knows one by the "tdt" in its "url".
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = len(BLANK_LAST)
    weights, bias = with_blank(projection(slaney, 0.0, 8000.0), len(SYMBOLS))
    nodes, constants = scores_of("frames", weights, bias, out="scores")
    lengths, more = lengths_of("length", out="encoded_lengths")
    about = {"vocab_size": len(SYMBOLS), "subsampling_factor": SUBSAMPLING, "normalize_type": "NA"}
    save_onnx(
        folder / "encoder.onnx",
        [
            ("Transpose", ["audio_signal"], ["frames"], {"perm": [0, 2, 1]}),
            *nodes,
            ("Transpose", ["scores"], ["outputs"], {"perm": [0, 2, 1]}),
            *lengths,
        ],
        [("audio_signal", "f", ["N", 80, "T"]), ("length", "i", ["N"])],
        [("outputs", "f", ["N", size, "S"]), ("encoded_lengths", "i", ["N"])],
        constants | more,
        about | {"pred_rnn_layers": 1, "pred_hidden": 2} | ({"url": "a-tdt-model"} if durations else {}),
    )
    forbid = np.zeros((size, size), np.float32)
    forbid[np.arange(size - 1), np.arange(size - 1)] = -100.0
    save_onnx(
        folder / "decoder.onnx",
        [
            ("Gather", ["forbid", "targets"], ["rows"], {"axis": 0}),
            ("Transpose", ["rows"], ["outputs"], {"perm": [0, 2, 1]}),
            ("Identity", ["target_length"], ["prednet_lengths"], {}),
            ("Identity", ["states.1"], ["h"], {}),
            ("Identity", ["states.2"], ["c"], {}),
        ],
        [
            ("targets", "j", ["N", "U"]),
            ("target_length", "j", ["N"]),
            ("states.1", "f", [1, "N", 2]),
            ("states.2", "f", [1, "N", 2]),
        ],
        [
            ("outputs", "f", ["N", size, "U"]),
            ("prednet_lengths", "j", ["N"]),
            ("h", "f", [1, "N", 2]),
            ("c", "f", [1, "N", 2]),
        ],
        {"forbid": forbid},
        {},
    )
    _save_nemo_joiner(folder / "joiner.onnx", size, durations)
    write_tokens(folder, BLANK_LAST)
    settings = {"model_type": "nemo_transducer", "threads": 1, **(settings or {})}
    return write_manifest(folder, engine="sherpa", format="transducer", name=name, settings=settings)


def _save_nemo_joiner(path, size, durations):
    """The sum, (N, 1, 1, symbols), and for each of the durations a score: one frame is the best, always."""
    nodes = [
        ("Add", ["encoder_outputs", "decoder_outputs"], ["sum"], {}),
        ("Transpose", ["sum"], ["turned"], {"perm": [0, 2, 1]}),
        ("Unsqueeze", ["turned", "one"], ["logit" if not durations else "symbols"], {}),
    ]
    constants = {"one": np.array([1], np.int64)}
    if durations:
        nodes.append(("Concat", ["symbols", "skips"], ["logit"], {"axis": -1}))
        constants["skips"] = np.array([[[[0.0, 5.0, *[0.0] * (durations - 2)]]]], np.float32)
    save_onnx(
        path,
        nodes,
        [("encoder_outputs", "f", ["N", size, 1]), ("decoder_outputs", "f", ["N", size, 1])],
        [("logit", "f", ["N", 1, 1, size + durations])],
        constants,
        {},
    )
