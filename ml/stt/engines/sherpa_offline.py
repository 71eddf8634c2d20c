"""Recognition with sherpa-onnx of whole windows: transducers, CTC models, Moonshine and SenseVoice.

Which files a folder needs, and which entries their metadata, is said by `_PLANNERS`, one for each format. Batches are
computed together where the library does so, and padded; models are trusted to mask that padding, as those of icefall
and NeMo do. The library keeps each call's state in its streams and releases the GIL. For Whisper see `sherpa_whisper`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml import errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.stt.engines import checks, sherpa
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.engines.options import spoken_languages
from ml.stt.engines.sherpa import Plan, SherpaSettings, find_file

TRANSDUCERS = ("transducer", "nemo_transducer")


@dataclass(frozen=True, slots=True)
class CtcKind:
    """What the library wants of one kind of CTC model."""

    numbers: tuple[str, ...] = ()  # entries of the metadata that are whole and over 0
    entries: tuple[str, ...] = ()  # others
    batches: bool = True  # whether it computes windows together
    features: bool = True  # whether their number can be chosen


CTC_KINDS = {
    "zipformer_ctc": CtcKind(),
    "nemo_ctc": CtcKind(("vocab_size", "subsampling_factor")),
    "wenet_ctc": CtcKind(("vocab_size", "subsampling_factor"), batches=False),
    "telespeech_ctc": CtcKind((), ("model_type",), batches=False, features=False),
    "dolphin_ctc": CtcKind(("vocab_size",), ("mean", "invstd")),
    "omnilingual_asr_ctc": CtcKind(batches=False, features=False),
    "medasr_ctc": CtcKind(("vocab_size",), ("model_type",), features=False),
}
_SENSE_VOICE_NUMBERS = ("vocab_size", "lfr_window_size", "lfr_window_shift")
_SENSE_VOICE = (
    "normalize_samples", "with_itn", "without_itn", "lang_auto", "lang_zh", "lang_en", "lang_ja", "lang_ko", "lang_yue",
    "neg_mean", "inv_stddev",
)  # fmt: skip


def capabilities(manifest: ModelManifest) -> EngineCapabilities:
    """By what the manifest says alone; loads nothing. Punctuation and such are a model's own: its manifest says so."""
    settings = sherpa.settings_of(manifest)
    own = EngineCapabilities(
        languages=spoken_languages(manifest), max_batch=settings.max_batch, word_times=True, max_window_seconds=30.0
    )
    match manifest.format:
        case "transducer":
            return replace(own, word_confidences=True, hotwords=settings.hotwords)
        case "ctc":
            return own if _ctc_kind(manifest, settings).batches else replace(own, max_batch=1)
        case "sense_voice":
            itn = settings.use_itn
            detects = settings.language in ("", "auto")
            return replace(own, language_detection=detects, punctuation=itn, casing=itn, inverse_normalization=itn)
        case "moonshine":  # whose windows the library takes one by one
            return replace(own, max_batch=1, word_times=False, punctuation=True, casing=True)
    raise errors.ModelInvalid(f"{manifest.id}: sherpa has no format {manifest.format!r}.")


def load(folder: ModelFolder) -> SherpaOffline:
    """Raises `ModelInvalid` for what cannot be served, before native code in this process sees it."""
    able = capabilities(folder.manifest)
    settings = sherpa.settings_of(folder.manifest)
    plan, tokens = _PLANNERS[folder.manifest.format](folder, settings)
    sherpa.try_plan(folder, plan)
    return SherpaOffline(plan, able, sherpa.hotword_letters(tokens, settings))


class SherpaOffline:
    """A loaded model. Safe to call from several threads."""

    def __init__(self, plan: Plan, capabilities: EngineCapabilities, letters: frozenset[str]) -> None:
        self.capabilities = capabilities
        self._letters = letters
        self._native = sherpa.build(plan)

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        for window in windows:
            sherpa.check_window(window, self.capabilities.languages)
        results = [Hypothesis("", (), 0.0)] * len(windows)
        for batch in sherpa.batches(sherpa.sound_places(windows), self.capabilities.max_batch):
            if cancel is not None and cancel.is_set():
                raise errors.Cancelled("The request was cancelled.")
            with sherpa.failing_as("Recognition"):
                streams = [self._stream(windows[place]) for place in batch]
                self._native.decode_streams(streams)
                for place, stream in zip(batch, streams, strict=True):
                    results[place] = self._hypothesis(windows[place], stream.result)
        return results

    def close(self) -> None:
        self._native = None

    def _stream(self, window: Window) -> Any:
        hotwords = sherpa.hotwords_text(window.hotwords, self._letters) if self.capabilities.hotwords else ""
        stream = self._native.create_stream(hotwords) if hotwords else self._native.create_stream()
        stream.accept_waveform(sherpa.SAMPLE_RATE, sherpa.waveform(window.samples))
        return stream

    def _hypothesis(self, window: Window, result: Any) -> Hypothesis:
        language = result.lang.strip("<|>").lower() if self.capabilities.language_detection else ""
        tokens = sherpa.tokens_of(result)
        return sherpa.hypothesis_of(
            result.text,
            tokens,
            list(result.timestamps) if tokens and self.capabilities.word_times else (),
            list(result.ys_log_probs),
            len(window.samples) / sherpa.SAMPLE_RATE,
            language if language in self.capabilities.languages else None,
        )


# ── Plans ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def transducer_arguments(
    folder: ModelFolder, settings: SherpaSettings, *, nemo: bool = False
) -> tuple[dict[str, Any], dict[str, int]]:
    """Arguments that both kinds of transducer take, and the tokens. The files are checked."""
    parts = {part: find_file(folder, part, getattr(settings, part)) for part in ("encoder", "decoder", "joiner")}
    tokens_file = find_file(folder, "tokens", settings.tokens, suffix=".txt")
    tokens = checks.read_tokens(tokens_file)
    joiner = checks.read_onnx(parts["joiner"])
    checks.require_shape(parts["joiner"], joiner, inputs=2, outputs=1)
    if nemo:
        numbers = ("vocab_size", "subsampling_factor", "pred_rnn_layers", "pred_hidden")
        facts = checks.require_metadata(parts["encoder"], (), numbers=numbers)
        checks.read_onnx(parts["decoder"])
        checks.require_vocabulary(parts["encoder"], facts, tokens, blank_beyond=True)
    else:
        checks.read_onnx(parts["encoder"])
        facts = checks.require_metadata(parts["decoder"], (), numbers=("vocab_size", "context_size"))
        checks.require_vocabulary(parts["decoder"], facts, tokens)
    arguments: dict[str, Any] = {part: str(path) for part, path in parts.items()}
    arguments |= sherpa.common_arguments(settings) | {
        "tokens": str(tokens_file),
        "sample_rate": folder.manifest.sample_rate,
        "feature_dim": settings.feature_dim,
        "decoding_method": settings.decoding_method,
        "max_active_paths": settings.max_active_paths,
        "blank_penalty": settings.blank_penalty,
        "hotwords_score": settings.hotwords_score,
        "modeling_unit": settings.modeling_unit,
    }
    if settings.bpe_vocab:
        arguments["bpe_vocab"] = str(sherpa.regular_file(folder, settings.bpe_vocab))
    return arguments, tokens


def language_model_arguments(folder: ModelFolder, settings: SherpaSettings, *, streaming: bool) -> dict[str, Any]:
    """A neural language model beside a transducer's beam search, and what is known of the transducer's own (LODR).

    Whole windows rescore their last hypotheses with one that tells a sentence's negative log-likelihood; streams fuse
    one in that tells the next token's, step by step. LODR: Meng et al., "Low-order density ratio" (2022).
    """
    if not settings.lm:
        return {}
    path = sherpa.regular_file(folder, settings.lm)
    inputs, outputs = (3, 3) if streaming else (2, 1)
    checks.require_shape(path, checks.read_onnx(path), inputs=inputs, outputs=outputs)
    if streaming:
        checks.require_metadata(path, ("sos_id",), numbers=("num_layers", "hidden_size"))
    arguments: dict[str, Any] = {"lm": str(path), "lm_scale": settings.lm_scale}
    if settings.lodr_fst:
        arguments["lodr_fst"] = str(sherpa.regular_file(folder, settings.lodr_fst))
        arguments["lodr_scale"] = settings.lodr_scale
    return arguments


def _transducer(folder: ModelFolder, settings: SherpaSettings) -> tuple[Plan, dict[str, int]]:
    kind = settings.model_type or "transducer"
    if kind not in TRANSDUCERS:
        raise errors.ModelInvalid(f"{folder.manifest.id}: model_type must be one of {', '.join(TRANSDUCERS)}.")
    arguments, tokens = transducer_arguments(folder, settings, nemo=kind == "nemo_transducer")
    if kind == "nemo_transducer" and settings.lm:
        raise errors.ModelInvalid(f"{folder.manifest.id}: a nemo_transducer takes no language model.")
    arguments |= {"model_type": kind} | language_model_arguments(folder, settings, streaming=False)
    return Plan("OfflineRecognizer", "from_transducer", arguments), tokens


def _ctc(folder: ModelFolder, settings: SherpaSettings) -> tuple[Plan, dict[str, int]]:
    kind = _ctc_kind(folder.manifest, settings)
    model, tokens_file, tokens = _model_and_tokens(folder, settings)
    facts = checks.require_metadata(model, kind.entries, numbers=kind.numbers)
    if "vocab_size" in kind.numbers:
        checks.require_vocabulary(model, facts, tokens, blank_beyond=settings.model_type == "nemo_ctc")
    arguments = {"model": str(model), "tokens": tokens_file} | sherpa.common_arguments(settings)
    if kind.features:
        arguments |= {"feature_dim": settings.feature_dim, "sample_rate": folder.manifest.sample_rate}
    return Plan("OfflineRecognizer", f"from_{settings.model_type}", arguments), tokens


def _ctc_kind(manifest: ModelManifest, settings: SherpaSettings) -> CtcKind:
    kind = CTC_KINDS.get(settings.model_type)
    if kind is None:
        raise errors.ModelInvalid(f"{manifest.id}: model_type must be one of {', '.join(CTC_KINDS)}.")
    return kind


def _sense_voice(folder: ModelFolder, settings: SherpaSettings) -> tuple[Plan, dict[str, int]]:
    model, tokens_file, tokens = _model_and_tokens(folder, settings)
    facts = checks.require_metadata(model, _SENSE_VOICE, numbers=_SENSE_VOICE_NUMBERS)
    checks.require_vocabulary(model, facts, tokens)
    arguments = {
        "model": str(model),
        "tokens": tokens_file,
        "language": settings.language,
        "use_itn": settings.use_itn,
    }
    arguments |= sherpa.common_arguments(settings)
    return Plan("OfflineRecognizer", "from_sense_voice", arguments), tokens


def _moonshine(folder: ModelFolder, settings: SherpaSettings) -> tuple[Plan, dict[str, int]]:
    """Of four files, or since its second version of two."""
    tokens_file = find_file(folder, "tokens", settings.tokens, suffix=".txt")
    names = " ".join(folder.manifest.files)
    if settings.preprocessor or "preprocess" in names:
        parts = {
            "preprocessor": find_file(folder, "preprocess", settings.preprocessor),
            "encoder": find_file(folder, "encode", settings.encoder),
            "uncached_decoder": find_file(folder, "uncached_decode", settings.uncached_decoder),
            "cached_decoder": _cached_decoder(folder, settings),
        }
        constructor = "from_moonshine"
    else:
        suffix = ".ort" if ".ort" in names else ".onnx"
        parts = {
            "encoder": find_file(folder, "encoder", settings.encoder, suffix=suffix),
            "decoder": find_file(folder, "decoder", settings.decoder, suffix=suffix),
        }
        constructor = "from_moonshine_v2"
    for part, path in parts.items():
        facts = checks.read_onnx(path) if path.suffix == ".onnx" else None
        if facts and part == "preprocessor" and len(facts.inputs) != 1:  # the library hides what then fails
            raise errors.ModelInvalid(f"{path.name} is no preprocessor of Moonshine: it does not take one input.")
    arguments: dict[str, Any] = {part: str(path) for part, path in parts.items()}
    return Plan(
        "OfflineRecognizer", constructor, arguments | {"tokens": str(tokens_file)} | sherpa.common_arguments(settings)
    ), checks.read_tokens(tokens_file)


def _cached_decoder(folder: ModelFolder, settings: SherpaSettings) -> Any:
    """ "cached_decode" is part of the other's name too."""
    names = [name for name in folder.manifest.files if "cached_decode" in name and "uncached" not in name]
    return find_file(folder, "cached_decode", settings.cached_decoder or (names[0] if len(names) == 1 else ""))


def _model_and_tokens(folder: ModelFolder, settings: SherpaSettings) -> tuple[Any, str, dict[str, int]]:
    model = find_file(folder, "model", settings.model)
    tokens_file = find_file(folder, "tokens", settings.tokens, suffix=".txt")
    return model, str(tokens_file), checks.read_tokens(tokens_file)


_PLANNERS: dict[str, Callable[[ModelFolder, SherpaSettings], tuple[Plan, dict[str, int]]]] = {
    "transducer": _transducer,
    "ctc": _ctc,
    "sense_voice": _sense_voice,
    "moonshine": _moonshine,
}
