"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from spikesight.training.checkpoint import Card, EpochSums, Position, RunState, save_model
from spikesight.training.config import TrainConfig
from spikesight.training.evaluation import Evaluation, evaluate
from spikesight.training.interruption import StopRequest, TrainingInterrupted
from spikesight.training.neuron_checks import find_silent_neurons, silence_warning
from spikesight.training.objective import Objective
from spikesight.training.preparation import (
    build_accelerator,
    build_model,
    build_run_loaders,
    count_batches,
)
from spikesight.training.processes import largest, share_buffers, total
from spikesight.training.progress import build_report, format_duration
from spikesight.training.run_log import RunLog
from spikesight.training.seeding import seed_everything
from spikesight.training.storage import recover_folder, write_text

_PROBE_IMAGES = 64


@dataclass(frozen=True)
class TrainResult:
    """What a finished run achieved.

    Attributes:
        folder: Folder of the run.
        best: Validation figures of best/.
        last: Validation figures of last/.
    """

    folder: Path
    best: Evaluation
    last: Evaluation


def train(config: TrainConfig) -> TrainResult:
    """Trains a model; the same call serves one process or several, with GPUs or without.

    Args:
        config: The run.

    Returns:
        The figures of the best and the last model, which lie in best/ and last/ of the output.

    Raises:
        ValueError: If the configuration cannot be carried out.
        FloatingPointError: If the loss becomes infinite or not a number.
        TrainingInterrupted: If a signal ended the run, after writing last/.
    """
    return Trainer(config).run()


class Trainer:
    """One run, from its configuration to its folder.

    Args:
        config: The run.

    Raises:
        ValueError: If the configuration cannot be carried out.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.folder = Path(config.output)
        self.accelerator = build_accelerator(config.precision, config.device, config.accumulation)
        self.device = self.accelerator.device
        self.report = build_report(self.accelerator.is_main_process)
        self._check_output()

        self.loaders = build_run_loaders(config, self.accelerator)
        self.batches_per_epoch = count_batches(config, len(self.loaders.train))
        self.updates_per_epoch = self.batches_per_epoch // config.accumulation
        self.updates = self.updates_per_epoch * config.epochs

        seed_everything(config.seed)
        classes = len(self.loaders.classes)
        self.model, fresh = build_model(config, classes, self.loaders.preprocessing.channels)
        if fresh:
            self.report.message(f"fresh classifier, its size differs from the saved one: {fresh}")
        self.model.to(self.device)
        if config.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.ema = config.ema.build(self.model)
        images_per_update = config.batch_size * config.accumulation * self.accelerator.num_processes
        optimizer = config.optimizer.build(self.model, images_per_update)
        self.schedule = config.schedule.build(optimizer, self.updates, self.updates_per_epoch)
        self.schedule.step_update(0)

        outputs = self.model.recipe["arguments"]["num_classes"]
        self.mixup = (
            config.mix.build(outputs, config.label_smoothing) if config.mix.active else None
        )
        self.objective = Objective(config, self.model, self.loaders.preprocessing, self.device)

        self.position = Position()
        self.sums = EpochSums()
        self.best: Evaluation | None = None
        self.last: Evaluation | None = None
        self.status = ""
        self.prepared, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        # Training autocasts where it needs to; evaluation is in float32, as `spikesight val` is.
        self.accelerator.unwrap_model(self.prepared, keep_fp32_wrapper=False)
        if self.resuming:
            self._restore()
        self.forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.prepared) if config.compile == "model" else self.prepared
        )
        self.loss_sum = torch.tensor(self.sums.loss, dtype=torch.float64, device=self.device)

    def _check_output(self) -> None:
        last = recover_folder(self.folder / "last") if self.accelerator.is_main_process else None
        self.accelerator.wait_for_everyone()
        last = last or self.folder / "last"
        self.resuming = self.config.resume and last.exists()
        if last.exists() and not self.config.resume:
            raise ValueError(
                f"output {self.folder} holds a run already; pass resume=true to go on with it or "
                "another output"
            )

    def _restore(self) -> None:
        last = self.folder / "last"
        state = RunState.read(last)
        state.check_continues(self.config, self.accelerator.num_processes, last)
        self.model.load_state_dict(load_file(last / "model.safetensors"))
        self.optimizer.load_state_dict(state.optimizer)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        if self.ema is not None:
            self.ema.module.load_state_dict(state.ema)
        self.position, self.sums, self.best = state.position, state.sums, state.best
        if not self.accelerator.is_main_process:
            self.sums = EpochSums()  # the main process holds the sums of all
        self.last = Card.read(last).metrics
        self.schedule.step_update(self.position.update)
        self.report.message(
            f"going on with {self.folder} at epoch {self.position.epoch + 1}, "
            f"batch {self.position.batch + 1}"
        )

    def run(self) -> TrainResult:
        """Trains to the end.

        Returns:
            The figures of the best and the last model.

        Raises:
            FloatingPointError: If the loss becomes infinite or not a number.
            TrainingInterrupted: If a signal ended the run, after writing last/.
        """
        config = self.config
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / "config.yaml", config.dump())
            self.log: RunLog | None = RunLog(self.folder, self.position.epoch + 1)
        else:
            self.log = None
        self._describe()
        self.saved = time.monotonic()
        self.report.start(self.updates, self.position.update)
        try:
            with StopRequest() as self.stop:
                while self.position.epoch < config.epochs:
                    self._train_epoch()
                    self._end_epoch()
                    if self.position.epoch < config.epochs:
                        self._stop_if_asked()
        finally:
            self.report.stop()
            self.objective.close()
            if self.log is not None:
                self.log.close()
        assert self.best is not None
        assert self.last is not None
        self.report.message(
            f"done: best validation top-1 {self.best.top1:.2f} % in {self.folder / 'best'}"
        )
        return TrainResult(self.folder, self.best, self.last)

    def _describe(self) -> None:
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.report.message(
            f"{self.config.model.name}: {parameters / 1e6:.2f} M parameters, "
            f"{len(self.loaders.classes)} classes, {self.updates_per_epoch} updates x "
            f"{self.config.epochs} epochs on {self.accelerator.num_processes} x "
            f"{self.device.type}, precision {self.config.precision}"
        )

    def _train_epoch(self) -> None:
        epoch, first = self.position.epoch, self.position.batch
        accumulation = self.config.accumulation
        self.report.start_epoch(
            f"epoch {epoch + 1}/{self.config.epochs}",
            self.updates_per_epoch,
            first // accumulation,
        )
        self.loaders.train.set_epoch(epoch, first)
        self.prepared.train()
        self.mark_time, self.mark_images = time.monotonic(), 0
        self.mark_loss, self.mark_batches = float(self.loss_sum), self.sums.batches
        batches = islice(self.loaders.train, self.batches_per_epoch - first)
        for batch, (images, labels) in enumerate(batches, start=first):
            self._train_batch(epoch, batch, images, labels)
            self.position.batch = batch + 1
            if (batch + 1) % accumulation == 0:
                self._update()
                self._after_update()
        self._account_time()

    def _train_batch(self, epoch: int, batch: int, images: Tensor, labels: Tensor) -> None:
        config = self.config
        seed_everything(config.seed, self.accelerator.process_index, epoch, batch)
        generator = self.loaders.train.generator(batch)
        images = images.to(self.device, non_blocking=True)
        images = self.loaders.batch_transform_train(images, generator)
        targets = labels.to(self.device, non_blocking=True)
        count = len(targets)
        mixing = self.mixup is not None and epoch < config.epochs - config.mix.off_epochs
        if mixing:
            assert self.mixup is not None
            if count % 2:  # images of this batch were skipped as corrupt; mixing needs pairs
                images, targets = _append_first(images), _append_first(targets)
            # Mixing knows images only, so the frames of a sequence become channels of one.
            mixed, targets = self.mixup(images.flatten(1, -3), targets)
            images = mixed.view_as(images)
        if config.channels_last and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        if self.position.update == 0 and batch == 0 and self.accelerator.is_main_process:
            with self.accelerator.autocast():
                silent = find_silent_neurons(self.model, images[:_PROBE_IMAGES])
            if silent:
                self.report.message(silence_warning(silent))
            self.objective.forget()

        updating = (batch + 1) % config.accumulation == 0
        self.accelerator.sync_gradients = updating
        with nullcontext() if updating else self.accelerator.no_sync(self.prepared):
            with self.accelerator.autocast():
                logits = self.forward(images)
                loss = self.objective(images, logits, targets)
            self.accelerator.backward(loss)
        self.loss_sum += loss.detach()
        self.sums.batches += 1
        self.sums.images += count
        self.mark_images += count

    def _update(self) -> None:
        if self.config.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.position.update += 1
        self.schedule.step_update(self.position.update)
        if self.ema is not None:
            self.ema.update(self.model, step=self.position.update)

    def _after_update(self) -> None:
        """Looks at the loss, the clock and the signals.

        Reading the loss makes a GPU wait and asking other processes takes time, so both happen at
        every update only where they are free.
        """
        logging = self.position.update % self.config.log_every == 0
        alone = self.accelerator.num_processes == 1
        if logging or self.device.type == "cpu":
            self._check_loss()
        if logging:
            self._log_update()
        self.report.update(self.status)
        if self.position.batch == self.batches_per_epoch:
            return
        if alone or logging:
            due = time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes
            if largest(self.accelerator, due or self.stop.signal_number > 0):
                self._check_loss()
                self._account_time()
                self._save_last(None)
                self._stop_if_asked()

    def _check_loss(self) -> None:
        (loss,) = total(self.accelerator, [self.loss_sum])
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss} at or shortly before step {self.position.update} "
                f"(epoch {self.position.epoch + 1}), learning rate {self._lr():.2e}, precision "
                f"{self.config.precision}; pass a smaller optimizer.lr, a smaller clip_norm, "
                "longer schedule.warmup_epochs or precision=no. "
                f"Checkpoints in {self.folder} are from before"
            )

    def _log_update(self) -> None:
        batches = self.sums.batches - self.mark_batches
        elapsed = time.monotonic() - self.mark_time
        loss = (float(self.loss_sum) - self.mark_loss) / max(batches, 1)
        speed = self.mark_images * self.accelerator.num_processes / max(elapsed, 1e-9)
        self._account_time()
        self.mark_loss, self.mark_batches = float(self.loss_sum), self.sums.batches
        self.status = f"loss {loss:.4f}  lr {self._lr():.2e}  {speed:.0f} images/s"
        if self.last is not None:
            self.status += f"  val {self.last.top1:.2f} %"
        if self.log is not None:
            self.log.write_step(
                self.position.update,
                {"loss": loss, "lr": self._lr(), "images_per_second": speed},
            )

    def _account_time(self) -> None:
        now = time.monotonic()
        self.sums.seconds += now - self.mark_time
        self.mark_time, self.mark_images = now, 0

    def _lr(self) -> float:
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _end_epoch(self) -> None:
        """Validates, writes the row of the epoch, best/ and last/, and begins the next epoch."""
        self._check_loss()
        config, epoch = self.config, self.position.epoch
        sums = self._total_sums()
        own: Evaluation | None = None
        averaged: Evaluation | None = None
        if (epoch + 1) % config.validate_every == 0 or epoch + 1 == config.epochs:
            share_buffers(self.accelerator, *self._models())
            own = self._evaluate(self.model)
            averaged = None if self.ema is None else self._evaluate(self.ema.module)
            self.last = own
        self.position = Position(epoch + 1, 0, self.position.update)
        self.sums = EpochSums()
        self.loss_sum.zero_()
        if self.log is not None:
            self.log.write_epoch(
                {
                    "epoch": epoch + 1,
                    "train_loss": sums.loss / sums.batches,
                    "lr": self._lr(),
                    **_columns("val", own),
                    **_columns("ema", averaged),
                    "firing_rate": None if own is None else own.firing_rate,
                    "images_per_second": sums.images / max(sums.seconds, 1e-9),
                    "seconds": sums.seconds,
                }
            )
        line = f"epoch {epoch + 1}: train loss {sums.loss / sums.batches:.4f}"
        if own is not None:
            line += f", val loss {own.loss:.4f}, top-1 {own.top1:.2f} %, top-5 {own.top5:.2f} %"
            self._keep_best(own, averaged)
        if averaged is not None:
            line += f", averaged {averaged.top1:.2f} %"
        if own is not None and own.firing_rate is not None:
            line += f", firing {own.firing_rate:.3f}"
        self.report.message(f"{line}, {format_duration(sums.seconds)}")
        self._save_last(own)

    def _keep_best(self, own: Evaluation, averaged: Evaluation | None) -> None:
        use_average = averaged is not None and not own.better_than(averaged)
        chosen = averaged if use_average and averaged is not None else own
        if not chosen.better_than(self.best):
            return
        self.best = chosen
        if self.accelerator.is_main_process:
            assert not use_average or self.ema is not None
            model = self.ema.module if use_average and self.ema is not None else self.model
            weights = "ema" if use_average else "model"
            save_model(self.folder / "best", model, self._card(weights, chosen))

    def _evaluate(self, model: nn.Module) -> Evaluation:
        return evaluate(
            model,
            self.loaders.validation,
            self.loaders.batch_transform_eval,
            self.accelerator,
            channels_last=self.config.channels_last,
            limit_batches=self.config.limit_batches,
        )

    def _card(self, weights: str, metrics: Evaluation | None) -> Card:
        return Card(
            data=self.loaders.config,
            preprocessing=self.loaders.preprocessing,
            epoch=self.position.epoch,
            weights=weights,
            metrics=metrics,
        )

    def _save_last(self, metrics: Evaluation | None) -> None:
        """Writes last/, from which a run goes on."""
        share_buffers(self.accelerator, *self._models())
        sums = self._total_sums()
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = RunState(
                position=self.position,
                sums=sums,
                best=self.best,
                processes=self.accelerator.num_processes,
                config=self.config.to_mapping(),
                optimizer=self.optimizer.state_dict(),
                scaler={} if scaler is None else scaler.state_dict(),
                ema={} if self.ema is None else dict(self.ema.module.state_dict()),
            )
            state.save(self.folder / "last", self.model, self._card("model", metrics))
        self.saved = time.monotonic()
        self.accelerator.wait_for_everyone()

    def _stop_if_asked(self) -> None:
        """Ends the run if any process caught a signal; last/ must be up to date."""
        number = int(largest(self.accelerator, self.stop.signal_number))
        if number:
            self.report.message(
                f"stopped; to go on, run the same command with --resume=true --output={self.folder}"
            )
            raise TrainingInterrupted(number, self.folder)

    def _total_sums(self) -> EpochSums:
        """The sums of all processes; the time is that of this one."""
        loss, batches, images = total(
            self.accelerator, [self.loss_sum, self.sums.batches, self.sums.images]
        )
        return EpochSums(loss, int(batches), int(images), self.sums.seconds)

    def _models(self) -> list[nn.Module]:
        return [self.model] if self.ema is None else [self.model, self.ema.module]


def _append_first(batch: Tensor) -> Tensor:
    return torch.cat([batch, batch[:1]])


def _columns(prefix: str, evaluation: Evaluation | None) -> dict[str, float | int | None]:
    names = ("top1", "top5", "loss")
    return {
        f"{prefix}_{name}": None if evaluation is None else getattr(evaluation, name)
        for name in names
    }
