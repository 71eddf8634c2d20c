"""Small real voices with random weights, as model folders on disk: each goes down the production path."""

import json
import struct
import warnings
import wave
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ml import artifacts
from ml.artifacts import ModelFolder, ModelManifest

SAMPLE_RATE = 22050
IPA = "ɑɐɒæɓβɔɕçɗɖðəɘɚɛɜɝɞɟɡɢɣɥɦɧħɨɪʝɫɬɭɮʟɱɯɰŋɳɲɴøɵɸœɶɹɺɾɻʀʁɽʂʃʈʉʊʋʌʍχʎʏʑʐʒʔʡʕˈˌːˑʰʲ̩̃"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
PUNCTUATION = "^$ !'(),-.:;?"
SPEAKERS = [
    {"id": "ana", "speaker": 0, "name": "Ana", "gender": "female"},
    {"id": "ben", "speaker": 1, "name": "Ben", "gender": "male"},
]


def folder(path: Path, *, name: str, engine: str, format: str, settings=None, sample_rate=SAMPLE_RATE, languages=None):
    """Writes `model.json` for the files that are in `path`."""
    manifest = ModelManifest(
        "tts", "tiny", name, "1", engine, format,
        languages=tuple(languages or ("en-US",)), sample_rate=sample_rate, settings=settings or {},
        files=artifacts.describe_files(path),
    )  # fmt: skip
    artifacts.write(path, manifest)
    return artifacts.read(path)


def with_settings(made: ModelFolder, **settings) -> ModelFolder:
    return ModelFolder(made.path, replace(made.manifest, settings={**made.manifest.settings, **settings}))


# ── Coqui ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def quiet():
    """coqui-tts and torch's exporter warn about themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def vits(*, phonemes=False, seed=0, d_vectors: Path | None = None):
    """A VITS of two speakers, 1.2 million parameters; durations of about four frames a symbol.

    d_vectors: the file with the vectors of its speakers, for a model without a table of them.
    """
    with quiet():
        from ml.tts.engines import coqui

        coqui.library()
        import torch
        from TTS.tts.configs.shared_configs import CharactersConfig
        from TTS.tts.configs.vits_config import VitsConfig
        from TTS.tts.models.vits import Vits, VitsArgs

        args = VitsArgs(
            hidden_channels=16, hidden_channels_ffn_text_encoder=16, num_heads_text_encoder=2,
            num_layers_text_encoder=1, num_layers_posterior_encoder=1, num_layers_flow=1, use_sdp=False,
            upsample_initial_channel_decoder=32, upsample_rates_decoder=[8, 8, 4],
            upsample_kernel_sizes_decoder=[16, 16, 8], resblock_kernel_sizes_decoder=[3],
            resblock_dilation_sizes_decoder=[[1, 3, 5]], init_discriminator=False,
            use_speaker_embedding=d_vectors is None, speaker_embedding_channels=16,
            use_d_vector_file=d_vectors is not None, d_vector_file=[str(d_vectors)] if d_vectors else None,
            d_vector_dim=16 if d_vectors else 0,
        )  # fmt: skip
        characters = CharactersConfig(
            characters_class="TTS.tts.models.vits.VitsCharacters",
            pad="_", punctuations=PUNCTUATION, characters=LETTERS, phonemes=IPA,
        )  # fmt: skip
        config = VitsConfig(
            model_args=args, speakers=["ana", "ben"], use_speaker_embedding=d_vectors is None, use_phonemes=phonemes,
            phoneme_language="en-us", text_cleaner="basic_cleaners", add_blank=True, characters=characters,
            languages=["en"],
        )  # fmt: skip
        torch.manual_seed(seed)
        model = Vits(config).eval()
        with torch.no_grad():
            model.duration_predictor.proj.bias.fill_(float(np.log(4)))
            if d_vectors is None:
                model.emb_g.weight.mul_(3)
        return model


def coqui_vits(path: Path, *, name="tiny-vits", phonemes=False, settings=None, seed=0, d_vectors=False) -> ModelFolder:
    import torch

    path.mkdir(parents=True)
    told = path / "d_vectors.json" if d_vectors else None
    if told is not None:
        drawn = np.random.default_rng(seed).normal(size=(2, 16))
        clips = {
            name: {"name": name, "embedding": row.tolist()} for name, row in zip(("ana", "ben"), drawn, strict=True)
        }
        told.write_text(json.dumps(clips))
    model = vits(phonemes=phonemes, seed=seed, d_vectors=told)
    torch.save({"model": model.state_dict()}, path / "model.pth")
    model.config.save_json(str(path / "config.json"))
    speakers = [{**SPEAKERS[0], "speaker": "ana"}, {**SPEAKERS[1], "speaker": "ben"}]
    settings = {"speakers": speakers, "device": "cpu", **(settings or {})}
    return folder(path, name=name, engine="coqui", format="vits", settings=settings)


def coqui_xtts(path: Path) -> ModelFolder:
    """XTTS with a language model of one small layer; its vocoder and its encoder of voices have fixed sizes (90 MB)."""
    with quiet():
        from ml.tts.engines import coqui

        coqui.library()
        import torch
        from tokenizers import Tokenizer, models
        from TTS.tts.configs.xtts_config import XttsConfig
        from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
        from TTS.tts.models.xtts import Xtts

        path.mkdir(parents=True)
        special = ["[UNK]", "[START]", "[STOP]", "[SPACE]", "[en]", "[de]"]
        symbols = [*special, *"abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"]
        tokenizer = Tokenizer(models.BPE({s: i for i, s in enumerate(symbols)}, [], unk_token="[UNK]"))
        tokenizer.add_special_tokens(special)
        tokenizer.save(str(path / "vocab.json"))
        config = XttsConfig(languages=["en", "de"])
        sizes = {
            "gpt_layers": 1, "gpt_n_model_channels": 64, "gpt_n_heads": 2, "gpt_max_text_tokens": 60,
            "gpt_max_audio_tokens": 10, "gpt_max_prompt_tokens": 40, "gpt_num_audio_tokens": 66,
            "gpt_start_audio_token": 64, "gpt_stop_audio_token": 65, "decoder_input_dim": 64,
            "gpt_use_perceiver_resampler": True,  # as the published version 2 has it: latents of one length
        }  # fmt: skip
        for key, value in sizes.items():
            setattr(config.model_args, key, value)
        torch.manual_seed(0)
        model = Xtts(config)
        model.tokenizer = VoiceBpeTokenizer(str(path / "vocab.json"))
        model.init_models()
        torch.save({"model": model.state_dict()}, path / "model.pth")
        config.save_json(str(path / "config.json"))
        latents = {
            person: {"gpt_cond_latent": torch.randn(1, 32, 64), "speaker_embedding": torch.randn(1, 512, 1)}
            for person in ("Ana Maria", "Ben")
        }
        torch.save(latents, path / "speakers_xtts.pth")
    speakers = [{"id": "ana", "speaker": "Ana Maria", "gender": "female"}, {"id": "ben", "speaker": "Ben"}]
    settings = {"speakers": speakers, "device": "cpu"}
    languages = ("en", "de")
    return folder(
        path, name="tiny-xtts", engine="coqui", format="xtts", settings=settings, sample_rate=24000, languages=languages
    )


# ── sherpa-onnx ─────────────────────────────────────────────────────────────────────────────────────────────────────


def set_metadata(model: onnx.ModelProto, **metadata) -> None:
    del model.metadata_props[:]
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})


def write_tokens(path: Path, symbols) -> None:
    path.write_text("".join(f"{symbol} {number}\n" for number, symbol in enumerate(symbols) if symbol != "<BLNK>"))


def sherpa_piper(path: Path, *, name="tiny-piper", settings=None, **metadata) -> ModelFolder:
    """The same VITS, exported by coqui-tts, with the metadata and tokens of a Piper voice."""
    path.mkdir(parents=True)
    model = vits(seed=1)
    with quiet():
        model.export_onnx(str(path / "model.onnx"), verbose=False)
    exported = onnx.load(path / "model.onnx")
    props = {"comment": "piper", "sample_rate": SAMPLE_RATE, "n_speakers": 2, "language": "English", "voice": "en-us"}
    set_metadata(exported, **{**props, **metadata})
    onnx.save(exported, path / "model.onnx")
    write_tokens(path / "tokens.txt", model.tokenizer.characters.vocab)
    # Without noise, because ONNX Runtime seeds its own by the clock.
    settings = {"speakers": SPEAKERS, "noise_scale": 0.0, "noise_scale_w": 0.0, "threads": 1, **(settings or {})}
    return folder(path, name=name, engine="sherpa", format="vits", settings=settings)


def sherpa_styled(path: Path, *, format: str, name=None) -> ModelFolder:
    """A Kokoro or a Kitten: tokens, a style vector and a speed in, audio out (each token a short stretch of it)."""
    path.mkdir(parents=True)
    size, rows = 8, 64 if format == "kokoro" else 1
    graph = _token_audio([("tokens", TensorProto.INT64, [1, "T"]), ("style", TensorProto.FLOAT, [1, size])], speed=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    style = f"{rows},1,{size}" if format == "kokoro" else f"{rows},{size}"
    set_metadata(
        model, model_type=f"{format}-tts" if format == "kitten" else format, sample_rate=24000, n_speakers=2,
        has_espeak=1, style_dim=style, voice="en-us", version=1, speaker_names="ana,ben",
    )  # fmt: skip
    onnx.save(model, path / "model.onnx")
    styles = np.concatenate([np.full(rows * size, level, dtype=np.float32) for level in (0.2, 0.6)])
    (path / "voices.bin").write_bytes(struct.pack(f"<{len(styles)}f", *styles))
    write_tokens(path / "tokens.txt", ["_", *PUNCTUATION, *LETTERS, *IPA])
    settings = {"speakers": SPEAKERS, "threads": 1}
    return folder(
        path, name=name or f"tiny-{format}", engine="sherpa", format=format, settings=settings, sample_rate=24000
    )


def _token_audio(inputs, *, speed: bool) -> onnx.GraphProto:
    """audio[t * 256 + i] = sin(token[t] * (i + 1) / 40) * mean(style)"""
    ramp = numpy_helper.from_array((np.arange(1, 257, dtype=np.float32) / 40)[None], "ramp")
    flat = numpy_helper.from_array(np.array([-1], dtype=np.int64), "flat")
    column = numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), "column")
    nodes = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "column"], ["rows"]),
        helper.make_node("MatMul", ["rows", "ramp"], ["phases"]),
        helper.make_node("Sin", ["phases"], ["waves"]),
        helper.make_node("ReduceMean", ["style"], ["level"], keepdims=0),
        helper.make_node("Mul", ["waves", "level"], ["loud"]),
        helper.make_node("Mul", ["speed", "zero"], ["nothing"]),
        helper.make_node("Add", ["loud", "nothing"], ["sum"]),
        helper.make_node("Reshape", ["sum", "flat"], ["audio"]),
    ]
    zero = numpy_helper.from_array(np.zeros(1, dtype=np.float32), "zero")
    described = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    described.append(helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]))
    output = helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["S"])
    return helper.make_graph(nodes, "tiny", described, [output], [ramp, flat, column, zero])


def broken_json(made: ModelFolder, name: str, change) -> None:
    """Changes a JSON file of a folder in place."""
    file = made.path / name
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def sherpa_matcha(path: Path) -> ModelFolder:
    """A Matcha whose spectrogram is a step a token, and a HiFi-GAN vocoder that holds each step for 256 samples."""
    path.mkdir(parents=True)
    info, made = helper.make_tensor_value_info, helper.make_node
    inputs = [
        info("x", TensorProto.INT64, [1, "T"]), info("x_length", TensorProto.INT64, [1]),
        info("noise_scale", TensorProto.FLOAT, [1]), info("length_scale", TensorProto.FLOAT, [1]),
    ]  # fmt: skip
    bands = numpy_helper.from_array(np.linspace(0.001, 0.01, 80, dtype=np.float32).reshape(1, 80, 1), "bands")
    row = numpy_helper.from_array(np.array([1, 1, -1], dtype=np.int64), "row")
    zero = numpy_helper.from_array(np.zeros(1, dtype=np.float32), "zero")
    nodes = [
        made("Cast", ["x"], ["numbers"], to=TensorProto.FLOAT),
        made("Reshape", ["numbers", "row"], ["steps"]),
        made("Mul", ["bands", "steps"], ["spectrum"]),
        made("Cast", ["x_length"], ["count"], to=TensorProto.FLOAT),
        made("Sum", ["noise_scale", "length_scale", "count"], ["unused"]),
        made("Mul", ["unused", "zero"], ["nothing"]),
        made("Add", ["spectrum", "nothing"], ["mel"]),
    ]
    mel = info("mel", TensorProto.FLOAT, [1, 80, "T"])
    _save(path / "model.onnx", helper.make_graph(nodes, "matcha", inputs, [mel], [bands, row, zero]), {
        "model_type": "matcha-tts", "sample_rate": SAMPLE_RATE, "n_speakers": 1, "voice": "en-us",
        "language": "English",
        "version": 1, "pad_id": 0, "use_eos_bos": 0, "num_ode_steps": 3, "has_espeak": 1, "jieba": 0,
    })  # fmt: skip
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    hold = numpy_helper.from_array(np.sin(np.arange(256, dtype=np.float32) / 20)[None], "hold")
    column = numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), "column")
    flat = numpy_helper.from_array(np.array([1, 1, -1], dtype=np.int64), "flat")
    nodes = [
        made("ReduceMean", ["mel", "axes"], ["level"], keepdims=0),
        made("Reshape", ["level", "column"], ["rows"]),
        made("MatMul", ["rows", "hold"], ["waves"]),
        made("Reshape", ["waves", "flat"], ["audio"]),
    ]
    audio = info("audio", TensorProto.FLOAT, [1, 1, "S"])
    vocoder = helper.make_graph(
        nodes, "vocoder", [info("mel", TensorProto.FLOAT, [1, 80, "T"])], [audio], [axes, hold, column, flat]
    )
    _save(path / "vocoder.onnx", vocoder, {"model_type": "hifigan", "sample_rate": SAMPLE_RATE})
    write_tokens(path / "tokens.txt", ["_", *PUNCTUATION, *LETTERS, *IPA])
    return folder(path, name="tiny-matcha", engine="sherpa", format="matcha", settings={"threads": 1})


def _save(path: Path, graph: onnx.GraphProto, metadata) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    set_metadata(model, **metadata)
    onnx.save(model, path)


def sherpa_pocket(path: Path) -> ModelFolder:
    """A PocketTTS that says six frames of 80 ms, as loud as the recording that it speaks like."""
    path.mkdir(parents=True)
    info, made, constant = helper.make_tensor_value_info, helper.make_node, numpy_helper.from_array
    number, whole = TensorProto.FLOAT, TensorProto.INT64
    one, wide = constant(np.ones((1, 1, 1), np.float32), "one"), constant(np.ones((1, 1, 1024), np.float32), "wide")
    axes = constant(np.array([2], np.int64), "axes")
    mean = [made("Abs", ["audio"], ["loud"]), made("ReduceMean", ["loud", "axes"], ["level"], keepdims=1),
            made("Mul", ["level", "wide"], ["embedding"])]  # fmt: skip
    _save(path / "encoder.onnx", helper.make_graph(
        mean, "encoder", [info("audio", number, [1, 1, "T"])], [info("embedding", number, [1, 1, 1024])], [axes, wide]
    ), {})  # fmt: skip
    text = [made("Cast", ["tokens"], ["numbers"], to=number), made("Unsqueeze", ["numbers", "axes"], ["columns"]),
            made("Mul", ["columns", "nothing"], ["empty"]), made("Add", ["empty", "wide"], ["embedding"])]  # fmt: skip
    nothing = constant(np.zeros((1, 1, 1), np.float32), "nothing")
    _save(path / "text_conditioner.onnx", helper.make_graph(
        text, "text", [info("tokens", whole, [1, "T"])], [info("embedding", number, [1, "T", 1024])],
        [axes, nothing, wide]
    ), {})  # fmt: skip
    _save(path / "lm_main.onnx", _pocket_main(), {})
    _save(path / "lm_flow.onnx", _pocket_flow(), {})
    wave_form = constant(np.sin(np.arange(1920, dtype=np.float32) / 20)[None].repeat(32, 0) / 32, "wave")
    flat = constant(np.array([1, 1, -1], np.int64), "flat")
    decoder = [made("MatMul", ["latent", "wave"], ["frames"]), made("Reshape", ["frames", "flat"], ["audio"]),
               made("Add", ["state", "one"], ["next"])]  # fmt: skip
    _save(path / "decoder.onnx", helper.make_graph(
        decoder, "decoder", [info("latent", number, [1, "N", 32]), info("state", number, [1, 1, 1])],
        [info("audio", number, [1, 1, "S"]), info("next", number, [1, 1, 1])], [wave_form, flat, one]
    ), {})  # fmt: skip
    pieces = [
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,",
    ]
    (path / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}))
    (path / "token_scores.json").write_text(json.dumps(dict.fromkeys(pieces, -1.0)))
    with wave.open(str(path / "reference.wav"), "wb") as file:
        file.setparams((1, 2, 24000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(48000) / 15)).astype("<i2").tobytes())
    return folder(
        path, name="tiny-pocket", engine="sherpa", format="pocket", settings={"threads": 1}, sample_rate=24000,
        languages=("en",),
    )  # fmt: skip


def _pocket_main() -> onnx.GraphProto:
    """Counts its steps, and keeps the mean of the embedding that it was given first."""
    info, made, constant = helper.make_tensor_value_info, helper.make_node, numpy_helper.from_array
    number = TensorProto.FLOAT
    axes, first = constant(np.array([1, 2], np.int64), "axes"), constant(np.array(1, np.int64), "first")
    nodes = [
        made("Shape", ["sequence"], ["shape"]),
        made("Gather", ["shape", "first"], ["length"], axis=0),
        made("Cast", ["length"], ["steps"], to=number),
        made("Add", ["count", "steps"], ["next_count"]),
        made("ReduceSum", ["embedding", "axes"], ["sum"], keepdims=1),
        made("Mul", ["sum", "scale"], ["level"]),
        made("Equal", ["voice", "zero"], ["is_first"]),
        made("Where", ["is_first", "level", "voice"], ["next_voice"]),
        made("Add", ["next_voice", "wide"], ["conditioning"]),
        made("Sub", ["next_count", "until"], ["eos"]),
    ]
    values = {"scale": 1 / 1024, "zero": 0.0, "until": 7.0}
    constants = [constant(np.full((1, 1, 1), value, np.float32), name) for name, value in values.items()]
    constants.append(constant(np.zeros((1, 1, 1024), np.float32), "wide"))
    inputs = [info("sequence", number, [1, "S", 32]), info("embedding", number, [1, "T", 1024]),
              info("count", number, [1, 1, 1]), info("voice", number, [1, 1, 1])]  # fmt: skip
    outputs = [info("conditioning", number, [1, 1, 1024]), info("eos", number, [1, 1, 1]),
               info("next_count", number, [1, 1, 1]), info("next_voice", number, [1, 1, 1])]  # fmt: skip
    return helper.make_graph(nodes, "main", inputs, outputs, [axes, first, *constants])


def _pocket_flow() -> onnx.GraphProto:
    """In one step from any noise to the conditioning."""
    info, made, constant = helper.make_tensor_value_info, helper.make_node, numpy_helper.from_array
    number = TensorProto.FLOAT
    axes = constant(np.array([1, 2], np.int64), "axes")
    nodes = [
        made("ReduceMean", ["c", "axes"], ["mean"], keepdims=0),
        made("Add", ["s", "t"], ["times"]),
        made("Mul", ["times", "zero"], ["nothing"]),
        made("Add", ["mean", "nothing"], ["level"]),
        made("Sub", ["level", "x"], ["direction"]),
    ]
    inputs = [info("c", number, [1, 1, 1024]), info("s", number, [1, 1]), info("t", number, [1, 1]),
              info("x", number, [1, 32])]  # fmt: skip
    zero = constant(np.zeros((1, 1), np.float32), "zero")
    return helper.make_graph(nodes, "flow", inputs, [info("direction", number, [1, 32])], [axes, zero])
