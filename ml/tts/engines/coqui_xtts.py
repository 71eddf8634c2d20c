"""XTTS by coqui-tts: it speaks in a voice heard in a recording. What its folder holds: `ml.tts.engines.coqui`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml import errors
from ml.artifacts import ModelFolder
from ml.tts import languages
from ml.tts.engines import base
from ml.tts.engines.base import Likeness, Mixture, SpeakerLatents, SpeechRequest
from ml.tts.engines.coqui import FASTEST, SLOWEST, CoquiModel
from ml.types import PcmSamples, Samples, Voice

_SHORTEST_SECONDS = 0.33  # of a recording to hear a voice in; less is ignored by XTTS


class CoquiXtts(CoquiModel):
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

    def speak(self, request: SpeechRequest, *, cancel: threading.Event | None = None) -> PcmSamples:
        if request.pitch:
            raise errors.InvalidRequest("This model changes no pitch.", param="pitch")
        voice_id = request.utterance.voice
        heard = self._heard(voice_id, request.likeness)
        rate = min(FASTEST, max(SLOWEST, request.speed))
        parts = [
            self._infer(piece, self._names[voice_id], heard, rate, cancel)
            for piece in self._pieces(request.utterance.text, self._names[voice_id])
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

    def _heard(self, voice_id: str, likeness: Likeness | None) -> SpeakerLatents:
        """Whom to speak like."""
        if isinstance(likeness, Mixture):
            speakers = likeness.speakers
            return _mean([(self._heard(each.voice, each.likeness), each.weight) for each in speakers])
        heard = self._latents.get(self._speakers[voice_id].key) if likeness is None else likeness
        if not isinstance(heard, SpeakerLatents):
            raise errors.InvalidRequest(f"The voice {voice_id} needs a recording to speak like.", param="voice")
        return heard

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


def _mean(shares: Sequence[tuple[SpeakerLatents, float]]) -> SpeakerLatents:
    """The weighted mean: XTTS takes that of several recordings of one speaker too."""
    first = shares[0][0]
    if any(heard.conditioning.shape != first.conditioning.shape for heard, _ in shares):
        raise errors.InvalidRequest("These voices were learned by different models.", param="voice")
    return SpeakerLatents(
        np.sum([share * heard.conditioning for heard, share in shares], axis=0, dtype=np.float32),
        np.sum([share * heard.embedding for heard, share in shares], axis=0, dtype=np.float32),
    )


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
