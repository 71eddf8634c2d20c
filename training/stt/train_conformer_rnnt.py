"""Train a Conformer RNN-T.

    python training/stt/train_conformer_rnnt.py --config training/stt/configs/conformer_an4.yaml --device cuda
    torchrun --nproc-per-node 4 training/stt/train_conformer_rnnt.py --config … --device cuda

A run lives in one folder (`--run-dir`): `last.pt` to resume from, `best.pt`, `final.pt`, `log.jsonl`, `tensorboard/`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: imports start at the repository root, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import torch

from training.errors import ConfigInvalid, run_script
from training.stt.checkpoint import LAST, read
from training.stt.config import REPOSITORY_ROOT, RunConfig, load_config
from training.stt.distributed import Process, process
from training.stt.prepare import prepare
from training.stt.tokenizer import tokenizer_from_json
from training.stt.trainer import FOREVER, Trainer


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a Conformer RNN-T.")
    parser.add_argument("--config", type=Path, required=True, help="a YAML file of training/stt/configs")
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--run-dir", type=Path, help="default: training/stt/runs/<name>")
    parser.add_argument("--resume", action="store_true", help="continue from the run folder's last checkpoint")
    parser.add_argument("--init-from", type=Path, help="start from another checkpoint's weights, to fine-tune it")
    parser.add_argument("--stop-at-step", type=int, default=FOREVER, help="end early, leaving a checkpoint")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. seed=2")
    return parser.parse_args()


def train(
    config: RunConfig, where: Process, folder: Path, *, resume: bool, init_from: Path | None, stop_at_step: int
) -> None:
    """Start or continue a run."""
    started = (folder / LAST).exists()
    if started and not resume:
        raise ConfigInvalid(f"{folder} holds a run already: continue it with --resume, or choose another --run-dir")
    if resume and not started:
        raise ConfigInvalid(f"{folder} holds no checkpoint to resume from")
    if resume and init_from:
        raise ConfigInvalid("--resume continues a run, --init-from starts one: give one of them")
    earlier = folder / LAST if resume else init_from
    tokenizer = tokenizer_from_json(read(earlier)["tokenizer"]) if earlier else None
    data = prepare(config, tokenizer)
    where.barrier()  # the check above must not see what another process writes below
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, data, where, folder)
    if resume:
        trainer.restore()
    elif init_from:
        trainer.initialize(read(init_from)["model"])
    trainer.run(stop_at_step=stop_at_step)
    if trainer.position.step == stop_at_step:
        trainer.save()


def main() -> None:
    arguments = parse_arguments()
    config = load_config(arguments.config, arguments.set)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("high" if arguments.device == "cuda" else "highest")
    folder = arguments.run_dir or REPOSITORY_ROOT / "training" / "stt" / "runs" / config.name
    with process(arguments.device) as where:
        train(
            config,
            where,
            folder,
            resume=arguments.resume,
            init_from=arguments.init_from,
            stop_at_step=arguments.stop_at_step,
        )


if __name__ == "__main__":
    run_script(main)
