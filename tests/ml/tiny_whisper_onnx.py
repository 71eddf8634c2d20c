"""Any Whisper as the ONNX files that sherpa-onnx reads: encoder, decoder and tokens.

The encoder gives the keys and values that each decoder layer attends to; the decoder writes one step, keeps its own
keys and values in two caches of fixed size, and tells where its alignment heads look, from which token times are
computed. Names, shapes and metadata are those of sherpa-onnx's `scripts/whisper`.
"""

from __future__ import annotations

import base64
import warnings

import onnx
import torch
from torch import nn

from tests.ml.tiny_models import write_manifest
from tests.ml.tiny_whisper import encode_fitted

OPSET = 17


class _Encoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, mel):
        """(N, mels, T) → keys and values (layers, N, T / 2, width) twice."""
        heard = encode_fitted(self.model, mel)
        layers = [block.cross_attn for block in self.model.decoder.blocks]
        return torch.stack([each.key(heard) for each in layers]), torch.stack([each.value(heard) for each in layers])


class _Decoder(nn.Module):
    def __init__(self, model, *, attention):
        super().__init__()
        self.decoder = model.decoder
        self.heads = model.alignment_heads.coalesce().indices().T.tolist() if attention else []

    def forward(self, tokens, keys, values, cross_keys, cross_values, offset):
        """(1, n), caches (layers, 1, 448, width), the encoder's, (1,) → logits (1, n, vocabulary), the caches."""
        begin, end = offset[0], offset[0] + tokens.shape[-1]
        x = self.decoder.token_embedding(tokens) + self.decoder.positional_embedding[begin:end]
        new_keys, new_values, looks = [], [], []
        for layer, block in enumerate(self.decoder.blocks):
            normed = block.attn_ln(x)
            new_keys.append(_written(keys[layer], block.attn.key(normed), begin, end))
            new_values.append(_written(values[layer], block.attn.value(normed), begin, end))
            mask = self.decoder.mask[begin:end, :end]
            wrote, _ = _attend(block.attn, normed, new_keys[-1][:, :end], new_values[-1][:, :end], mask)
            x = x + wrote
            wrote, look = _attend(block.cross_attn, block.cross_attn_ln(x), cross_keys[layer], cross_values[layer])
            x = x + wrote
            x = x + block.mlp(block.mlp_ln(x))
            looks += [look[:, head] for at, head in self.heads if at == layer]
        logits = self.decoder.ln(x) @ self.decoder.token_embedding.weight.T
        caches = torch.stack(new_keys), torch.stack(new_values)
        return (logits, *caches, torch.stack(looks, 1)) if looks else (logits, *caches)


def _written(cache, new, begin, end):
    return torch.cat([cache[:, :begin], new, cache[:, end:]], dim=1)


def _attend(attention, x, keys, values, mask=None):
    """What is read, and the weights (N, heads, n, positions)."""

    def split(y):
        return y.view(*y.shape[:2], attention.n_head, -1).permute(0, 2, 1, 3)

    queries = split(attention.query(x))
    scores = queries @ split(keys).transpose(-1, -2) / queries.shape[-1] ** 0.5
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return attention.out((weights @ split(values)).permute(0, 2, 1, 3).flatten(2)), weights


def save_whisper(
    model,
    folder,
    *,
    task="stt",
    name="tiny-whisper-onnx",
    languages=("en", "de"),
    settings=None,
    attention=True,
    metadata=None,
):
    """`metadata` overrides entries; None removes one."""
    folder.mkdir(parents=True, exist_ok=True)
    dims = model.dims
    mel = torch.zeros(1, dims.n_mels, 1000)
    cache = torch.zeros(dims.n_text_layer, 1, dims.n_text_ctx, dims.n_text_state)
    cross = torch.zeros(dims.n_text_layer, 1, 500, dims.n_text_state)
    _export(
        _Encoder(model),
        (mel,),
        folder / "encoder.onnx",
        {"mel": {0: "n_audio", 2: "T"}},
        {"n_layer_cross_k": {1: "n_audio", 2: "S"}, "n_layer_cross_v": {1: "n_audio", 2: "S"}},
    )
    outputs = {"logits": {0: "n_audio", 1: "n_tokens"}}
    outputs |= {f"out_n_layer_self_{part}_cache": {1: "n_audio"} for part in "kv"}
    if attention:
        outputs["cross_attention_weights"] = {0: "n_audio", 2: "n_tokens", 3: "S"}
    _export(
        _Decoder(model, attention=attention),
        (torch.zeros(1, 3, dtype=torch.int64), cache, cache, cross, cross, torch.tensor([1])),
        folder / "decoder.onnx",
        {
            "tokens": {0: "n_audio", 1: "n_tokens"},
            "in_n_layer_self_k_cache": {1: "n_audio"},
            "in_n_layer_self_v_cache": {1: "n_audio"},
            "n_layer_cross_k": {1: "n_audio", 2: "S"},
            "n_layer_cross_v": {1: "n_audio", 2: "S"},
            "offset": {},
        },
        outputs,
    )
    _describe(model, folder / "encoder.onnx", metadata or {})
    _write_tokens(model, folder / "tokens.txt")
    return write_manifest(
        folder, task=task, engine="sherpa", format="whisper", name=name, languages=languages, settings=settings
    )


def _export(module, inputs, path, input_axes, output_axes):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            str(path),
            opset_version=OPSET,
            input_names=list(input_axes),
            output_names=list(output_axes),
            dynamic_axes=input_axes | output_axes,
            dynamo=False,
        )


def _describe(model, path, changes):
    from whisper.tokenizer import get_tokenizer

    tokenizer = get_tokenizer(model.is_multilingual, language="en", task="transcribe")
    heads = model.alignment_heads.coalesce().indices().T.tolist()
    about = vars(model.dims) | {
        "model_type": "whisper-tiny",
        "sot_sequence": _listed(tokenizer.sot_sequence),
        "all_language_tokens": _listed(tokenizer.all_language_tokens),
        "all_language_codes": _listed(tokenizer.all_language_codes),
        "sot": tokenizer.sot,
        "sot_index": 0,
        "eot": tokenizer.eot,
        "blank_id": tokenizer.encode(" ")[0],
        "is_multilingual": int(model.is_multilingual),
        "no_speech": tokenizer.no_speech,
        "non_speech_tokens": _listed(tokenizer.non_speech_tokens),
        "transcribe": tokenizer.transcribe,
        "translate": tokenizer.translate,
        "sot_prev": tokenizer.sot_prev,
        "sot_lm": tokenizer.sot_lm,
        "no_timestamps": tokenizer.no_timestamps,
        "n_alignment_heads": len(heads),
        "alignment_heads": ",".join(f"{layer}:{head}" for layer, head in heads),
    }
    graph = onnx.load(str(path))
    kept = {key: str(value) for key, value in (about | changes).items() if value is not None}
    onnx.helper.set_model_props(graph, kept)
    onnx.save(graph, str(path))


def _listed(values):
    return ",".join(map(str, values))


def _write_tokens(model, path):
    """Of text alone, in base64: the library leaves out what it does not find here."""
    from whisper.tokenizer import get_encoding

    ranks = get_encoding("multilingual" if model.is_multilingual else "gpt2")._mergeable_ranks
    path.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
