"""Train or fine-tune a VITS voice with coqui-tts's trainer, and make what the platform serves.

    python training/tts/finetune_vits.py --config training/tts/configs/vits_finetune_v1.yaml --device cuda

The run's folder gets `trainer/` (checkpoints, TensorBoard), `results.json` and `voice/`, a model folder to import.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: imports start at the repository root, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import torch

from ml import artifacts, errors
from training.errors import CheckpointInvalid, ConfigInvalid, ManifestInvalid, TrainingError, run_script
from training.stt.config import REPOSITORY_ROOT, resolve_path
from training.tts.recordings import Recording, data_hash, read_recordings, read_samples, split
from training.tts.vits_config import VitsRunConfig, load_vits_config

PUNCTUATION = "!'(),-.:;? "
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MEASURES = ("loss_mel", "loss_duration", "loss_kl", "loss_gen")
"""Of coqui-tts's losses those that say something on held-out recordings; `loss_mel` most of all."""

_TRAINING_PATHS = ("output_path", "phoneme_cache_path", "datasets", "speakers_file")  # the list of speakers stays


# ── The model ───────────────────────────────────────────────────────────────────────────────────────────────────────


def make_config(config: VitsRunConfig, recordings: Sequence[Recording], folder: Path, *, device: str) -> Any:
    """coqui-tts's configuration of the run: the base's, or the scratch model's, with this run's data and times."""
    from TTS.tts.configs.vits_config import VitsConfig

    made = VitsConfig()
    if config.base:
        made.from_dict(_base_settings(config))
        if made.use_phonemes != config.text.phonemes:
            raise ConfigInvalid(f"text.phonemes: the base was trained with use_phonemes={made.use_phonemes}")
    else:
        _shape(made, config, recordings)
    train = config.train
    made.run_name = config.name
    made.output_path = str(folder / "trainer")
    made.epochs, made.save_step, made.print_step = train.epochs, train.save_every_steps, train.log_every_steps
    made.batch_size = made.eval_batch_size = train.batch_utterances
    made.lr = made.lr_gen = made.lr_disc = train.learning_rate
    made.mixed_precision, made.precision = train.precision != "fp32", train.precision.replace("fp32", "fp16")
    made.num_loader_workers, made.num_eval_loader_workers = config.data.workers, 0
    made.model_args.spec_segment_size = train.segment_frames
    made.model_args.init_discriminator = True
    made.speakers = [speaker.id for speaker in config.data.speakers]
    made.use_speaker_embedding = made.model_args.use_speaker_embedding = len(made.speakers) > 1
    made.model_args.num_speakers = len(made.speakers) if len(made.speakers) > 1 else 0
    made.model_args.speakers_file = made.speakers_file = None
    made.phoneme_cache_path = str(folder / "phonemes")
    made.test_sentences, made.run_eval, made.training_seed = [], True, config.seed
    made.save_n_checkpoints, made.save_best_after = 2, 0
    made.cudnn_benchmark = device == "cuda"
    return made


def _base_settings(config: VitsRunConfig) -> dict[str, Any]:
    from ml.tts.engines import coqui, coqui_files

    folder = _base_folder(config)
    return coqui_files.config(folder, coqui.settings_of(folder.manifest))


def _base_folder(config: VitsRunConfig) -> artifacts.ModelFolder:
    path = resolve_path(str(config.base))
    try:
        folder = artifacts.read(path)
        artifacts.verify(folder)
    except errors.MlError as error:
        raise ConfigInvalid(f"base: {error}") from error
    if (folder.manifest.engine, folder.manifest.format) != ("coqui", "vits"):
        raise ConfigInvalid(f"base: {path} is not a VITS of coqui-tts")
    return folder


def _shape(made: Any, config: VitsRunConfig, recordings: Sequence[Recording]) -> None:
    from TTS.tts.configs.shared_configs import CharactersConfig

    sizes = config.scratch
    assert sizes is not None  # noqa: S101 — for the type checker: the configuration has looked
    args = made.model_args
    args.hidden_channels, args.hidden_channels_ffn_text_encoder = sizes.hidden_channels, sizes.ffn_channels
    args.num_layers_text_encoder, args.num_layers_posterior_encoder = sizes.text_layers, sizes.posterior_layers
    args.num_layers_flow, args.speaker_embedding_channels = sizes.flow_layers, sizes.speaker_channels
    args.upsample_initial_channel_decoder = sizes.decoder_channels
    args.resblock_kernel_sizes_decoder = list(sizes.resblock_kernels)
    args.resblock_dilation_sizes_decoder = [[1, 3, 5]] * len(sizes.resblock_kernels)
    args.use_sdp = sizes.stochastic_durations
    made.audio.sample_rate = sizes.sample_rate
    made.text_cleaner, made.add_blank = "multilingual_cleaners", True
    made.use_phonemes = config.text.phonemes
    if config.text.phonemes:
        made.phonemizer, made.phoneme_language = "espeak", config.language.lower()
    made.characters = CharactersConfig(
        characters_class="TTS.tts.models.vits.VitsCharacters",
        pad="_",
        punctuations=PUNCTUATION,
        characters=LETTERS + "".join(sorted(set(config.text.alphabet) - set(LETTERS))),
        phonemes=_ipa(recordings, config) if config.text.phonemes else None,
    )


def _ipa(recordings: Sequence[Recording], config: VitsRunConfig) -> str:
    """coqui-tts's phonemes and whatever else espeak writes for these texts."""
    from TTS.tts.models.vits import VitsCharacters

    from ml.tts.engines import espeak

    known = VitsCharacters().characters
    heard = {symbol for item in recordings for symbol in espeak.phonemize(item.text, config.language.lower())}
    return known + "".join(sorted(heard - set(known) - set(PUNCTUATION) - set(LETTERS)))


def make_model(config: VitsRunConfig, made: Any) -> Any:
    """The network, with the base's weights wherever a weight has the same name and shape (speakers may be others)."""
    from TTS.tts.models.vits import Vits

    from ml.tts.engines import coqui, coqui_files

    torch.manual_seed(config.seed)
    model = Vits.init_from_config(made)
    if config.base:
        folder = _base_folder(config)
        stored = coqui_files.weights(folder, coqui.settings_of(folder.manifest))
        own = model.state_dict()
        fitting = {name: value for name, value in stored.items() if name in own and own[name].shape == value.shape}
        model.load_state_dict(fitting, strict=False)
        left = [name for name in stored if name not in fitting]
        print(f"{len(fitting)} of {len(stored)} tensors come from the base" + (f"; new: {left[:5]}" if left else ""))
    return model


# ── The run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def samples(recordings: Sequence[Recording], folder: Path, *, language: str, sample_rate: int) -> list[dict[str, Any]]:
    """The recordings as coqui-tts takes them: 16-bit files at the model's sample rate, made once."""
    import soundfile

    rows = []
    for item in recordings:
        copy = folder / "wavs" / item.speaker / f"{item.audio.stem}.wav"
        if not copy.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(copy, read_samples(item.audio, sample_rate=sample_rate), sample_rate, subtype="PCM_16")
        rows.append(
            {
                "text": item.text,
                "audio_file": str(copy),
                "speaker_name": item.speaker,
                "language": language.lower(),
                "root_path": str(copy.parent),
                "audio_unique_name": f"{item.speaker}#{item.audio.stem}",
            }
        )
    return rows


def check_texts(recordings: Sequence[Recording], tokenizer: Any, language: str) -> None:
    """Raise ManifestInvalid for texts of which a symbol would be left out: coqui-tts only warns."""
    problems = []
    for item in recordings:
        tokenizer.not_found_characters = []
        tokenizer.text_to_ids(item.text, language=language.lower())
        if tokenizer.not_found_characters:
            shown = ", ".join(f"{symbol!r} (U+{ord(symbol[0]):04X})" for symbol in tokenizer.not_found_characters)
            problems.append(f"{item.where}: unknown symbol {shown} in {item.text!r}")
    if problems:
        raise ManifestInvalid(problems)


def train(config: VitsRunConfig, folder: Path, *, device: str, resume: bool) -> dict[str, Any]:
    """Train to the last epoch; → what held-out recordings measured. Checkpoints stay under `folder/trainer`."""
    from trainer import Trainer, TrainerArgs
    from TTS.tts.models import vits

    from ml.tts.engines import coqui

    coqui.library()  # espeak's library for phonemes
    # torchaudio reads through FFmpeg, which a machine may lack; our copies are plain 16-bit files.
    vits.load_audio = _load_audio
    recordings = read_recordings(config.data)
    train_part, dev_part = split(recordings, config.data)
    made = make_config(config, recordings, folder, device=device)
    model = make_model(config, made)
    check_texts(recordings, model.tokenizer, config.language)
    common = {"language": config.language, "sample_rate": made.audio.sample_rate}
    arguments = TrainerArgs(continue_path=str(_last_run(folder)) if resume else "", gpu=0 if device == "cuda" else None)
    trainer = Trainer(
        arguments,
        made,
        made.output_path,
        model=model,
        train_samples=samples(train_part, folder, **common),
        eval_samples=samples(dev_part, folder, **common),
        parse_command_line_args=False,
    )
    try:
        trainer.fit()
    except SystemExit as stopped:  # the trainer has printed why
        if stopped.code:
            raise TrainingError("coqui-tts's trainer stopped; its message stands above") from stopped
    measured = trainer.keep_avg_eval.avg_values if trainer.keep_avg_eval else {}
    write_voice(config, trainer, folder / "weights")
    return {
        "recordings": len(train_part),
        "held_out": len(dev_part),
        "seconds_of_audio": round(sum(item.duration_seconds for item in train_part), 1),
        "data_sha256": data_hash(recordings),
        "steps": trainer.total_steps_done,
        **{name: round(float(measured[f"avg_{name}"]), 4) for name in MEASURES if f"avg_{name}" in measured},
    }


def _load_audio(path: str) -> tuple[torch.Tensor, int]:
    """→ (1, samples) float32 within [-1, 1], and the sample rate."""
    import soundfile

    read, rate = soundfile.read(path, dtype="float32")
    return torch.from_numpy(read)[None], int(rate)


def _last_run(folder: Path) -> Path:
    runs = sorted((folder / "trainer").glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise CheckpointInvalid(f"--resume: there is no run in {folder / 'trainer'}")
    return runs[-1].parent


# ── What is served ──────────────────────────────────────────────────────────────────────────────────────────────────


def write_voice(config: VitsRunConfig, trainer: Any, folder: Path) -> None:
    """The weights that serving needs, as `safetensors`, and the configuration that they fit."""
    from safetensors.torch import save_file

    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    state = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in trainer.model.state_dict().items()
        if not name.startswith(("disc.", "speaker_encoder"))
    }
    save_file(state, folder / "model.safetensors")
    trainer.config.save_json(str(folder / "config.json"))
    kept = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for part in (kept, kept["model_args"]):
        for name in _TRAINING_PATHS:
            part.pop(name, None)
    (folder / "config.json").write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def publish(config: VitsRunConfig, weights: Path, folder: Path, *, version: str, results: dict[str, Any]) -> None:
    """A model folder with its `model.json`, as the platform imports it."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(weights, folder)
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    several = len(config.data.speakers) > 1
    speakers = [
        {"id": item.id, "name": item.name or item.id}
        | ({"speaker": item.id} if several else {})
        | ({"gender": item.gender} if item.gender else {})
        for item in config.data.speakers
    ]
    artifacts.write(
        folder,
        artifacts.ModelManifest(
            task="tts",
            family="vits",
            name=config.name.replace("_", "-"),
            version=version,
            engine="coqui",
            format="vits",
            languages=(config.language,),
            sample_rate=raw["audio"]["sample_rate"],
            settings={"speakers": speakers},
            licence=config.licence,
            source=config.source or "training/tts/finetune_vits.py",
            files=artifacts.describe_files(folder),
            results=(results,),
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train or fine-tune a VITS voice.")
    parser.add_argument("--config", type=Path, required=True, help="a YAML file of training/tts/configs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--run-dir", type=Path, help="default: training/tts/runs/<name>")
    parser.add_argument("--resume", action="store_true", help="continue from the run folder's last checkpoint")
    parser.add_argument("--version", default="1")
    arguments = parser.parse_args()
    config = load_vits_config(arguments.config)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ConfigInvalid("--device cuda: this machine has no usable CUDA device")
    folder = arguments.run_dir or REPOSITORY_ROOT / "training" / "tts" / "runs" / config.name
    results = train(config, folder, device=arguments.device, resume=arguments.resume)
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    publish(config, folder / "weights", folder / "voice", version=arguments.version, results=results)
    print(json.dumps(results))
    print(f"python manage.py models import {folder / 'voice'}")


if __name__ == "__main__":
    run_script(main)
