"""The files of a Coqui model, which come from anywhere: read without running anything that they name."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from ml import errors
from ml.artifacts import ModelFolder
from ml.tts.engines import base

_MAX_CONFIG_BYTES = 16 << 20
_CHARACTERS = {
    "TTS.tts.models.vits.VitsCharacters",
    "TTS.tts.utils.text.characters.Graphemes",
    "TTS.tts.utils.text.characters.IPAPhonemes",
}
_FILES = ("speaker_file", "speakers_file", "language_ids_file", "d_vector_file")
_TRAINING = ("speaker_encoder_model_path", "speaker_encoder_config_path")
_UNUSED_WEIGHTS = ("disc.", "audio_resampler.", "dvae.", "torch_mel_spectrogram_")


def config(folder: ModelFolder, settings: base.Settings) -> dict[str, Any]:
    """Coqui's configuration, which may name classes, functions, files and addresses: only known ones stay."""
    path = Path(base.existing_file(folder, settings.get("config", "config.json")))
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise errors.ModelInvalid(f"{folder.manifest.id}: {path.name} is too large.")
    raw = json.loads(path.read_text("utf-8"))
    if not isinstance(raw, dict) or raw.get("model") != folder.manifest.format:
        raise errors.ModelInvalid(f"{folder.manifest.id}: {path.name} is not the configuration of such a model.")
    _check_text(folder, raw)
    for part in (raw, raw.get("model_args") or {}):
        for name in _FILES:
            if part.get(name):
                part[name] = _localised(folder, part[name])
        for name in _TRAINING:
            part.pop(name, None)
        part.pop("use_speaker_encoder_as_loss", None)
    return raw


def _check_text(folder: ModelFolder, raw: dict[str, Any]) -> None:
    from TTS.tts.utils.text import cleaners

    cleaner = raw.get("text_cleaner")
    own = getattr(cleaners, str(cleaner), None) if str(cleaner).endswith("_cleaners") else None
    if cleaner is not None and own is None:
        raise errors.ModelInvalid(f"{folder.manifest.id}: the text cleaner {cleaner!r} is not known.")
    characters = (raw.get("characters") or {}).get("characters_class")
    if characters is not None and characters not in _CHARACTERS:
        raise errors.ModelInvalid(f"{folder.manifest.id}: the characters {characters!r} are not known.")


def _localised(folder: ModelFolder, value: Any) -> Any:
    """The paths of the trainer's machine, as files of this folder."""
    if isinstance(value, list):
        return [_localised(folder, item) for item in value]
    return base.existing_file(folder, Path(str(value)).name)


def weights(folder: ModelFolder, settings: base.Settings) -> dict[str, Any]:
    """The state dictionary without what only training uses. Raises `ModelInvalid` for files that hold code."""
    default = "model.safetensors" if "model.safetensors" in folder.manifest.files else "model.pth"
    stored = tensors(folder, settings.get("model", default))
    state = stored.get("model", stored)
    if not isinstance(state, dict):
        raise errors.ModelInvalid(f"{folder.manifest.id}: the weights are not a dictionary of tensors.")
    named = {name.removeprefix("xtts."): tensor for name, tensor in state.items()}
    return {
        name: tensor
        for name, tensor in named.items()
        if not name.startswith(_UNUSED_WEIGHTS)
        # XTTS' own encoder of voices is part of its decoder; VITS has had one for training.
        and (name.startswith("hifigan_decoder.") or "speaker_encoder" not in name)
    }


def tensors(folder: ModelFolder, name: str) -> dict[str, Any]:
    path = base.existing_file(folder, name)
    if name.endswith(".safetensors"):
        from safetensors.torch import load_file

        return dict(load_file(path))
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        stored = _with_published_classes(path) if folder.manifest.format == "xtts" else None
        if stored is None:
            raise errors.ModelInvalid(f"{folder.manifest.id}: {name} holds more than tensors; refused.") from error
    if not isinstance(stored, dict):
        raise errors.ModelInvalid(f"{folder.manifest.id}: {name} is not a dictionary of tensors.")
    return stored


def _with_published_classes(path: str) -> Any:
    """The checkpoint that XTTS was published as holds its configuration: four dataclasses, and no other code."""
    from TTS.tts.models.xtts import _legacy_safe_globals

    with contextlib.suppress(pickle.UnpicklingError), _legacy_safe_globals():
        return torch.load(path, map_location="cpu", weights_only=True)
    return None
