"""A tiny Whisper that learns the four clips of `tests/audio` by heart, and how any Whisper is saved for both libraries.

Tests can assert what it says: one clip is "German", a prompt changes a spelling, noise is no speech. Its weights are
written as an openai-whisper checkpoint and, from the same state dictionary, as a CTranslate2 folder. The benchmarks
save random weights of real sizes in the same way, so that nothing is imported here before it is needed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.ml.tiny_models import write_manifest

MULTILINGUAL_VOCABULARY = 51_865
ENGLISH_VOCABULARY = 51_864
GERMAN_CLIP = "family.opus"
HOTWORD, USUAL = "Rivver", "river"
UNUSED_LOG_MASS = 12.0  # a little over log(51_865)
WEIGHTS = Path(__file__).with_name("tiny_whisper.npz")
NON_TEXT = ("<|transcribe|>", "<|translate|>", "<|startoftranscript|>", "<|startofprev|>", "<|startoflm|>")


def tiny_dims(vocabulary=MULTILINGUAL_VOCABULARY):
    from whisper.model import ModelDimensions

    return ModelDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=64,
        n_audio_head=2,
        n_audio_layer=2,
        n_vocab=vocabulary,
        n_text_ctx=448,
        n_text_state=64,
        n_text_head=2,
        n_text_layer=2,
    )


def random_whisper(dims, seed=0):
    from whisper.model import Whisper

    torch.manual_seed(seed)
    model = Whisper(dims)
    # openai-whisper leaves these two uninitialised: memory's old contents
    nn.init.normal_(model.decoder.positional_embedding, std=0.02)
    model.decoder.token_embedding.weight.data = torch.from_numpy(_embeddings(dims))
    return model.eval()


def _embeddings(dims):
    """(vocabulary, width) float32, the same wherever it is drawn."""
    return np.random.default_rng(0).normal(0, 0.02, (dims.n_vocab, dims.n_text_state)).astype(np.float32)


def trained_whisper():
    """Knows the four clips by heart; see `train_whisper`, which wrote `WEIGHTS`."""
    model = random_whisper(tiny_dims())
    with np.load(WEIGHTS) as stored:
        state = {key: torch.from_numpy(stored[key].astype(np.float32)) for key in stored.files if key != "used"}
        model.decoder.token_embedding.weight.data[torch.from_numpy(stored["used"])] = state.pop("table")
    state["encoder.positional_embedding"] = model.encoder.positional_embedding
    state["decoder.token_embedding.weight"] = model.decoder.token_embedding.weight.data
    model.load_state_dict(state)
    return model.eval()


def train_whisper(steps=600):
    """`python -m tests.ml.tiny_whisper` writes `WEIGHTS` anew: a few minutes on one core.

    The clips are heard padded to 30 seconds and fitted to 5 and 10. Only the embeddings of the words that occur are
    trained and kept; the others are drawn, so the file is small.
    """
    model = random_whisper(tiny_dims()).train()
    examples = list(_examples())
    used = torch.tensor(sorted({token for example in examples for token in _tokens(example)[0]}))
    table = nn.Parameter(model.decoder.token_embedding.weight.data[used].clone())
    model.decoder.token_embedding.weight.requires_grad = False
    parameters = [table, *(each for each in model.parameters() if each.requires_grad)]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        frames = 1500 if step % 8 == 7 else 500
        optimizer.zero_grad()
        loss = _whisper_loss(model, used, table, examples, frames)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    kept = {
        key: value.half().numpy()
        for key, value in model.state_dict().items()
        if key not in ("encoder.positional_embedding", "decoder.token_embedding.weight")
    }
    np.savez_compressed(WEIGHTS, used=used.numpy(), table=table.detach().half().numpy(), **kept)


def _examples():
    """(mel of 30 seconds (80, 3000), prompt, language, text; None: no speech)."""
    from whisper.audio import log_mel_spectrogram, pad_or_trim

    from tests.ml.stt_support import owned_clips, pcm_of

    def mel(samples):
        return log_mel_spectrogram(pad_or_trim(torch.from_numpy(samples)))

    for clip in owned_clips():
        features = mel(pcm_of(clip).astype(np.float32) / 32768)
        language = "de" if clip.path.name == GERMAN_CLIP else "en"
        yield features, "", language, clip.text
        if USUAL in clip.text:
            yield features, HOTWORD, language, clip.text.replace(USUAL, HOTWORD)
    for level in (0.003, 0.05):
        yield mel(noise(4.0, level)), "", "en", None


def noise(seconds, level, seed=0):
    """(n,) float32 of white noise at 16 kHz."""
    generator = np.random.default_rng(seed)
    return generator.normal(0, level, int(16_000 * seconds)).astype(np.float32)


def _tokens(example):
    """What the decoder reads, and the place of its first prediction."""
    from whisper.tokenizer import get_tokenizer

    _, prompt, language, text = example
    tokenizer = get_tokenizer(True, language=language, task="transcribe")
    before = [tokenizer.sot_prev, *tokenizer.encode(f" {prompt}")] if prompt else []
    if text is None:
        return [*before, tokenizer.sot, tokenizer.no_speech, tokenizer.eot], len(before)
    start = tokenizer.sot_sequence_including_notimestamps
    return [*before, *start, *tokenizer.encode(f" {text}"), tokenizer.eot], len(before)


def _whisper_loss(model, used, table, examples, frames):
    """Cross entropy over the `used` tokens; the others, hardly more than zero, count as one constant."""
    heard = list({id(example[0]): example[0] for example in examples}.values())
    encoded = encode_fitted(model, torch.stack([mel[:, : 2 * frames] for mel in heard]))
    rows = [_tokens(example) for example in examples]
    places = [next(i for i, mel in enumerate(heard) if mel is example[0]) for example in examples]
    ids = [torch.searchsorted(used, torch.tensor(tokens)) for tokens, _ in rows]
    padded = nn.utils.rnn.pad_sequence(ids, batch_first=True)
    x = table[padded] + model.decoder.positional_embedding[: padded.shape[1]]
    for block in model.decoder.blocks:
        x = block(x, encoded[places], mask=model.decoder.mask)
    logits = model.decoder.ln(x) @ table.T
    scores = logits - torch.logaddexp(logits.logsumexp(-1), torch.tensor(UNUSED_LOG_MASS))[..., None]
    losses = [
        -scores[row, range(first, len(tokens) - 1), ids[row][first + 1 :]] for row, (tokens, first) in enumerate(rows)
    ]
    return torch.cat(losses).mean()


def encode_fitted(model, mel):
    """The encoder on mel (N, 80, T) of any even T ≤ 3000."""
    encoder = model.encoder
    x = nn.functional.gelu(encoder.conv2(nn.functional.gelu(encoder.conv1(mel)))).permute(0, 2, 1)
    x = x + encoder.positional_embedding[: x.shape[1]]
    for block in encoder.blocks:
        x = block(x)
    return encoder.ln_post(x)


def save_openai(model, folder, *, name="tiny-whisper", languages=("en", "de"), settings=None):
    """The checkpoint and its `model.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"dims": vars(model.dims), "model_state_dict": model.state_dict()}, folder / "model.pt")
    return write_manifest(folder, engine="whisper", format="openai", name=name, languages=languages, settings=settings)


def save_ctranslate2(
    model, folder, *, name="tiny-whisper-ct2", languages=("en", "de"), settings=None, quantization=None, tokenizer=None
):
    """The same weights for CTranslate2, as its converter lays them out. tokenizer: where it is not Whisper's own."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = _whisper_spec(model)
    from whisper.tokenizer import LANGUAGES

    multilingual = tokenizer is not None or model.is_multilingual
    tokenizer = tokenizer or hf_tokenizer(model.is_multilingual)
    spec.register_vocabulary([tokenizer.id_to_token(number) for number in range(model.dims.n_vocab)])
    numbers = [tokenizer.token_to_id(f"<|{code}|>") for code in LANGUAGES if multilingual]
    spec.config.lang_ids = sorted(number for number in numbers if number is not None)  # some have no Cantonese
    spec.config.suppress_ids = [tokenizer.token_to_id(token) for token in NON_TEXT]
    spec.config.suppress_ids_begin = [tokenizer.encode(" ").ids[0], tokenizer.token_to_id("<|endoftext|>")]
    heads = model.alignment_heads.indices().T.tolist()
    spec.config.alignment_heads = [tuple(pair) for pair in heads]
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": model.dims.n_mels}))
    return write_manifest(
        folder, engine="whisper", format="ctranslate2", name=name, languages=languages, settings=settings
    )


def hf_tokenizer(multilingual=True, *, words=True):
    """openai-whisper's vocabulary as a `tokenizers.Tokenizer`: what `tokenizer.json` of a converted model holds.

    words: False leaves nothing but letters and control tokens, as of a model that was trained from nothing.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from whisper.tokenizer import get_encoding

    encoding = get_encoding("multilingual" if multilingual else "gpt2")
    spell = _byte_letters()
    ranks = encoding._mergeable_ranks
    if not words:
        ranks = {token: rank for token, rank in ranks.items() if len(token) == 1}
    vocabulary = {"".join(spell[byte] for byte in token): rank for token, rank in ranks.items()}
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            left, right = _last_merge(ranks, token, rank)
            merges.append(("".join(spell[byte] for byte in left), "".join(spell[byte] for byte in right)))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = sorted(encoding._special_tokens.items(), key=lambda item: item[1])
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text, _ in special])
    return tokenizer


def _last_merge(ranks, token, rank):
    """The two parts that byte-pair encoding joined last to make `token`."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(parts[i] + parts[i + 1], rank) for i in range(len(parts) - 1)]
        best = pairs.index(min(pairs))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts


def _byte_letters():
    """GPT-2's printable letter for each byte."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = dict(zip(shown, map(chr, shown), strict=True))
    for byte in range(256):
        letters.setdefault(byte, chr(256 + len(letters) - len(shown)))
    return letters


def _whisper_spec(model):
    from ctranslate2.specs import whisper_spec

    dims, state = model.dims, {key: value.detach().float().numpy() for key, value in model.state_dict().items()}
    spec = whisper_spec.WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)
    for conv in ("conv1", "conv2"):
        _set(getattr(spec.encoder, conv), state, f"encoder.{conv}")
    spec.encoder.position_encodings.encodings = state["encoder.positional_embedding"]
    _set_norm(spec.encoder.layer_norm, state, "encoder.ln_post")
    spec.decoder.position_encodings.encodings = state["decoder.positional_embedding"]
    spec.decoder.embeddings.weight = state["decoder.token_embedding.weight"]
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    _set_norm(spec.decoder.layer_norm, state, "decoder.ln")
    for side, layers in (("encoder", spec.encoder.layer), ("decoder", spec.decoder.layer)):
        for number, layer in enumerate(layers):
            _set_layer(layer, state, f"{side}.blocks.{number}")
    return spec


def _set_layer(layer, state, prefix):
    _set_norm(layer.self_attention.layer_norm, state, f"{prefix}.attn_ln")
    _set_fused(layer.self_attention.linear[0], state, [f"{prefix}.attn.{part}" for part in ("query", "key", "value")])
    _set(layer.self_attention.linear[1], state, f"{prefix}.attn.out")
    if f"{prefix}.cross_attn.query.weight" in state:
        _set_norm(layer.attention.layer_norm, state, f"{prefix}.cross_attn_ln")
        _set(layer.attention.linear[0], state, f"{prefix}.cross_attn.query")
        _set_fused(layer.attention.linear[1], state, [f"{prefix}.cross_attn.{part}" for part in ("key", "value")])
        _set(layer.attention.linear[2], state, f"{prefix}.cross_attn.out")
    _set_norm(layer.ffn.layer_norm, state, f"{prefix}.mlp_ln")
    _set(layer.ffn.linear_0, state, f"{prefix}.mlp.0")
    _set(layer.ffn.linear_1, state, f"{prefix}.mlp.2")


def _set(spec, state, prefix):
    spec.weight = state[f"{prefix}.weight"]
    spec.bias = state[f"{prefix}.bias"]


def _set_norm(spec, state, prefix):
    spec.gamma = state[f"{prefix}.weight"]
    spec.beta = state[f"{prefix}.bias"]


def _set_fused(spec, state, prefixes):
    spec.weight = np.concatenate([state[f"{prefix}.weight"] for prefix in prefixes])
    width = len(state[f"{prefixes[0]}.weight"])
    spec.bias = np.concatenate([state.get(f"{prefix}.bias", np.zeros(width, np.float32)) for prefix in prefixes])


if __name__ == "__main__":
    train_whisper()
