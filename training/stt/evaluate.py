"""How good is a checkpoint or an exported folder? Word error rate on a manifest, and what was heard wrongly.

python training/stt/evaluate.py --config CONFIG --checkpoint RUN/final.pt [--search beam]
python training/stt/evaluate.py --config CONFIG --folder FOLDER --search beam --blank-penalty 0.5
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: imports start at the repository root, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import jiwer
import torch

from training.errors import ConfigInvalid, run_script
from training.stt.audio import AudioStore
from training.stt.checkpoint import load_model
from training.stt.config import RunConfig, load_config
from training.stt.manifest import Utterance, read_sources
from training.stt.recognize import recognize
from training.stt.serve import decode, open_recognizer
from training.stt.wer import word_errors

SHOWN_CONFUSIONS = 25


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Word error rate of a model on a configuration's dev set.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration override")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--checkpoint", type=Path, help="decode with torch")
    model.add_argument("--folder", type=Path, help="an exported folder: decode with sherpa-onnx")
    parser.add_argument("--search", choices=("greedy", "beam", "ctc"), default="greedy", help="with --checkpoint")
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--blank-penalty", type=float, default=0.0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="append the result here")
    parser.add_argument(
        "--errors", action="store_true", help="print every wrong utterance and the commonest confusions"
    )
    return parser.parse_args()


def transcribe(arguments: argparse.Namespace, config: RunConfig, dev: list[Utterance]) -> list[str]:
    """The texts of the dev set by whichever model was asked for."""
    store = AudioStore([item.audio for item in dev], sample_rate=config.model.sample_rate, cache=True)
    if arguments.checkpoint:
        loaded = load_model(arguments.checkpoint, torch.device(arguments.device))
        return recognize(
            loaded.model,
            loaded.tokenizer,
            dev,
            store,
            search=arguments.search,
            beam=arguments.beam,
            blank_penalty=arguments.blank_penalty,
        )
    if arguments.search == "ctc":
        raise ConfigInvalid("--search ctc: an exported folder has no CTC head")
    decoding: dict[str, Any] = {"blank_penalty": arguments.blank_penalty}
    if arguments.search == "beam":
        decoding |= {"decoding_method": "modified_beam_search", "max_active_paths": arguments.beam}
    recognizer = open_recognizer(arguments.folder, threads=arguments.threads, **decoding)
    return decode(recognizer, store, range(len(store)))


def print_errors(dev: list[Utterance], texts: list[str]) -> None:
    """Wrong utterances, then the commonest confusions of words."""
    confusions: Counter[str] = Counter()
    for item, text in zip(dev, texts, strict=True):
        if item.text == text:
            continue
        print(f"{item.audio.name}\n  said  {item.text}\n  heard {text}")
        alignment = jiwer.process_words(item.text, text).alignments[0]
        for chunk in alignment:
            if chunk.type != "equal":
                said = " ".join(item.text.split()[chunk.ref_start_idx : chunk.ref_end_idx]) or "∅"
                heard = " ".join(text.split()[chunk.hyp_start_idx : chunk.hyp_end_idx]) or "∅"
                confusions[f"{said} → {heard}"] += 1
    for confusion, count in confusions.most_common(SHOWN_CONFUSIONS):
        print(f"{count:4d}  {confusion}")


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    config = load_config(arguments.config, arguments.set)
    dev = read_sources(config.data.dev, config.data, lowercase=config.tokenizer.lowercase)
    started = time.monotonic()
    texts = transcribe(arguments, config, dev)
    seconds = time.monotonic() - started
    errors = word_errors([item.text for item in dev], texts)
    audio = sum(item.duration_seconds for item in dev)
    if arguments.errors:
        print_errors(dev, texts)
    print(f"{errors}; {len(dev)} utterances, {audio:.0f} s of audio in {seconds:.1f} s")
    if arguments.json:
        rows = json.loads(arguments.json.read_text(encoding="utf-8")) if arguments.json.exists() else []
        rows.append(
            {
                "manifest": " ".join(source.manifest.rsplit("/", 1)[-1] for source in config.data.dev),
                "utterances": len(dev),
                "words": errors.words,
                "wer": round(errors.rate, 4),
                "search": arguments.search,
                "beam": arguments.beam if arguments.search == "beam" else None,
                "blank_penalty": arguments.blank_penalty,
            }
        )
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
