"""Helpers of recognition with sherpa-onnx: punctuation, diarization, speaker embedding, spoken-language identification.

As with the recognisers, the metadata that the native code ends the process over are looked for first, and then a child
process loads and uses the model once (`ml.stt.engines.sherpa.try_plan`).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import devices, errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.stt.engines import checks, sherpa_whisper
from ml.stt.engines.options import check_range, read_settings, spoken_languages, thread_count
from ml.stt.engines.sherpa import SAMPLE_RATE, UNSURE, Plan, failing_as, find_file, regular_file, try_plan, waveform
from ml.stt.helpers.base import LanguageGuess
from ml.stt.helpers.speakers import SpeakerTurn
from ml.types import PcmSamples

LANGUAGE_SECONDS = 30

_WESTERN = {"，": ",", "。": ".", "？": "?", "、": ",", "！": "!"}
_FULL_WIDTH = re.compile(r"(?<=[^\u3000-\u9fff])([，。？、！])\s*(?=(.)?)")

_SEGMENTATION = (
    "num_speakers", "powerset_max_classes", "num_classes", "sample_rate", "window_size", "receptive_field_size",
    "receptive_field_shift",
)  # fmt: skip
_EMBEDDING = ("output_dim", "sample_rate")
_EMBEDDING_FRAMEWORKS = {
    # the entries of its metadata that the library reads besides, and those that are whole and over 0
    "wespeaker": (("normalize_samples", "language"), ()),
    "3d-speaker": (("normalize_samples", "language"), ()),
    "nemo": (("language",), ("feat_dim", "window_size_ms", "window_stride_ms")),
}
_PUNCTUATION = ("tokens", "punctuations", "unk_symbol")


@dataclass(frozen=True, slots=True)
class HelperSettings:
    """`settings` of a helper's `model.json`. File names are those of the folder; "" finds them."""

    device: str = "auto"  # auto or cpu: the wheel has no GPU code
    threads: int = 0  # 0: the cores, at most eight
    model: str = ""
    encoder: str = ""
    decoder: str = ""
    segmentation: str = ""
    embedding: str = ""
    clustering_threshold: float = 0.5  # distance up to which two voices are one
    min_turn_seconds: float = 0.3
    min_pause_seconds: float = 0.5  # shorter ones do not end a turn

    def __post_init__(self) -> None:
        check_range("threads", self.threads, 0, 64)
        check_range("clustering_threshold", self.clustering_threshold, 0.01, 2)
        check_range("min_turn_seconds", self.min_turn_seconds, 0, 10)
        check_range("min_pause_seconds", self.min_pause_seconds, 0, 10)


def load_punctuation(folder: ModelFolder) -> Punctuation:
    """A CT-transformer. Raises `ModelInvalid`."""
    settings = _settings(folder.manifest)
    model = find_file(folder, "model", settings.model)
    facts = checks.require_metadata(model, _PUNCTUATION)
    tokens, marks = (facts.metadata[name].split("|") for name in ("tokens", "punctuations"))
    for mark in ("，", "。", "？", "_"):
        if mark not in marks:
            raise errors.ModelInvalid(f"{model.name}: its punctuations lack {mark!r}.")
    if facts.metadata["unk_symbol"] not in tokens:
        raise errors.ModelInvalid(f"{model.name}: its tokens lack the unk_symbol.")
    plan = _plan("Punctuation", settings, model=str(model))
    try_plan(folder, plan, TRIAL)
    return Punctuation(plan)


def load_diarization(folder: ModelFolder) -> Diarization:
    """pyannote's segmentation and an embedding model. Raises `ModelInvalid`."""
    settings = _settings(folder.manifest)
    segmentation = find_file(folder, "segmentation", settings.segmentation)
    facts = checks.require_metadata(segmentation, (), numbers=_SEGMENTATION)
    if facts.metadata["powerset_max_classes"] != "2" or facts.metadata["sample_rate"] != str(SAMPLE_RATE):
        raise errors.ModelInvalid(f"{segmentation.name} must tell two speakers at once, at {SAMPLE_RATE} Hz.")
    speakers = int(facts.metadata["num_speakers"])
    if int(facts.metadata["num_classes"]) != 1 + speakers + speakers * (speakers - 1) // 2:
        raise errors.ModelInvalid(f"{segmentation.name}: num_classes are not those of {speakers} speakers.")
    embedding = find_file(folder, "embedding", settings.embedding)
    _check_embedding(embedding)
    plan = _plan(
        "Diarization",
        settings,
        segmentation=str(segmentation),
        embedding=str(embedding),
        threshold=settings.clustering_threshold,
        min_on=settings.min_turn_seconds,
        min_off=settings.min_pause_seconds,
    )
    try_plan(folder, plan, TRIAL)
    return Diarization(plan)


def load_speaker_embedding(folder: ModelFolder) -> Embedding:
    """WeSpeaker's, 3D-Speaker's or NeMo's. Raises `ModelInvalid`."""
    settings = _settings(folder.manifest)
    model = find_file(folder, "model", settings.model) if _has(folder, "model", settings) else _only_onnx(folder)
    _check_embedding(model)
    plan = _plan("Embedding", settings, model=str(model))
    try_plan(folder, plan, TRIAL)
    return Embedding(plan)


def load_language_identification(folder: ModelFolder) -> Identification:
    """A multilingual Whisper. Raises `ModelInvalid`."""
    settings = _settings(folder.manifest)
    parts = {part: find_file(folder, part, getattr(settings, part)) for part in ("encoder", "decoder")}
    facts = checks.require_metadata(
        parts["encoder"], ("is_multilingual", "sot_sequence"), numbers=sherpa_whisper.NUMBERS
    )
    if facts.metadata["is_multilingual"] != "1":
        raise errors.ModelInvalid(f"{parts['encoder'].name} is English-only.")
    checks.require_metadata(parts["encoder"], sherpa_whisper.LANGUAGE_LISTS)
    checks.require_shape(parts["decoder"], checks.read_onnx(parts["decoder"]), inputs=6, outputs=3)
    plan = _plan("Identification", settings, **{part: str(path) for part, path in parts.items()})
    try_plan(folder, plan, TRIAL)
    return Identification(plan, spoken_languages(folder.manifest))


class Punctuation:
    """See `base.PunctuationModel`."""

    def __init__(self, plan: Plan) -> None:
        self._native = _native(plan)

    def punctuate(self, text: str) -> str:
        if not text.strip():
            return text
        with failing_as("Punctuation"):
            return western_marks(str(self._native.add_punctuation(text)))


class Diarization:
    """See `speakers.Diarizer`. One call at a time: the number of speakers is a state of the native object."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._native = _native(plan)
        self._lock = threading.Lock()

    def diarize(
        self, samples: PcmSamples, *, speakers: int | None = None, cancel: threading.Event | None = None
    ) -> Sequence[SpeakerTurn]:
        def stop(*_: int) -> int:
            return int(cancel is not None and cancel.is_set())

        if not np.any(samples):
            return ()
        with self._lock, failing_as("Diarization"):
            self._native.set_config(_diarization_config(self._plan.arguments, speakers))
            result = self._native.process(waveform(samples), stop)
            found = [(each.start, each.end, each.speaker) for each in result.sort_by_start_time()]
        if stop():
            raise errors.Cancelled("The request was cancelled.")
        return _turns(found, len(samples) / SAMPLE_RATE)


class Embedding:
    """See `speakers.SpeakerEmbedder`."""

    def __init__(self, plan: Plan) -> None:
        self._native = _native(plan)
        self.dimension = int(self._native.dim)

    def embed(self, samples: PcmSamples) -> NDArray[np.float32]:
        with failing_as("Speaker embedding"):
            stream = self._native.create_stream()
            stream.accept_waveform(SAMPLE_RATE, waveform(samples))
            stream.input_finished()
            if not self._native.is_ready(stream):
                raise errors.EngineFailed("There is too little audio for a speaker embedding.")
            vector = np.asarray(self._native.compute(stream), np.float32)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)


class Identification:
    """See `base.LanguageIdentifier`."""

    def __init__(self, plan: Plan, languages: frozenset[str] = frozenset()) -> None:
        self._native = _native(plan)
        self._languages = languages

    def identify(self, samples: PcmSamples) -> Sequence[LanguageGuess]:
        with failing_as("Language identification"):
            stream = self._native.create_stream()
            stream.accept_waveform(SAMPLE_RATE, waveform(samples[: LANGUAGE_SECONDS * SAMPLE_RATE]))
            language = str(self._native.compute(stream))
        if not language or (self._languages and language not in self._languages):
            return ()
        return (LanguageGuess(language, UNSURE),)


def western_marks(text: str) -> str:
    """The library writes full-width marks without a space after them: "city，walked" → "city, walked"."""
    return _FULL_WIDTH.sub(lambda found: _WESTERN[found[1]] + (" " if found[2] else ""), text)


def _turns(found: Sequence[tuple[float, float, int]], seconds: float) -> tuple[SpeakerTurn, ...]:
    """Speakers numbered by first appearance."""
    numbers: dict[int, int] = {}
    return tuple(
        SpeakerTurn(round(max(0.0, start), 3), round(min(seconds, end), 3), numbers.setdefault(speaker, len(numbers)))
        for start, end, speaker in found
        if start < seconds
    )


# ── Plans ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _settings(manifest: ModelManifest) -> HelperSettings:
    settings = read_settings(manifest, HelperSettings)
    if settings.device not in ("auto", devices.CPU):
        raise errors.ModelInvalid(f"{manifest.id}: sherpa models run on the CPU; the device must be auto or cpu.")
    return settings


def _plan(kind: str, settings: HelperSettings, **arguments: Any) -> Plan:
    return Plan(kind, "", {**arguments, "threads": thread_count(settings.threads)})


def _has(folder: ModelFolder, part: str, settings: HelperSettings) -> bool:
    return bool(settings.model) or any(part in Path(name).name for name in folder.manifest.files if "onnx" in name)


def _only_onnx(folder: ModelFolder) -> Path:
    """Embedding models come under the names of their papers."""
    names = [name for name in folder.manifest.files if name.endswith(".onnx")]
    if len(names) != 1:
        raise errors.ModelInvalid(f"{folder.manifest.id} has {len(names)} ONNX files; one is needed.")
    return regular_file(folder, names[0])


def _check_embedding(path: Path) -> None:
    facts = checks.require_metadata(path, ("framework",), numbers=_EMBEDDING)
    needed = _EMBEDDING_FRAMEWORKS.get(facts.metadata["framework"])
    if needed is None:
        raise errors.ModelInvalid(f"{path.name} is of no framework among {', '.join(_EMBEDDING_FRAMEWORKS)}.")
    checks.require_metadata(path, needed[0], numbers=needed[1])


def _native(plan: Plan) -> Any:
    return _MAKERS[plan.library_class](plan.arguments)


def _make_punctuation(arguments: dict[str, Any]) -> Any:
    import sherpa_onnx as library

    model = library.OfflinePunctuationModelConfig(
        ct_transformer=arguments["model"], num_threads=arguments["threads"], provider="cpu"
    )
    return library.OfflinePunctuation(library.OfflinePunctuationConfig(model=model))


def _make_diarization(arguments: dict[str, Any]) -> Any:
    import sherpa_onnx as library

    return library.OfflineSpeakerDiarization(_diarization_config(arguments, None))


def _diarization_config(arguments: dict[str, Any], speakers: int | None) -> Any:
    import sherpa_onnx as library

    threads = arguments["threads"]
    return library.OfflineSpeakerDiarizationConfig(
        segmentation=library.OfflineSpeakerSegmentationModelConfig(
            pyannote=library.OfflineSpeakerSegmentationPyannoteModelConfig(model=arguments["segmentation"]),
            num_threads=threads,
        ),
        embedding=library.SpeakerEmbeddingExtractorConfig(model=arguments["embedding"], num_threads=threads),
        clustering=library.FastClusteringConfig(num_clusters=speakers or -1, threshold=arguments["threshold"]),
        min_duration_on=arguments["min_on"],
        min_duration_off=arguments["min_off"],
    )


def _make_embedding(arguments: dict[str, Any]) -> Any:
    import sherpa_onnx as library

    return library.SpeakerEmbeddingExtractor(
        library.SpeakerEmbeddingExtractorConfig(model=arguments["model"], num_threads=arguments["threads"])
    )


def _make_identification(arguments: dict[str, Any]) -> Any:
    import sherpa_onnx as library

    whisper = library.SpokenLanguageIdentificationWhisperConfig(
        encoder=arguments["encoder"], decoder=arguments["decoder"]
    )
    return library.SpokenLanguageIdentification(
        library.SpokenLanguageIdentificationConfig(whisper=whisper, num_threads=arguments["threads"])
    )


_MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Punctuation": _make_punctuation,
    "Diarization": _make_diarization,
    "Embedding": _make_embedding,
    "Identification": _make_identification,
}


class Trial:
    """What runs in the child process: the model is made and used once."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = Plan(**plan)

    def run(self) -> None:
        noise = np.random.default_rng(0).normal(0, 1000, 12 * SAMPLE_RATE).astype(np.int16)
        match self._plan.library_class:
            case "Punctuation":
                Punctuation(self._plan).punctuate("the words of a trial and some more of them")
            case "Diarization":
                Diarization(self._plan).diarize(noise)
            case "Embedding":
                Embedding(self._plan).embed(noise)
            case _:
                Identification(self._plan).identify(noise)


TRIAL = "ml.stt.helpers.sherpa:Trial"
