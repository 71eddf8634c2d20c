"""Speech by sherpa-onnx: VITS (Piper, Coqui, icefall, MMS), Kokoro, Matcha with a vocoder, Kitten, and PocketTTS, which
speaks like a recording that it is given: it clones voices.

Since its version 2 the library has no phonemizer of its own: a model with a lexicon, or with letters as its units, is
given text; any other the phonemes of espeak-ng, decomposed (NFD) as Piper's training had them.

The native code ends the whole process over a missing entry in a model's metadata. So a folder is first inspected,
loaded and spoken with in a child process, and only one that survives that is loaded here.
"""

from __future__ import annotations

import os
import queue
import threading
import unicodedata
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ml import devices, errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.tts import languages
from ml.tts.engines import base, espeak
from ml.tts.engines.base import Reference, SpeechRequest, SynthesizerCapabilities, voices
from ml.tts.engines.turns import Turns
from ml.types import PcmSamples, Samples, Voice
from ml.workers import WorkerPool

__all__ = ["SherpaSynthesizer", "capabilities", "load", "voices"]

_SLOWEST, _FASTEST = 0.1, 8.0
_PROBE_SECONDS = 120.0

_SETTINGS: dict[str, tuple[type, ...]] = {
    "device": (str,),  # auto or cpu: the wheel of sherpa-onnx has no GPU code
    "threads": (int,),  # of one call; default: the processors, 4 at most
    "instances": (int,),  # copies of the model, each of which speaks for one caller at a time
    "espeak_voice": (str,),  # whose phonemes the model learned; default: what its metadata say
    "length_scale": (int, float),  # how much slower than trained is normal
    "model": (str,),
    "tokens": (str,),
    "lexicon": (list,),  # file names
    "rule_fsts": (list,),
    "rule_fars": (list,),
}
_POCKET_FILES = ("lm_flow", "lm_main", "encoder", "decoder", "text_conditioner", "vocab", "token_scores")
_NOISE: dict[str, tuple[type, ...]] = {"noise_scale": (int, float)}
_FORMATS: dict[str, dict[str, tuple[type, ...]]] = {
    "vits": {**_SETTINGS, **_NOISE, "noise_scale_w": (int, float)},
    "kokoro": {**_SETTINGS, "voices": (str,)},
    "kitten": {**_SETTINGS, "voices": (str,)},
    "matcha": {**_SETTINGS, **_NOISE, "vocoder": (str,)},
    "pocket": {
        **dict.fromkeys(("device", *_POCKET_FILES), (str,)),
        "reference": (str,),  # a wav of whom it speaks like where nobody else is asked for
        "threads": (int,),
        "instances": (int,),
        "steps": (int,),  # of the flow, for each 80 ms
        "rule_fsts": (list,),
        "rule_fars": (list,),
    },
}
_DEFAULT_FILES = {
    "model": "model.onnx", "tokens": "tokens.txt", "voices": "voices.bin", "vocoder": "vocoder.onnx",
    "lm_flow": "lm_flow.onnx", "lm_main": "lm_main.onnx", "encoder": "encoder.onnx", "decoder": "decoder.onnx",
    "text_conditioner": "text_conditioner.onnx", "vocab": "vocab.json", "token_scores": "token_scores.json",
    "reference": "reference.wav",
}  # fmt: skip
_METADATA = {
    "vits": ("sample_rate", "n_speakers", "language", "comment"),
    "kokoro": ("sample_rate", "n_speakers", "has_espeak", "style_dim"),
    "kitten": ("sample_rate", "n_speakers", "has_espeak", "style_dim", "model_type"),
    "matcha": ("sample_rate", "n_speakers"),
}
_ZERO_SHOT = "pocket"
_REFERENCE_SECONDS = 20.0  # more of a recording makes it slower, and no more alike
_SHORTEST_SECONDS = 1.0
_VOWELS = "aeiouəɪ"  # unknown ones are left out; every language has one of them
_NUMBERS = ("sample_rate", "n_speakers", "has_espeak")


def capabilities(manifest: ModelManifest) -> SynthesizerCapabilities:
    """What a folder with this manifest will be able to do. Loads nothing. Raises `ModelInvalid`."""
    settings = _settings(manifest)
    return SynthesizerCapabilities(
        languages=tuple(map(languages.with_case, manifest.languages)),
        sample_rate=manifest.sample_rate,
        speed=manifest.format != _ZERO_SHOT,
        cloning=manifest.format == _ZERO_SHOT,
        concurrency=int(settings.number("instances", 1, 1, 64)),
    )


def takes_phonemes(folder: ModelFolder) -> bool:
    """Whether the model's units are phonemes rather than letters or the words of a lexicon. Loads nothing."""
    settings = _settings(folder.manifest)
    if settings.get("lexicon", []) or "lexicon.txt" in folder.manifest.files:
        return False
    if folder.manifest.format == _ZERO_SHOT:
        return False
    tokens = folder.file(settings.get("tokens", _DEFAULT_FILES["tokens"]))
    try:
        return "ə" in tokens.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def load(folder: ModelFolder) -> SherpaSynthesizer:
    """Raises `ModelInvalid` for what cannot be served, before native code in this process sees it."""
    manifest = folder.manifest
    plan = _plan(folder)
    facts = _inspect(manifest, plan)
    if facts["sample_rate"] != manifest.sample_rate:
        raise errors.ModelInvalid(f"{manifest.id} speaks at {facts['sample_rate']} Hz, not {manifest.sample_rate}.")
    return SherpaSynthesizer(manifest, plan, facts)


class SherpaSynthesizer:
    def __init__(self, manifest: ModelManifest, plan: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self.capabilities = capabilities(manifest)
        self._speakers = base.speakers(manifest)
        for speaker in self._speakers.values():
            if not isinstance(speaker.key, int) or not 0 <= speaker.key < max(1, facts["num_speakers"]):
                raise errors.ModelInvalid(f"{manifest.id} has no speaker {speaker.key!r}, as {speaker.voice.id} says.")
        own = _read_reference(plan["reference"]) if "reference" in plan else None
        self._reference = own and _at_rate(own, manifest.sample_rate)
        self._steps = int(plan.get("steps", 1))
        self._phonemes = _phoneme_languages(manifest, self.voices(), plan, facts)
        self._length_scale = float(manifest.settings.get("length_scale", 1.0))
        self._turns = Turns(self.capabilities.concurrency)
        # A call holds its copy alone: nothing promises that the native frontends are re-entrant.
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.capabilities.concurrency):
            self._idle.put(_native(plan))

    def voices(self) -> tuple[Voice, ...]:
        return tuple(speaker.voice for speaker in self._speakers.values())

    def speak(self, request: SpeechRequest, *, cancel: threading.Event | None = None) -> PcmSamples:
        heard = self._reference if request.likeness is None else request.likeness
        if request.pitch or not (heard is None or isinstance(heard, Reference)) or (heard and self._reference is None):
            raise errors.InvalidRequest("This model clones no voices and changes no pitch.", param="voice")
        native = self._native_request(request, cancel)
        if native is None:
            return np.zeros(0, dtype=np.int16)
        with self._turns.turn(cancel):
            return self._generate(replace(native, reference=heard, steps=self._steps), cancel)

    def learn(
        self, samples: Samples, sample_rate: int, *, text: str = "", cancel: threading.Event | None = None
    ) -> Reference:
        """What a zero-shot model learns is the recording itself."""
        if self._reference is None:
            raise errors.InvalidRequest("This model clones no voices.", param="model")
        if len(samples) < _SHORTEST_SECONDS * sample_rate:
            raise errors.AudioEmpty(f"A recording of a voice has {_SHORTEST_SECONDS:g} second at the least.")
        heard = Reference(base.to_pcm(samples[: round(_REFERENCE_SECONDS * sample_rate)]), sample_rate)
        return _at_rate(heard, self.capabilities.sample_rate)

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get()

    def _native_request(self, request: SpeechRequest, cancel: threading.Event | None) -> _Request | None:
        utterance, voice_id = request.utterance, request.utterance.voice
        key = self._speakers[voice_id].key
        # With a speed of 1 the library takes the length scale of its configuration, else only the speed.
        speed = min(_FASTEST, max(_SLOWEST, request.speed)) / self._length_scale
        phonemes = self._phonemes.get(voice_id)
        if phonemes is None:
            return _Request(utterance.text, [], int(key), speed)
        ipa = unicodedata.normalize("NFD", espeak.phonemize_runs(utterance, phonemes, cancel=cancel))
        return _Request("", [[ord(symbol) for symbol in ipa]], int(key), speed) if ipa.strip() else None

    def _generate(self, request: _Request, cancel: threading.Event | None) -> PcmSamples:
        native = self._idle.get()
        try:
            samples = _generate(native, request, lambda: cancel is not None and cancel.is_set())
        except (RuntimeError, IndexError, MemoryError) as error:
            raise errors.EngineFailed(f"sherpa-onnx failed on this text: {error}") from error
        finally:
            self._idle.put(native)
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        return samples


@dataclass(frozen=True, slots=True)
class _Request:
    text: str  # empty where there are phonemes
    phonemes: list[list[int]]  # code points
    speaker: int
    speed: float
    reference: Reference | None = None
    steps: int = 1


def _phoneme_languages(
    manifest: ModelManifest, listed: tuple[Voice, ...], plan: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, str]:
    """By voice id, the espeak voice whose phonemes the model is given; none for a model that is given text."""
    if plan.get("lexicon") or facts["frontend"] == "characters":
        return {}
    trained = manifest.settings.get("espeak_voice") or facts["voice"]
    found = {}
    for voice in listed:
        same = trained and languages.primary(trained) == languages.primary(voice.language)
        found[voice.id] = trained if same or "espeak_voice" in manifest.settings else voice.language
        if espeak.for_language(found[voice.id]) is None:
            raise errors.ModelInvalid(f"{manifest.id}: espeak-ng has no phonemes for {found[voice.id]!r}.")
    return found


# ── What a folder asks for ──────────────────────────────────────────────────────────────────────────────────────────


def _settings(manifest: ModelManifest) -> base.Settings:
    known = _FORMATS.get(manifest.format)
    if known is None:
        raise errors.ModelInvalid(f"{manifest.id}: sherpa speaks no {manifest.format!r} models.")
    settings = base.Settings(manifest, known)
    if devices.resolve(settings.get("device", "cpu").replace("auto", "cpu")) != devices.CPU:
        raise errors.ModelInvalid(f"{manifest.id}: sherpa-onnx speaks on the CPU only.")
    return settings


def _plan(folder: ModelFolder) -> dict[str, Any]:
    """The files and numbers that `_native` needs, in types that cross to the child process."""
    manifest, settings = folder.manifest, _settings(folder.manifest)
    plan: dict[str, Any] = {"format": manifest.format}
    for name, default in _DEFAULT_FILES.items():
        if name in _FORMATS[manifest.format]:
            plan[name] = base.existing_file(folder, settings.get(name, default))
    lexicon = ["lexicon.txt"] if "lexicon.txt" in manifest.files else []
    for name, files in (("lexicon", lexicon), ("rule_fsts", []), ("rule_fars", [])):
        paths = [base.existing_file(folder, str(file)) for file in settings.get(name, files)]
        if any("," in path for path in paths):
            raise errors.ModelInvalid(f"{manifest.id}: sherpa-onnx cannot read files whose path has a comma.")
        plan[name] = ",".join(paths)
    plan["threads"] = int(settings.number("threads", min(4, os.cpu_count() or 1), 1, 64))
    plan["noise_scale"] = settings.number("noise_scale", 0.667, 0.0, 2.0)
    plan["noise_scale_w"] = settings.number("noise_scale_w", 0.8, 0.0, 2.0)
    settings.number("length_scale", 1.0, 0.25, 4.0)
    plan["steps"] = int(settings.number("steps", 1, 1, 64))
    return plan


def _native(plan: Mapping[str, Any]) -> Any:
    """The library's own object."""
    import sherpa_onnx

    kind, lexicon = plan["format"], plan["lexicon"]
    parts: dict[str, Any] = {}
    if kind == "vits":
        parts[kind] = sherpa_onnx.OfflineTtsVitsModelConfig(
            model=plan["model"],
            lexicon=lexicon,
            tokens=plan["tokens"],
            noise_scale=plan["noise_scale"],
            noise_scale_w=plan["noise_scale_w"],
        )
    elif kind == _ZERO_SHOT:
        parts[kind] = sherpa_onnx.OfflineTtsPocketModelConfig(
            **{name: plan[name] for name in _POCKET_FILES[:-2]},
            vocab_json=plan["vocab"],
            token_scores_json=plan["token_scores"],
        )
    elif kind == "matcha":
        parts[kind] = sherpa_onnx.OfflineTtsMatchaModelConfig(
            acoustic_model=plan["model"],
            vocoder=plan["vocoder"],
            lexicon=lexicon,
            tokens=plan["tokens"],
            noise_scale=plan["noise_scale"],
        )
    else:
        make = sherpa_onnx.OfflineTtsKokoroModelConfig if kind == "kokoro" else sherpa_onnx.OfflineTtsKittenModelConfig
        parts[kind] = make(model=plan["model"], voices=plan["voices"], tokens=plan["tokens"], lexicon=lexicon)
    config = sherpa_onnx.OfflineTtsConfig(
        model=sherpa_onnx.OfflineTtsModelConfig(**parts, num_threads=plan["threads"]),
        rule_fsts=plan["rule_fsts"],
        rule_fars=plan["rule_fars"],
    )
    if not config.validate():
        raise errors.ModelInvalid("sherpa-onnx refuses the files of this model.")
    return sherpa_onnx.OfflineTts(config)


def _generate(native: Any, request: _Request, stop: Callable[[], bool]) -> PcmSamples:
    import sherpa_onnx

    config = sherpa_onnx.GenerationConfig()
    config.sid = request.speaker
    config.speed = request.speed
    config.phoneme_codepoints = request.phonemes
    if request.reference is not None:
        config.reference_audio = request.reference.samples.astype(np.float32) / 32768
        config.reference_sample_rate = request.reference.sample_rate
        config.num_steps = request.steps
    made = native.generate(request.text, config, lambda _samples, _progress: int(not stop()))
    return base.to_pcm(np.asarray(made.samples, dtype=np.float32))


# ── Inspecting, in a child process ──────────────────────────────────────────────────────────────────────────────────


def _inspect(manifest: ModelManifest, plan: Mapping[str, Any]) -> dict[str, Any]:
    pool = WorkerPool("ml.tts.engines.sherpa:Probe", {"plan": dict(plan)}, size=1)
    try:
        return dict(pool.call("inspect", timeout_seconds=_PROBE_SECONDS))
    except (errors.EngineFailed, errors.ModelInvalid) as error:
        raise errors.ModelInvalid(f"{manifest.id} cannot be served by sherpa-onnx: {error.message}") from error
    finally:
        pool.close()


class Probe:
    """What runs in the child process. Native code may end it at any point."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan

    def inspect(self) -> dict[str, Any]:
        """`sample_rate`, `num_speakers`, `frontend` ("characters" or "") and `voice` (espeak's, or "")."""
        if self._plan["format"] == _ZERO_SHOT:
            return self._inspect_zero_shot()
        metadata = _metadata(self._plan["model"])
        _check_metadata(self._plan["format"], metadata)
        if "vocoder" in self._plan and "model_type" not in _metadata(self._plan["vocoder"]):
            raise errors.ModelInvalid("The metadata of the vocoder have no 'model_type'.")
        native = _native(self._plan)
        voice = metadata.get("voice", "" if self._plan["format"] in ("vits", "matcha") else "en-us")
        frontend = metadata.get("frontend", "")
        as_text = self._plan["lexicon"] or frontend == "characters"
        trial = _Request("a" if as_text else "", [] if as_text else [list(map(ord, _VOWELS))], 0, 1.0)
        if not len(_generate(native, trial, lambda: False)) and not as_text:
            raise errors.ModelInvalid("its tokens are not phonemes of espeak-ng.")
        return {
            "sample_rate": int(native.sample_rate),
            "num_speakers": int(native.num_speakers),
            "frontend": frontend,
            "voice": voice,
        }

    def _inspect_zero_shot(self) -> dict[str, Any]:
        native = _native(self._plan)
        reference = _read_reference(self._plan["reference"])
        if not len(_generate(native, _Request("a", [], 0, 1.0, reference, self._plan["steps"]), lambda: False)):
            raise errors.ModelInvalid("it says nothing.")
        return {"sample_rate": int(native.sample_rate), "num_speakers": 1, "frontend": "characters", "voice": ""}


def _at_rate(reference: Reference, rate: int) -> Reference:
    """The library can do this too, but speaks of it each time."""
    import soxr

    if reference.sample_rate == rate:
        return reference
    return Reference(np.asarray(soxr.resample(reference.samples, reference.sample_rate, rate)), rate)


def _read_reference(path: str) -> Reference:
    """A wav of 16-bit PCM. Raises `ModelInvalid`."""
    try:
        with wave.open(path) as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2) or not 8_000 <= file.getframerate() <= 48_000:
                raise errors.ModelInvalid("The reference is to be a mono wav of 16-bit PCM.")
            length = round(_REFERENCE_SECONDS * file.getframerate())
            samples = np.frombuffer(file.readframes(length), "<i2")
            rate = file.getframerate()
    except (wave.Error, EOFError) as error:
        raise errors.ModelInvalid("The reference is no wav file.") from error
    if len(samples) < _SHORTEST_SECONDS * rate:
        raise errors.ModelInvalid("The reference is too short.")
    return Reference(samples, rate)


def _metadata(model: str) -> dict[str, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return dict(session.get_modelmeta().custom_metadata_map)


def _check_metadata(kind: str, metadata: Mapping[str, str]) -> None:
    missing = [name for name in _METADATA[kind] if not metadata.get(name)]
    if missing:
        raise errors.ModelInvalid(f"The metadata of the ONNX model have no {missing[0]!r}.")
    for name in (*_NUMBERS, "style_dim"):
        if name in metadata and not all(part.strip().isdigit() for part in metadata[name].split(",")):
            raise errors.ModelInvalid(f"{name} in the metadata of the ONNX model is {metadata[name][:40]!r}.")
