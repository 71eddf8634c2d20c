"""Turn a checkpoint into a model folder that sherpa-onnx serves, and prove that nothing was lost on the way.

    python training/stt/export.py --checkpoint RUN/final.pt --output FOLDER

Writes encoder, decoder and joiner as ONNX (float32 or int8), `tokens.txt` and `model.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: imports start at the repository root, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from torch.export import Dim

from ml import artifacts
from training.errors import ExportInvalid, run_script
from training.stt.checkpoint import Loaded, load_model
from training.stt.features import PADDING_VALUE
from training.stt.model import Transducer
from training.stt.tokenizer import Tokenizer, write_tokens

OPSET = 18
TOLERANCE = 1e-4
PARTS = ("encoder", "decoder", "joiner")
MODEL_TYPE = "conformer"


class ExportedEncoder(nn.Module):
    """Features to joiner input: the projection is folded in."""

    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, T, 80) float32, x_lens (N,) int64 → encoder_out (N, T', J), encoder_out_lens (N,) int64."""
        encoded, _, lengths = self.model.encode(x, x_lens)
        return encoded, lengths


class ExportedDecoder(nn.Module):
    """Labels to joiner input; sherpa-onnx starts a beam search from label −1, which is read as a blank."""

    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        """y (N, context) int64 → decoder_out (N, J)."""
        return self.model.predict(y)


class ExportedJoiner(nn.Module):
    def __init__(self, model: Transducer) -> None:
        super().__init__()
        self.model = model

    def forward(self, encoder_out: Tensor, decoder_out: Tensor) -> Tensor:
        """(N, J) twice → logit (N, V)."""
        logits: Tensor = self.model.joiner(encoder_out, decoder_out)
        return logits


@dataclass(frozen=True, slots=True)
class Part:
    """One of the three graphs: what to trace it with, and how its axes are called."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    dynamic_axes: tuple[tuple[int, ...], ...]  # of each input
    metadata: dict[str, str]


def export_folder(model: Transducer, tokenizer: Tokenizer, folder: Path, *, int8: bool) -> dict[str, Path]:
    """Write the three graphs and `tokens.txt`; returns them by part. Raises ExportInvalid where they differ."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = ".int8.onnx" if int8 else ".onnx"
    paths = {name: folder / f"{name}{suffix}" for name in PARTS}
    for name, part in _parts(model).items():
        _write_graph(part, paths[name], int8=int8)
    write_tokens(tokenizer, folder / "tokens.txt")
    if not int8:
        check_equal(model, paths)
    return paths | {"tokens": folder / "tokens.txt"}


def _parts(model: Transducer) -> dict[str, Part]:
    config = model.config
    shape = {"vocab_size": str(model.vocab_size), "context_size": str(config.context_size)}
    features = torch.randn(2, 101, config.num_mel_bins)
    lengths = torch.tensor([101, 67])
    vectors = torch.randn(3, config.joiner_dim)
    contexts = torch.randn(3, config.joiner_dim)  # never one tensor twice: it would be traced as one input
    labels = torch.zeros(3, config.context_size, dtype=torch.int64)
    return {
        "encoder": Part(
            ExportedEncoder(model),
            (features, lengths),
            ("x", "x_lens"),
            ("encoder_out", "encoder_out_lens"),
            ((0, 1), (0,)),
            shape | {"model_type": MODEL_TYPE, "joiner_dim": str(config.joiner_dim), "version": "1"},
        ),
        # Without these two entries sherpa-onnx ends the whole process.
        "decoder": Part(ExportedDecoder(model), (labels,), ("y",), ("decoder_out",), ((0,),), shape),
        "joiner": Part(
            ExportedJoiner(model),
            (vectors, contexts),
            ("encoder_out", "decoder_out"),
            ("logit",),
            ((0,), (0,)),
            {"joiner_dim": str(config.joiner_dim)},
        ),
    }


def _write_graph(part: Part, path: Path, *, int8: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own deprecated calls
        program = torch.onnx.export(
            part.module.eval(),
            part.inputs,
            input_names=list(part.input_names),
            output_names=list(part.output_names),
            dynamic_shapes=tuple(dict.fromkeys(axes, Dim.DYNAMIC) for axes in part.dynamic_axes),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportInvalid(f"{path.name}: the exporter returned nothing")
    graph = program.model_proto
    _strip_notes(graph)
    for key, value in part.metadata.items():
        graph.metadata_props.add(key=key, value=value)
    if int8:
        graph = _quantized(graph, path)
    onnx.save(graph, str(path))


def _strip_notes(graph: onnx.ModelProto) -> None:
    """Drop the exporter's notes on where each node came from: they outweigh a small model's weights."""
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.value_info):
        value.doc_string = ""
        del value.metadata_props[:]
    for weight in graph.graph.initializer:
        weight.doc_string = ""
        del weight.metadata_props[:]


def _quantized(graph: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Weights of matrix products to 8 bits. Shapes that the exporter noted would contradict the new graph."""
    del graph.graph.value_info[:]
    partial, result = path.with_suffix(".float.partial"), path.with_suffix(".partial")
    onnx.save(graph, str(partial))
    try:
        quantize_dynamic(
            str(partial), str(result), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
        )
        return onnx.load(str(result))
    finally:
        partial.unlink(missing_ok=True)
        result.unlink(missing_ok=True)


# ── Checks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_equal(model: Transducer, paths: dict[str, Path]) -> None:
    """Raise ExportInvalid unless the float32 graphs give what the model gives, at lengths they were not traced with."""
    generator = torch.Generator().manual_seed(1)
    for count, time in ((1, 9), (1, 160), (3, 333)):
        features = torch.randn(count, time, model.config.num_mel_bins, generator=generator)
        lengths = torch.linspace(time, max(1, time // 2), count).long()
        valid = torch.arange(time)[None, :] < lengths[:, None]
        padded = torch.where(valid[:, :, None], features, PADDING_VALUE)
        labels = torch.randint(-1, model.vocab_size, (count, model.config.context_size), generator=generator)
        with torch.no_grad():
            encoded, lengths_out = ExportedEncoder(model)(padded, lengths)
            predicted = ExportedDecoder(model)(labels)
            logits = model.joiner(encoded[:, 0], predicted)
        ours = _run(paths["encoder"], [padded, lengths])
        _compare("encoder_out_lens", lengths_out, ours[1])
        for row, length in enumerate(lengths_out.tolist()):
            _compare("encoder_out", encoded[row, :length], ours[0][row, :length])
        _compare("decoder_out", predicted, _run(paths["decoder"], [labels])[0])
        _compare("logit", logits, _run(paths["joiner"], [encoded[:, 0], predicted])[0])


def _run(path: Path, inputs: Sequence[Tensor]) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    outputs: list[NDArray[Any]] = session.run(None, {n: v.numpy() for n, v in zip(names, inputs, strict=True)})
    return outputs


def _compare(name: str, expected: Tensor, actual: NDArray[Any]) -> None:
    difference = float(np.abs(expected.numpy().astype(np.float64) - actual).max()) if actual.size else 0.0
    if expected.shape != actual.shape or difference > TOLERANCE:
        raise ExportInvalid(f"{name}: ONNX {actual.shape} differs from torch {tuple(expected.shape)} by {difference}")


# ── model.json ──────────────────────────────────────────────────────────────────────────────────────────────────────


def write_manifest(
    loaded: Loaded, folder: Path, *, version: str, int8: bool, settings: dict[str, Any], results: list[dict[str, Any]]
) -> None:
    """Write `model.json`, which makes the folder one that the platform imports and serves."""
    config = loaded.config
    artifacts.write(
        folder,
        artifacts.ModelManifest(
            task="stt",
            family="conformer-rnnt",
            name=config.name.replace("_", "-"),
            version=version,
            engine="sherpa",
            format="transducer",
            languages=config.languages,
            sample_rate=config.model.sample_rate,
            capabilities={"word_times": True, "punctuation": False, "casing": False},
            settings=settings,
            licence=config.licence,
            source=config.source,
            description=f"Conformer RNN-T, {loaded.step} steps on data {loaded.data_hash[:16]}, seed {config.seed}.",
            files=artifacts.describe_files(folder),
            results=tuple(results),
        ),
    )


def main(given: Sequence[str] | None = None) -> None:
    """given: arguments; None: those of the command line."""
    parser = argparse.ArgumentParser(description="Export a checkpoint for sherpa-onnx.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--version", default="1")
    parser.add_argument("--float32", action="store_true", help="do not quantise to int8")
    parser.add_argument("--settings", type=json.loads, default={}, help="how to decode, JSON")
    parser.add_argument("--results", type=Path, help="what `evaluate.py --json` wrote")
    arguments = parser.parse_args(given)
    loaded = load_model(arguments.checkpoint)
    export_folder(loaded.model, loaded.tokenizer, arguments.output, int8=False)
    if not arguments.float32:
        for name in PARTS:
            (arguments.output / f"{name}.onnx").unlink()
        export_folder(loaded.model, loaded.tokenizer, arguments.output, int8=True)
    write_manifest(
        loaded,
        arguments.output,
        version=arguments.version,
        int8=not arguments.float32,
        settings=arguments.settings,
        results=json.loads(arguments.results.read_text(encoding="utf-8")) if arguments.results else [],
    )
    size = sum(path.stat().st_size for path in arguments.output.iterdir()) / 1e6
    print(f"{arguments.output}: {size:.1f} MB")


if __name__ == "__main__":
    run_script(main)
