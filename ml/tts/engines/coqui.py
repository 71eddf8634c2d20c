"""Speech by coqui-tts: VITS with one or many speakers, and XTTS, which also speaks in a voice heard in a recording.

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
from ml.tts.engines.base import Likeness, Speaker, SpeakerLatents, SynthesizerCapabilities, voices
from ml.tts.engines.turns import Turns
from ml.tts.script import Utterance
from ml.types import PcmSamples, Samples, Voice

if TYPE_CHECKING:
    import torch

__all__ = ["CoquiVits", "CoquiXtts", "capabilities", "load", "settings_of", "voices"]

_SLOWEST, _FASTEST = 0.1, 8.0
_SHORTEST_SECONDS = 0.33  # of a recording to hear a voice in; less is ignored by XTTS

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
    if folder.manifest.format != "vits":
        return False
    try:
        config = json.loads(folder.file(settings_of(folder.manifest).get("config", "config.json")).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("use_phonemes") is True


def load(folder: ModelFolder) -> CoquiVits | CoquiXtts:
    """Raises `ModelInvalid`; `EngineUnavailable` where coqui-tts is not installed; `EngineFailed` on a full GPU."""
    settings_of(folder.manifest)
    library()
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


class _Coqui:
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


class CoquiVits(_Coqui):
    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        from TTS.tts.configs.vits_config import VitsConfig
        from TTS.tts.models.vits import Vits

        from ml.tts.engines import coqui_files

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
        self._model = self._placed(model)
        self._conditions = {name: self._condition(speaker) for name, speaker in self._speakers.items()}

    def speak(
        self,
        utterance: Utterance,
        *,
        speed: float = 1.0,
        pitch: float = 0.0,
        cancel: threading.Event | None = None,
        likeness: Likeness | None = None,
    ) -> PcmSamples:
        import torch

        if likeness is not None or pitch:
            raise errors.InvalidRequest("This model clones no voices and changes no pitch.", param="voice")
        voice = self._speakers[utterance.voice].voice
        ids = self._ids(utterance, voice)
        if not ids:
            return np.zeros(0, dtype=np.int16)
        with self._call(cancel):
            tokens = torch.tensor([ids], device=self._device)
            self._model.length_scale = self._length_scale / min(_FASTEST, max(_SLOWEST, speed))
            made = self._model.inference(tokens, {**self._conditions[voice.id], "x_lengths": None, "durations": None})
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


class CoquiXtts(_Coqui):
    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        from TTS.tts.configs.xtts_config import XttsConfig
        from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
        from TTS.tts.models.xtts import Xtts

        from ml.tts.engines import coqui_files

        config = XttsConfig()
        config.from_dict(coqui_files.config(folder, self._settings))
        self._checked(config)
        model = Xtts(config)
        model.tokenizer = VoiceBpeTokenizer(
            vocab_file=base.existing_file(folder, self._settings.get("vocab", "vocab.json"))
        )
        model.init_models()
        _load_xtts(model, coqui_files.weights(folder, self._settings))
        self._model = self._placed(model)
        self._latents = self._known_latents(folder)
        self._names = {voice.id: self._language(voice) for voice in self.voices()}

    def speak(
        self,
        utterance: Utterance,
        *,
        speed: float = 1.0,
        pitch: float = 0.0,
        cancel: threading.Event | None = None,
        likeness: Likeness | None = None,
    ) -> PcmSamples:
        if pitch:
            raise errors.InvalidRequest("This model changes no pitch.", param="pitch")
        voice_id = utterance.voice
        heard = self._latents.get(self._speakers[voice_id].key) if likeness is None else likeness
        if not isinstance(heard, SpeakerLatents):
            raise errors.InvalidRequest(f"The voice {voice_id} needs a recording to speak like.", param="voice")
        rate = min(_FASTEST, max(_SLOWEST, speed))
        parts = [
            self._infer(piece, self._names[voice_id], heard, rate, cancel)
            for piece in self._pieces(utterance.text, self._names[voice_id])
        ]
        return base.to_pcm(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int16)

    def learn(
        self, samples: Samples, sample_rate: int, *, text: str = "", cancel: threading.Event | None = None
    ) -> SpeakerLatents:
        """Listens to a recording, as XTTS does with the lengths that its configuration has."""
        import torch

        config = self._model.config
        if len(samples) < _SHORTEST_SECONDS * sample_rate:
            raise errors.AudioEmpty(f"A recording of a voice has {_SHORTEST_SECONDS} seconds at the least.")
        with self._call(cancel):
            audio = torch.from_numpy(np.array(samples[: int(config.max_ref_len * sample_rate)], dtype=np.float32))
            audio = audio[None].to(self._device)
            conditioning = self._model.get_gpt_cond_latents(
                audio, sample_rate, length=config.gpt_cond_len, chunk_length=config.gpt_cond_chunk_len
            )
            embedding = self._model.get_speaker_embedding(audio, sample_rate)
            return SpeakerLatents(conditioning.float().cpu().numpy(), embedding.float().cpu().numpy())

    def _infer(
        self, text: str, language: str, heard: SpeakerLatents, speed: float, cancel: threading.Event | None
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        import torch

        config, settings = self._model.config, self._settings
        with self._call(cancel):
            made = self._model.inference(
                text,
                language,
                torch.from_numpy(heard.conditioning).to(self._device),
                torch.from_numpy(heard.embedding).to(self._device),
                temperature=settings.number("temperature", config.temperature, 0.01, 2.0),
                length_penalty=config.length_penalty,
                repetition_penalty=settings.number("repetition_penalty", config.repetition_penalty, 1.0, 20.0),
                top_k=int(settings.number("top_k", config.top_k, 1, 1000)),
                top_p=settings.number("top_p", config.top_p, 0.01, 1.0),
                speed=speed,
            )
        return np.asarray(made["wav"], dtype=np.float32)

    def _pieces(self, text: str, language: str) -> list[str]:
        """`text`, halved at spaces until each piece has fewer tokens than the model can take."""
        tokens = self._model.tokenizer.encode(text.strip().lower(), lang=language)
        if len(tokens) < self._model.args.gpt_max_text_tokens:
            return [text] if text.strip() else []
        middle = text.rfind(" ", 1, len(text) // 2 + 1)
        middle = len(text) // 2 if middle < 1 else middle
        return [*self._pieces(text[:middle], language), *self._pieces(text[middle:], language)]

    def _language(self, voice: Voice) -> str:
        """XTTS' own name of the voice's language."""
        for name in self._model.config.languages:
            if languages.primary(name) == languages.primary(voice.language):
                return str(name)
        raise errors.ModelInvalid(f"{self._manifest.id} does not speak {voice.language}, as {voice.id} says.")

    def _known_latents(self, folder: ModelFolder) -> dict[int | str, SpeakerLatents]:
        """By the speaker's name, and by its position."""
        from ml.tts.engines import coqui_files

        name = self._settings.get("speakers_file", "speakers_xtts.pth")
        if name not in folder.manifest.files:
            if "speakers" in folder.manifest.settings:
                raise errors.ModelInvalid(f"{folder.manifest.id} names speakers but has no {name!r}.")
            return {}
        stored = coqui_files.tensors(folder, name)
        known: dict[int | str, SpeakerLatents] = {}
        for position, (speaker, pair) in enumerate(stored.items()):
            conditioning, embedding = (tensor.float().numpy() for tensor in pair.values())
            known[str(speaker)] = known[position] = SpeakerLatents(conditioning, embedding)
        for listed in self._speakers.values():
            if listed.key not in known:
                raise errors.ModelInvalid(f"{folder.manifest.id} has no speaker {listed.key!r}.")
        return known


def settings_of(manifest: ModelManifest) -> base.Settings:
    known = _FORMATS.get(manifest.format)
    if known is None:
        raise errors.ModelInvalid(f"{manifest.id}: coqui speaks no {manifest.format!r} models.")
    return base.Settings(manifest, known)


def _load_xtts(model: Any, state: dict[str, Any]) -> None:
    """Checkpoints of version 1 have the weights of the generating wrapper too, later ones do not."""
    wrapped = any(name.startswith("gpt.gpt_inference.") for name in state)
    if not wrapped:
        model.load_state_dict(state, strict=True)
    model.hifigan_decoder.eval()
    model.gpt.init_gpt_for_inference(kv_cache=model.args.kv_cache)
    if wrapped:
        model.load_state_dict(state, strict=True)
    model.gpt.eval()


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
