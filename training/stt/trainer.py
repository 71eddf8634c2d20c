"""How does a run go? Plan, load, step, evaluate, save; the same from the start or from any checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from training.errors import CheckpointInvalid
from training.stt import checkpoint
from training.stt.align import align_words
from training.stt.augment import FeatureAugmenter, WaveformAugmenter, warp_factors
from training.stt.batching import make_batches, rank_share, share_weight
from training.stt.checkpoint import Position, State
from training.stt.config import RunConfig
from training.stt.dataset import BatchReader, LoadedBatch, PlannedBatch, load_batches
from training.stt.distributed import Process
from training.stt.features import KaldiFbank
from training.stt.loss import Losses, TrainingModule
from training.stt.model import Transducer, count_parameters
from training.stt.plan import EpochPlanner, Piece
from training.stt.prepare import RunData, feature_batches, feature_statistics
from training.stt.progress import Reporter
from training.stt.recognize import recognize
from training.stt.schedule import learning_rate
from training.stt.wer import word_errors

FOREVER = 1 << 60
AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer:
    """One run of one process. `folder` holds checkpoints, logs and, at the end, `final.pt`."""

    def __init__(self, config: RunConfig, data: RunData, process: Process, folder: Path) -> None:
        self.config = config
        self.data = data
        self.process = process
        self.folder = folder
        self.position = Position()
        self._kept: list[tuple[float, int, State]] = []  # WER, step and weights of the models to average
        device = process.device
        torch.manual_seed(config.seed)
        model = Transducer(config.model, len(data.tokenizer.symbols)).to(device)
        self.model = model
        self.ema = copy.deepcopy(model).eval().requires_grad_(False)
        self.module = process.wrap(TrainingModule(model, config.loss))
        self._optimizer = _make_optimizer(model, config, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.trainer.precision == "fp16")
        rate, bins = config.model.sample_rate, config.model.num_mel_bins
        warps = warp_factors(config.augment.features)
        self._fbank = KaldiFbank(sample_rate=rate, num_mel_bins=bins).to(device)
        self._warped_fbank = KaldiFbank(sample_rate=rate, num_mel_bins=bins, warps=warps).to(device)
        self._feature_augmenter = FeatureAugmenter(config.augment.features)
        self._waveform_augmenter = WaveformAugmenter(config.augment.waveform, data.train_audio)
        self._planner = EpochPlanner(data.train, config.augment.mix, seed=config.seed)
        self._feature_mean = torch.zeros(config.model.num_mel_bins, device=device)

    # ── The run ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, *, stop_at_step: int = FOREVER) -> None:
        """Train to the end, or to `stop_at_step` and leave a checkpoint there as a kill would."""
        if self.position.step == 0:
            self._set_statistics()
        settings = self.config.trainer
        limit = min(settings.max_steps, stop_at_step)
        with Reporter(
            self.folder,
            total_steps=settings.max_steps,
            first_step=self.position.step,
            active=self.process.is_first,
        ) as reporter:
            reporter.report("start", self.position.step, {"parameters": count_parameters(self.model)})
            for losses in self._steps(limit):
                reporter.advance()
                self._after_step(losses, reporter)
            if self.position.step >= settings.max_steps or self._has_stalled():
                self._finish(reporter)

    def _steps(self, limit: int) -> Iterator[Losses]:
        """Optimizer steps until the limit or an early stop; yields the last batch's losses."""
        for done, batch in enumerate(self._batches(), start=1):
            if self.position.step >= limit or self._has_stalled():
                return
            losses = self._backward(batch)
            planned = batch.planned
            self.position.epoch = planned.epoch + planned.is_last
            self.position.batch = 0 if planned.is_last else planned.number + 1
            if done % self.config.trainer.accumulate == 0:
                self._step()
                yield losses

    def _after_step(self, losses: Losses, reporter: Reporter) -> None:
        step, settings = self.position.step, self.config.trainer
        if step % settings.log_every_steps == 0 or step == 1:
            figures = {"loss": losses.total.detach(), "rnnt": losses.rnnt, "ctc": losses.ctc}
            values = {name: round(float(value), 5) for name, value in figures.items()}
            reporter.report("train", step, values | {"lr": self._optimizer.param_groups[0]["lr"]})
        if step % settings.eval_every_steps == 0:
            self._evaluate(reporter)
        if step % settings.save_every_steps == 0:
            self.save()

    def _has_stalled(self) -> bool:
        patience = self.config.trainer.early_stop_evaluations
        return patience is not None and self.position.evaluations_since_best >= patience

    # ── Batches ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _batches(self) -> Iterator[LoadedBatch]:
        """Batches for ever, from where the run stands. Readers start anew whenever words are aligned."""
        mix = self.config.augment.mix
        reader = BatchReader(self.data.train_audio, self._waveform_augmenter, self.data.tokenizer)
        while True:
            until = FOREVER
            if mix.splice_ratio:
                since = self.position.epoch - mix.splice_from_epoch
                if since >= 0 and since % mix.splice_realign_epochs == 0 and self.position.batch == 0:
                    self._planner.words = self.process.share(self._align() if self.process.is_first else [])
                until = self.position.epoch + (-since if since < 0 else mix.splice_realign_epochs)
                until -= since % mix.splice_realign_epochs if since >= 0 else 0
            yield from load_batches(self._plan(until), reader, workers=self.config.data.workers)

    def _plan(self, until: int) -> Iterator[PlannedBatch]:
        settings = self.config.trainer
        place = {"rank": self.process.rank, "world_size": self.process.world_size}
        first_epoch, first_batch = self.position.epoch, self.position.batch
        for epoch in range(first_epoch, until):
            batches = make_batches(
                self._planner.plan(epoch),
                batch_seconds=settings.batch_seconds,
                batch_utterances=settings.batch_utterances,
                seed=(self.config.seed, epoch),
            )
            for number, batch in enumerate(batches):
                if epoch > first_epoch or number >= first_batch:
                    share, weight = rank_share(batch, **place), share_weight(batch, **place)
                    yield PlannedBatch(epoch, number, number == len(batches) - 1, weight, tuple(share))

    @torch.no_grad()
    def _align(self) -> list[Piece]:
        """The words of the training set, cut out by the averaged model's CTC head."""
        pieces: list[Piece] = []
        durations = [item.duration_seconds for item in self.data.train]
        for indices, features, lengths in feature_batches(
            self.data.train_audio, durations, self._fbank, self.process.device
        ):
            _, log_probs, frames = self.ema.encode(features, lengths)
            for index, row, length in zip(indices, log_probs.cpu(), frames.tolist(), strict=True):
                pieces += align_words(
                    row[:length],
                    self.data.train[index].text,
                    self.data.tokenizer,
                    self.data.train_audio.read(index),
                    sample_rate=self.config.model.sample_rate,
                    utterance=index,
                )
        return sorted(pieces, key=lambda piece: (piece.utterance, piece.start_seconds))

    # ── One step ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _backward(self, batch: LoadedBatch) -> Losses:
        """Add one batch's gradients. Its randomness comes from its place in the run alone, so resuming repeats it."""
        planned, data = batch.planned, batch.data.to(self.process.device)
        place = [self.config.seed, planned.epoch, planned.number, self.process.rank]
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        warps = self._feature_augmenter.draw_warps(len(data.sample_lengths), generator).to(self.process.device)
        features, lengths = self._warped_fbank(data.samples, data.sample_lengths, warps)
        sample_lengths = batch.data.sample_lengths  # on the CPU: no waiting for the device
        features = self._feature_augmenter(features, sample_lengths // self._fbank.shift, self._feature_mean, generator)
        precision = self.config.trainer.precision
        with torch.autocast(
            self.process.device.type,
            AUTOCAST_TYPES.get(precision, torch.bfloat16),
            enabled=precision in AUTOCAST_TYPES,
        ):
            losses: Losses = self.module(features, lengths, data.targets, data.target_lengths)
        scaled = losses.total * (planned.weight / self.config.trainer.accumulate)
        self._scaler.scale(scaled).backward()
        return losses

    def _step(self) -> None:
        settings = self.config.trainer
        self.position.step += 1
        rate = learning_rate(self.position.step, settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        decay = min(settings.ema_decay, (1 + self.position.step) / (10 + self.position.step))
        with torch.no_grad():
            own: list[torch.Tensor] = list(self.model.parameters())
            averaged: list[torch.Tensor] = list(self.ema.parameters())
            torch._foreach_lerp_(averaged, own, 1 - decay)

    @torch.no_grad()
    def _set_statistics(self) -> None:
        normalizer = self.model.encoder.normalizer
        mean, deviation = feature_statistics(
            self.data.train_audio,
            [item.duration_seconds for item in self.data.train],
            self._fbank,
            self.process.device,
            per_utterance=normalizer.per_utterance,
        )
        for target in (normalizer, self.ema.encoder.normalizer):
            target.mean.copy_(mean)
            target.deviation.copy_(deviation)
        self._feature_mean = mean

    # ── Evaluation and checkpoints ──────────────────────────────────────────────────────────────────────────────────

    def _dev_wer(self, model: Transducer) -> float:
        texts = recognize(model, self.data.tokenizer, self.data.dev, self.data.dev_audio)
        return word_errors([item.text for item in self.data.dev], texts).rate

    def _evaluate(self, reporter: Reporter) -> None:
        """Dev WER of the averaged weights; the models to average and the best one are kept on the way."""
        wer = float(self.process.share(self._dev_wer(self.ema) if self.process.is_first else None))
        position = self.position
        position.evaluations_since_best += 1
        if wer < position.best_wer:
            position.best_wer, position.evaluations_since_best = wer, 0
            self._write_model("best.pt", self.ema.state_dict())
        self._kept.append((wer, position.step, {k: v.cpu().clone() for k, v in self.ema.state_dict().items()}))
        if self.config.trainer.average_from == "best":
            self._kept.sort(key=lambda item: (item[0], -item[1]))
            self._kept = self._kept[: self.config.trainer.average_checkpoints]
        else:
            self._kept = self._kept[-self.config.trainer.average_checkpoints :]
        reporter.report("dev", position.step, {"wer": round(wer, 5), "best": round(position.best_wer, 5)})

    def _finish(self, reporter: Reporter) -> None:
        """Write `final.pt`: the mean of the kept models, or the last one where that is better on dev."""
        self.save()
        if not self.process.is_first:
            return
        weights = self.ema.state_dict()
        wer = self._dev_wer(self.ema)
        figures = {"ema_wer": wer}
        if self._kept:
            averaged = copy.deepcopy(self.ema)
            averaged.load_state_dict(checkpoint.average([state for _, _, state in self._kept]))
            figures["average_wer"] = self._dev_wer(averaged)
            if figures["average_wer"] <= wer:
                weights = averaged.state_dict()
        self._write_model(checkpoint.FINAL, weights)
        reporter.report("final", self.position.step, {name: round(value, 5) for name, value in figures.items()})

    def _write_model(self, name: str, weights: State) -> None:
        if self.process.is_first:
            state = checkpoint.model_state(
                {key: value.cpu() for key, value in weights.items()},
                self.config,
                self.data.tokenizer,
                step=self.position.step,
                data_hash=self.data.data_hash,
            )
            checkpoint.write_atomically(state, self.folder / name)

    def save(self) -> None:
        """Write `last.pt`, from which `restore` continues to the same result."""
        if self.process.is_first:
            state = checkpoint.model_state(
                self.model.state_dict(),
                self.config,
                self.data.tokenizer,
                step=self.position.step,
                data_hash=self.data.data_hash,
            )
            state |= {
                "ema": self.ema.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "scaler": self._scaler.state_dict(),
                "position": asdict(self.position),
                "kept": self._kept,
                "words": checkpoint.pieces_to_rows(self._planner.words),
            }
            checkpoint.write_atomically(state, self.folder / checkpoint.LAST)
        self.process.barrier()

    def initialize(self, weights: State) -> None:
        """Start from another run's weights. Raises CheckpointInvalid where they are another model's."""
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointInvalid(f"the checkpoint to start from is another model's: {error}") from error
        self.ema.load_state_dict(weights)

    def restore(self) -> None:
        """Continue from `last.pt`. Raises CheckpointInvalid where it belongs to other data or another model."""
        state = checkpoint.read(self.folder / checkpoint.LAST)
        if state["data_hash"] != self.data.data_hash:
            raise CheckpointInvalid(f"{self.folder / checkpoint.LAST}: made from other training data")
        if state["config"] != self.config.model_dump(mode="json"):
            raise CheckpointInvalid(f"{self.folder / checkpoint.LAST}: made with another configuration")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.position = Position(**state["position"])
        self._kept = [(wer, step, weights) for wer, step, weights in state["kept"]]
        self._planner.words = checkpoint.pieces_from_rows(state["words"])
        self._feature_mean = self.model.encoder.normalizer.mean


def _make_optimizer(model: Transducer, config: RunConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW; biases and norms are not decayed."""
    decayed = [item for item in model.parameters() if item.ndim > 1]
    plain = [item for item in model.parameters() if item.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.trainer.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=config.trainer.peak_learning_rate,
        betas=(0.9, 0.98),
        fused=device.type == "cuda",
    )
