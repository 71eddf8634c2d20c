"""Fine-tune a Whisper checkpoint, and convert it to what the platform serves.

    python training/stt/train_whisper.py --config training/stt/configs/whisper_finetune_indic_v1.yaml --device cuda

Writes `model/` (Transformers: model and processor, LoRA merged) and `ctranslate2/` (a model folder to import).
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

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from ml import artifacts
from training.errors import ConfigInvalid, ManifestInvalid, run_script
from training.stt.audio import read_audio
from training.stt.config import REPOSITORY_ROOT
from training.stt.manifest import Utterance, read_sources
from training.stt.wer import WordErrors, word_errors
from training.stt.whisper_config import WhisperRunConfig, load_whisper_config

SAMPLE_RATE = 16000
IGNORED_LABEL = -100  # what the loss of Transformers leaves out
MAX_LABELS = 448
FRONT_TOKENS = ["<|endoftext|>", "<|startoftranscript|>"]
TASK_TOKENS = [
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]


def language_code(utterance: Utterance) -> str:
    """The language hint of an utterance in Whisper's terms: `hi` for `hi-IN`. Raises ValueError."""
    code = utterance.language.split("-")[0].lower()
    if code not in LANGUAGES:
        raise ValueError(f"{utterance.where}: Whisper knows no language {utterance.language!r}")
    return code


class WhisperExamples(Dataset[dict[str, Any]]):
    """Log-mel features and labels; each example's labels begin with its own language."""

    def __init__(self, utterances: Sequence[Utterance], processor: WhisperProcessor) -> None:
        problems = []
        for item in utterances:
            try:
                language_code(item)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ManifestInvalid(problems)
        self._utterances = list(utterances)
        self._processor = processor

    def __len__(self) -> int:
        return len(self._utterances)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """→ input_features (bins, 3000) float32, labels: list of ids."""
        item = self._utterances[index]
        samples = read_audio(item.audio, sample_rate=SAMPLE_RATE)
        extract = self._processor.feature_extractor
        features = extract(samples, sampling_rate=SAMPLE_RATE, return_tensors="np").input_features[0]
        return {"input_features": features, "labels": self._labels(item)}

    def _labels(self, item: Utterance) -> list[int]:
        tokenizer = self._processor.tokenizer
        prompt = ["<|startoftranscript|>", f"<|{language_code(item)}|>", "<|transcribe|>", "<|notimestamps|>"]
        ids = tokenizer.convert_tokens_to_ids(prompt)
        ids += tokenizer(f" {item.text}", add_special_tokens=False).input_ids
        return [*ids[: MAX_LABELS - 1], tokenizer.convert_tokens_to_ids("<|endoftext|>")]


def collate(examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """→ input_features (N, bins, 3000); decoder inputs and labels (N, L), shifted against each other by one."""
    length = max(len(item["labels"]) for item in examples) - 1
    inputs = torch.full((len(examples), length), examples[0]["labels"][-1])
    labels = torch.full((len(examples), length), IGNORED_LABEL)
    for row, item in enumerate(examples):
        ids = torch.tensor(item["labels"])
        inputs[row, : len(ids) - 1] = ids[:-1]
        labels[row, : len(ids) - 1] = ids[1:]
    features = torch.from_numpy(np.stack([item["input_features"] for item in examples]))
    return {"input_features": features, "decoder_input_ids": inputs, "labels": labels}


# ── The model ───────────────────────────────────────────────────────────────────────────────────────────────────────


def load_base(
    config: WhisperRunConfig, scratch_folder: Path
) -> tuple[WhisperForConditionalGeneration, WhisperProcessor]:
    """The checkpoint to start from, by folder, by name, or made from nothing."""
    if config.scratch:
        model, processor = make_scratch(config, scratch_folder)
    else:
        try:
            model = WhisperForConditionalGeneration.from_pretrained(
                config.base, revision=config.revision, dtype=torch.float32
            )
            processor = WhisperProcessor.from_pretrained(str(config.base), revision=config.revision)
        except OSError as error:
            raise ConfigInvalid(f"base: no Whisper checkpoint at {config.base!r}: {error}") from error
    if config.spec_augment:
        model.config.apply_spec_augment = True
        model.config.mask_time_prob = config.spec_augment.time_probability
        model.config.mask_time_length = config.spec_augment.time_length
        model.config.mask_feature_prob = config.spec_augment.frequency_probability
        model.config.mask_feature_length = config.spec_augment.frequency_length
    return model, processor


def make_scratch(config: WhisperRunConfig, folder: Path) -> tuple[WhisperForConditionalGeneration, WhisperProcessor]:
    """A tiny model and a tokenizer of one token a byte, in Whisper's own layout of special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    shape = config.scratch
    assert shape is not None  # noqa: S101 — for the type checker: the caller has looked
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {symbol: index for index, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    special = [*FRONT_TOKENS, *(f"<|{code}|>" for code in LANGUAGES), *TASK_TOKENS]
    tokenizer = WhisperTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    tokenizer.add_tokens(special, special_tokens=True)
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    ids = {token: index for token, index in tokenizer.get_added_vocab().items() if token in special}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    torch.manual_seed(config.seed)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            d_model=shape.d_model,
            encoder_layers=shape.layers,
            decoder_layers=shape.layers,
            encoder_attention_heads=shape.heads,
            decoder_attention_heads=shape.heads,
            encoder_ffn_dim=4 * shape.d_model,
            decoder_ffn_dim=4 * shape.d_model,
            pad_token_id=end,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=start,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
    )
    generation: Any = model.generation_config
    generation._from_model_config = False  # else it is made anew from the model's when loaded, without what follows
    generation.is_multilingual = True
    generation.lang_to_id = {f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES}
    generation.task_to_id = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    generation.no_timestamps_token_id = ids["<|notimestamps|>"]
    generation.alignment_heads = [[layer, head] for layer in range(shape.layers) for head in range(shape.heads)]
    generation.max_length = MAX_LABELS
    return model, WhisperProcessor(WhisperFeatureExtractor(), tokenizer)


def add_lora(model: WhisperForConditionalGeneration, config: WhisperRunConfig) -> Any:
    """The model with trainable low-rank adapters and frozen weights."""
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    lora = config.lora
    adapters = PeftLora(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
    )
    return get_peft_model(model, adapters)


# ── The run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def fine_tune(config: WhisperRunConfig, folder: Path, *, device: str, resume: bool) -> Path:
    """Train and save model and processor; returns their folder."""
    train = read_sources(config.data.train, config.data, lowercase=False)
    dev = read_sources(config.data.dev, config.data, lowercase=False)
    model, processor = load_base(config, folder / "scratch")
    examples = WhisperExamples(train, processor)
    WhisperExamples(dev, processor)  # their languages are checked now, not after the last step
    trained: Any = add_lora(model, config) if config.method == "lora" else model
    trainer = Seq2SeqTrainer(
        model=trained,
        args=_arguments(config, folder, device=device),
        train_dataset=examples,
        data_collator=collate,
    )
    trainer.train(resume_from_checkpoint=resume or None)
    merged = trained.merge_and_unload() if config.method == "lora" else trained
    merged.config.apply_spec_augment = False
    merged.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    if config.train.eval_utterances:
        errors = evaluate(merged, processor, dev[: config.train.eval_utterances])
        result = {"manifest": config.data.dev[0].manifest, "wer": round(errors.rate, 4), "words": errors.words}
        (folder / "results.json").write_text(json.dumps([result]) + "\n", encoding="utf-8")
        print(errors)
    return folder / "model"


def _arguments(config: WhisperRunConfig, folder: Path, *, device: str) -> Seq2SeqTrainingArguments:
    settings = config.train
    # The re-entrant kind finds no gradient to follow where LoRA has frozen what comes first.
    saving: dict[str, Any] = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    checkpointing = saving if settings.gradient_checkpointing else {}
    return Seq2SeqTrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch_utterances,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        bf16=settings.precision == "bf16",
        fp16=settings.precision == "fp16",
        save_steps=settings.save_every_steps,
        save_total_limit=2,
        logging_steps=settings.log_every_steps,
        report_to=["tensorboard"],
        seed=config.seed,
        use_cpu=device == "cpu",
        dataloader_num_workers=config.data.workers,
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=not sys.stderr.isatty(),
        **checkpointing,
    )


@torch.no_grad()
def evaluate(model: Any, processor: WhisperProcessor, utterances: Sequence[Utterance]) -> WordErrors:
    """Word errors of greedy decoding, each utterance with its language given."""
    model.eval()
    texts = []
    for item in utterances:
        samples = read_audio(item.audio, sample_rate=SAMPLE_RATE)
        features = processor.feature_extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        ids = model.generate(
            features.to(model.device), language=language_code(item), task="transcribe", max_new_tokens=MAX_LABELS // 2
        )
        text = processor.tokenizer.decode(ids[0], skip_special_tokens=True)
        texts.append(" ".join(text.split()))
    return word_errors([item.text for item in utterances], texts)


def convert(config: WhisperRunConfig, model: Path, folder: Path, *, version: str) -> None:
    """Make a CTranslate2 model folder with its `model.json`, as the platform imports it."""
    from ctranslate2.converters import TransformersConverter

    copied = [name for name in ("tokenizer.json", "preprocessor_config.json") if (model / name).is_file()]
    if folder.exists():
        shutil.rmtree(folder)
    converter = TransformersConverter(str(model), copy_files=copied, load_as_float16=False)
    converter.convert(str(folder), quantization=config.quantization)
    if "preprocessor_config.json" not in copied:  # newer processors keep it within another file
        extractor = WhisperFeatureExtractor.from_pretrained(model)  # a local folder  # nosec B615
        (folder / "preprocessor_config.json").write_text(extractor.to_json_string(), encoding="utf-8")
    results = model.parent / "results.json"
    artifacts.write(
        folder,
        artifacts.ModelManifest(
            task="stt",
            family="whisper",
            name=config.name.replace("_", "-"),
            version=version,
            engine="whisper",
            format="ctranslate2",
            languages=config.languages,
            sample_rate=SAMPLE_RATE,
            licence=config.licence,
            source=config.source or (config.base or ""),
            description=f"Whisper, {config.method} fine-tuning, {config.train.max_steps} steps.",
            files=artifacts.describe_files(folder),
            results=tuple(json.loads(results.read_text(encoding="utf-8"))) if results.is_file() else (),
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tune Whisper and convert it to CTranslate2.")
    parser.add_argument("--config", type=Path, required=True, help="a YAML file of training/stt/configs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--run-dir", type=Path, help="default: training/stt/runs/<name>")
    parser.add_argument("--resume", action="store_true", help="continue from the run folder's last checkpoint")
    parser.add_argument("--version", default="1")
    arguments = parser.parse_args()
    config = load_whisper_config(arguments.config)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ConfigInvalid("--device cuda: this machine has no usable CUDA device")
    folder = arguments.run_dir or REPOSITORY_ROOT / "training" / "stt" / "runs" / config.name
    model = fine_tune(config, folder, device=arguments.device, resume=arguments.resume)
    convert(config, model, folder / "ctranslate2", version=arguments.version)


if __name__ == "__main__":
    run_script(main)
