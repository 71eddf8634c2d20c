"""Speech by coqui-tts: VITS with one or many speakers, and (`coqui_xtts.py`) XTTS, which also speaks in a voice
heard in a recording.

A folder has Coqui's `config.json`, the weights in `model.pth` or `model.safetensors`, for XTTS `vocab.json` and maybe
`speakers_xtts.pth`, and the files of speakers and languages that the configuration names. All of it is untrusted:
weights are only loaded as tensors, and a configuration may name no class, function or file but known ones.

The models keep state while they compute (tempo, caches), so one call at a time speaks with a model. Random numbers come
from a generator of the call's own, on the CPU: the same text sounds the same every time, and alike on any device.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ml import devices, errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.tts import languages
from ml.tts.engines import base, espeak
from ml.tts.engines.base import Mixture, Speaker, SpeechRequest, SynthesizerCapabilities, voices
from ml.tts.engines.turns import Turns
from ml.tts.script import Utterance
from ml.types import PcmSamples, Voice

if TYPE_CHECKING:
    import torch

    from ml.tts.engines.coqui_xtts import CoquiXtts

__all__ = ["CoquiModel", "CoquiVits", "capabilities", "load", "settings_of", "voices"]

SLOWEST, FASTEST = 0.1, 8.0  # of speeds

_SETTINGS: dict[str, tuple[type, ...]] = {
    "device": (str,),  # auto, cpu, cuda or cuda:<n>
    "compute_type": (str,),  # float32, or on a GPU float16
    "threads": (int,),  # of the whole process: torch has one pool of threads
    "seed": (int,),
    "config": (str,),
    "model": (str,),
}
_FORMATS: dict[str, dict[str, tuple[type, ...]]] = {
    "vits": {**_SETTINGS, "length_scale": (int, float), "noise_scale": (int, float), "noise_scale_w": (int, float)},
    "xtts": {
        **_SETTINGS,
        "vocab": (str,),
        "speakers_file": (str,),
        "temperature": (int, float),
        "top_k": (int,),
        "top_p": (int, float),
        "repetition_penalty": (int, float),
    },
}


def capabilities(manifest: ModelManifest) -> SynthesizerCapabilities:
    """What a folder with this manifest will be able to do. Loads nothing, nor torch. Raises `ModelInvalid`."""
    settings = settings_of(manifest)
    return SynthesizerCapabilities(
        languages=tuple(map(languages.with_case, manifest.languages)),
        sample_rate=manifest.sample_rate,
        speed=True,
        cloning=manifest.format == "xtts",
        device=devices.resolve(settings.get("device", "auto")),
    )


def takes_phonemes(folder: ModelFolder) -> bool:
    """Whether a VITS was trained on phonemes of espeak. Loads nothing."""
    return folder.manifest.format == "vits" and _config(folder).get("use_phonemes") is True


def mixes_voices(folder: ModelFolder) -> bool:
    """Whether the model knows its speakers by vectors of one size, so that there are some in between. Loads nothing."""
    config = _config(folder)
    parts = [part for part in (config, config.get("model_args")) if isinstance(part, dict)]
    if folder.manifest.format == "xtts":  # else its latents are as long as the recording was
        return any(part.get("gpt_use_perceiver_resampler") is True for part in parts)
    told = any(part.get(name) is True for part in parts for name in ("use_speaker_embedding", "use_d_vector_file"))
    return told and len(settings_of(folder.manifest).get("speakers", [])) > 1


def _config(folder: ModelFolder) -> dict[str, Any]:
    """Coqui's configuration as it stands in the folder; empty where it cannot be read, which loading will tell."""
    try:
        config = json.loads(folder.file(settings_of(folder.manifest).get("config", "config.json")).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def load(folder: ModelFolder) -> CoquiVits | CoquiXtts:
    """Raises `ModelInvalid`; `EngineUnavailable` where coqui-tts is not installed; `EngineFailed` on a full GPU."""
    settings_of(folder.manifest)
    library()
    from ml.tts.engines.coqui_xtts import CoquiXtts

    try:
        return CoquiXtts(folder) if folder.manifest.format == "xtts" else CoquiVits(folder)
    except errors.MlError:
        raise
    except Exception as error:  # what a wrong configuration or a wrong shape raises is as manifold as the library
        raise _failure(folder.manifest, error) from error


@functools.cache
def library() -> None:
    """Imports coqui-tts, and gives it espeak's library for phonemes where it would start a program."""
    try:
        from TTS.tts.utils.text import phonemizers
        from TTS.tts.utils.text.phonemizers.base import BasePhonemizer
    except ImportError as error:
        raise errors.EngineUnavailable("coqui-tts is not installed (requirements-torch.txt).") from error
    for name in ("TTS", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)  # below, it writes the texts that it is given into the log

    class EspeakLibrary(BasePhonemizer):
        @staticmethod
        def name() -> str:
            return "espeak"

        @classmethod
        def is_available(cls) -> bool:
            return True

        def version(self) -> str:
            return "library"

        @staticmethod
        def supported_languages() -> list[str]:
            return []

        def is_supported_language(self, language: str) -> bool:
            return espeak.for_language(language) is not None

        def _phonemize(self, text: str, separator: str) -> str:
            return espeak.phonemize(text, self._language)

        def phonemize(self, text: str, separator: str = "|", language: str | None = None) -> str:
            return self._phonemize(text, separator)

    phonemizers._register_phonemizers()
    phonemizers.PHONEMIZERS["espeak"] = EspeakLibrary
    for voice in espeak.voices():
        for language in (voice.id.partition(":")[2], languages.primary(voice.language)):
            phonemizers.DEF_LANG_TO_PHONEMIZER.setdefault(language, "espeak")


class CoquiModel:
    """What the two kinds of model share: one call at a time, seeded, cancelled within an operation."""

    def __init__(self, folder: ModelFolder) -> None:
        import torch

        manifest = folder.manifest
        settings = settings_of(manifest)
        self.capabilities = capabilities(manifest)
        self._manifest = manifest
        self._settings = settings
        self._device = torch.device(self.capabilities.device)
        self._dtype = _dtype(manifest, settings, self._device)
        self._seed = int(settings.number("seed", 0, 0, 2**31))
        self._speakers = base.speakers(manifest)
        self._turns = Turns(1)
        if "threads" in manifest.settings:
            torch.set_num_threads(int(settings.number("threads", 1, 1, 256)))

    def voices(self) -> tuple[Voice, ...]:
        return tuple(speaker.voice for speaker in self._speakers.values())

    def memory_bytes(self) -> int:
        """Of weights and buffers."""
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def close(self) -> None:
        import torch

        self._model = cast(Any, None)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    _model: Any

    def _checked(self, config: Any) -> None:
        """That the model is the one which the manifest describes."""
        rate = _output_rate(config)
        if rate != self._manifest.sample_rate:
            raise errors.ModelInvalid(f"{self._manifest.id} speaks at {rate} Hz, not {self._manifest.sample_rate}.")

    def _placed(self, model: Any) -> Any:
        model.requires_grad_(False)
        model.to(self._device)
        model.eval()  # XTTS returns nothing from it
        return model

    @contextlib.contextmanager
    def _call(self, cancel: threading.Event | None) -> Iterator[None]:
        """A turn at the model. After a fault of the GPU nothing works until the model was loaded again."""
        import torch

        from ml.tts.engines.seeded import seeded

        with self._turns.turn(cancel):
            try:
                autocast = torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32)
                with torch.inference_mode(), autocast, seeded(self._seed, cancel):
                    yield
            except errors.MlError:
                raise
            except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
                raise errors.EngineFault(f"{self._manifest.id} broke: {_short(error)}") from error
            except Exception as error:
                raise errors.EngineFailed(f"{self._manifest.id} failed on this text: {_short(error)}") from error


class CoquiVits(CoquiModel):
    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        from TTS.tts.configs.vits_config import VitsConfig
        from TTS.tts.models.vits import Vits

        from ml.tts.engines import coqui_files
        from ml.tts.engines.coqui_speakers import SpeakerTable

        raw = coqui_files.config(folder, self._settings)
        raw.setdefault("model_args", {})["init_discriminator"] = False
        config = VitsConfig()
        config.from_dict(raw)
        self._checked(config)
        model = Vits(config)
        model.load_state_dict(coqui_files.weights(folder, self._settings), strict=True)
        args = model.args
        model.inference_noise_scale = self._settings.number("noise_scale", args.inference_noise_scale, 0.0, 2.0)
        model.inference_noise_scale_dp = self._settings.number("noise_scale_w", args.inference_noise_scale_dp, 0.0, 2.0)
        self._length_scale = self._settings.number("length_scale", args.length_scale, 0.25, 4.0)
        if hasattr(model, "emb_g"):
            model.emb_g = SpeakerTable(model.emb_g)
        self._model = self._placed(model)
        self._conditions = {name: self._condition(speaker) for name, speaker in self._speakers.items()}

    def speak(self, request: SpeechRequest, *, cancel: threading.Event | None = None) -> PcmSamples:
        import torch

        likeness = request.likeness
        if request.pitch or not (likeness is None or isinstance(likeness, Mixture)):
            raise errors.InvalidRequest("This model clones no voices and changes no pitch.", param="voice")
        voice = self._speakers[request.utterance.voice].voice
        condition = self._conditions[voice.id] if likeness is None else self._mixed(voice, likeness)
        ids = self._ids(request.utterance, voice)
        if not ids:
            return np.zeros(0, dtype=np.int16)
        with self._call(cancel):
            tokens = torch.tensor([ids], device=self._device)
            self._model.length_scale = self._length_scale / min(FASTEST, max(SLOWEST, request.speed))
            made = self._model.inference(tokens, {**condition, "x_lengths": None, "durations": None})
            samples = made["model_outputs"][0, 0].float().cpu().numpy()
        return base.to_pcm(samples)

    def _ids(self, utterance: Utterance, voice: Voice) -> list[int]:
        tokenizer = self._model.tokenizer
        language = self._language(voice) if self._model.language_manager.num_languages > 1 else None
        if any(run.style.ipa for run in utterance.runs) and tokenizer.use_phonemes:
            ids = self._phoneme_ids(utterance, language or tokenizer.phonemizer.language)
        else:
            ids = tokenizer.text_to_ids(utterance.text, language=language)
        return [] if set(ids) <= {tokenizer.pad_id, tokenizer.blank_id, *tokenizer.encode(" ")} else list(ids)

    def _phoneme_ids(self, utterance: Utterance, language: str) -> list[int]:
        """As the tokenizer does, but for the runs that bring their own phonemes."""
        tokenizer = self._model.tokenizer
        ids = tokenizer.encode(espeak.phonemize_runs(utterance, language))
        if tokenizer.add_blank:
            ids = tokenizer.intersperse_blank_char(ids)
        return list(tokenizer.pad_with_bos_eos(ids) if tokenizer.use_eos_bos else ids)

    def _language(self, voice: Voice) -> str:
        """The model's own name of the voice's language."""
        wanted = languages.primary(voice.language)
        names: Mapping[str, int] = self._model.language_manager.name_to_id
        exact = [name for name in names if languages.with_case(name) == voice.language]
        found = exact or [name for name in names if languages.primary(name) == wanted]
        if not found:
            raise errors.ModelInvalid(f"{self._manifest.id} does not speak {voice.language}, as {voice.id} says.")
        return found[0]

    def _condition(self, speaker: Speaker) -> dict[str, torch.Tensor | None]:
        """What the network is told of a voice."""
        import torch

        model, told = self._model, dict[str, "torch.Tensor | None"](d_vectors=None, speaker_ids=None, language_ids=None)
        if model.args.use_speaker_embedding and model.num_speakers > 0:
            told["speaker_ids"] = torch.tensor([self._number(speaker)], device=self._device)
        elif model.args.use_d_vector_file:
            name = self._name(speaker)
            vector = np.asarray(model.speaker_manager.get_mean_embedding(name), dtype=np.float32)
            told["d_vectors"] = torch.from_numpy(vector)[None].to(self._device)
        if model.args.use_language_embedding:
            number = model.language_manager.name_to_id[self._language(speaker.voice)]
            told["language_ids"] = torch.tensor([number], device=self._device)
        return told

    def _mixed(self, voice: Voice, mixture: Mixture) -> dict[str, torch.Tensor | None]:
        """What the network is told of several speakers at once. The language is that of `voice`."""
        from ml.tts.engines import coqui_speakers

        told = dict(self._conditions[voice.id])
        shares = [(self._conditions[each.voice], each.weight) for each in mixture.speakers]
        if told["speaker_ids"] is not None:
            told["speaker_ids"] = coqui_speakers.weights(shares, self._model.num_speakers)
        if told["d_vectors"] is not None:
            told["d_vectors"] = coqui_speakers.mean_direction(shares)
        return told

    def _number(self, speaker: Speaker) -> int:
        names: Mapping[str, int] = self._model.speaker_manager.name_to_id
        number = speaker.key if isinstance(speaker.key, int) else names.get(speaker.key, -1)
        if not 0 <= number < self._model.num_speakers:
            raise self._unknown(speaker)
        return number

    def _name(self, speaker: Speaker) -> str:
        names = list(self._model.speaker_manager.name_to_id)
        if isinstance(speaker.key, int) and 0 <= speaker.key < len(names):
            return str(names[speaker.key])
        if speaker.key not in names:
            raise self._unknown(speaker)
        return str(speaker.key)

    def _unknown(self, speaker: Speaker) -> errors.ModelInvalid:
        return errors.ModelInvalid(f"{self._manifest.id} has no speaker {speaker.key!r}, as {speaker.voice.id} says.")


def settings_of(manifest: ModelManifest) -> base.Settings:
    known = _FORMATS.get(manifest.format)
    if known is None:
        raise errors.ModelInvalid(f"{manifest.id}: coqui speaks no {manifest.format!r} models.")
    return base.Settings(manifest, known)


def _output_rate(config: Any) -> int:
    audio = config.model_args if hasattr(config.model_args, "output_sample_rate") else config.audio
    return int(getattr(audio, "output_sample_rate", None) or audio.sample_rate)


def _dtype(manifest: ModelManifest, settings: base.Settings, device: torch.device) -> torch.dtype:
    import torch

    name = settings.get("compute_type", "float32")
    if name not in ("float32", "float16") or (name == "float16" and device.type != "cuda"):
        raise errors.ModelInvalid(f"{manifest.id}: compute_type is float32, or on a GPU float16.")
    return cast("torch.dtype", getattr(torch, name))


def _failure(manifest: ModelManifest, error: Exception) -> errors.MlError:
    import torch

    if isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError):
        return errors.EngineFailed(f"{manifest.id} could not be loaded: {_short(error)}")
    return errors.ModelInvalid(f"{manifest.id} cannot be served by coqui-tts: {_short(error)}")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}"
