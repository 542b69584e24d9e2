"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from spikesight.errors import DivergenceError, UserError
from spikesight.files.replacing import write_text
from spikesight.files.tensors import read_tensors
from spikesight.memory import low_memory
from spikesight.neurons.recording import spiking_neurons
from spikesight.parts import import_part
from spikesight.training.calibrating import record_calibration
from spikesight.training.config import TrainConfig
from spikesight.training.distillation import build_distillation
from spikesight.training.feasibility import (
    check_batch,
    check_feasible,
    describe_smaller_batch,
    explained_normalisations,
)
from spikesight.training.freed_memory import (
    keep_freed_memory,
    return_blocks_at_once,
    return_freed_memory,
)
from spikesight.training.interruption import StopRequest, TrainingInterrupted
from spikesight.training.meter import Meter
from spikesight.training.neuron_checks import (
    find_silent_neurons,
    silence_report,
    silence_warning,
)
from spikesight.training.precision import describe_precision
from spikesight.training.progress import build_report, format_duration
from spikesight.training.resuming import (
    explained_state,
    goes_on,
    in_precision_of,
    puts_channels_last,
    read_state,
)
from spikesight.training.run_log import RunLog, epoch_row
from spikesight.training.run_page import RunPage, Standing
from spikesight.training.runs.checkpoint import DataSummary, EpochSums, Position, RunState
from spikesight.training.runs.folder import save_model
from spikesight.training.runs.launching import hold_weights
from spikesight.training.runs.lock import locked
from spikesight.training.runs.preparation import (
    build_accelerator,
    build_model,
    count_batches,
    fused_training,
)
from spikesight.training.runs.processes import is_main_process, largest, total
from spikesight.training.seeding import seed_everything
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.table import find_task
from spikesight.training.validation_round import ValidationRound, validate_weights
from spikesight.training.whitening import whiten

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
    best: Figures
    last: Figures


def train(config: TrainConfig, after_update: Callable[[int], None] | None = None) -> TrainResult:
    """Trains a model; the same call serves one process or several, with GPUs or without.

    Args:
        config: The run.
        after_update: Called with the number of every update that has been made, from 1.

    Returns:
        The figures of the best and the last model, which lie in best/ and last/ of the output.

    Raises:
        ValueError: If the configuration cannot be carried out.
        DivergenceError: If the loss becomes infinite or not a number.
        TrainingInterrupted: If a signal ended the run, after writing last/.
    """
    for source in config.imports:
        import_part(source)
    with locked(Path(config.output)) if is_main_process() else nullcontext():
        return Trainer(config, after_update).run()


class Trainer:
    """One run, from its configuration to its folder; arguments and errors as of `train`."""

    def __init__(
        self, config: TrainConfig, after_update: Callable[[int], None] | None = None
    ) -> None:
        self.config = config
        self._watch_update = after_update
        self.folder = Path(config.output)
        self.accelerator = build_accelerator(config.precision, config.device, config.accumulation)
        self.device = self.accelerator.device
        self.report = build_report(self.accelerator.is_main_process)
        self.before: RunState | None = None
        moved = False
        resuming = goes_on(config, self.accelerator)
        if resuming:
            self.before, moved = read_state(config, self.accelerator, self.report)
            self.accelerator = in_precision_of(self.before, config, self.accelerator, self.report)
            self.device = self.accelerator.device
        channels_last = puts_channels_last(config, self.before, self.device)
        config = self.config = replace(config, channels_last=channels_last)
        if self.device.type == "cpu":
            if config.memory == "lowest":
                return_blocks_at_once()
            else:
                keep_freed_memory()
        check_feasible(config, filled=not resuming)

        self.task = find_task(config.task)(config, self.accelerator)
        self.loaders = self.task.loaders
        self.data = DataSummary.of(self.task.loaders)
        if self.before is not None and self.before.data is not None:
            self.before.data.check_same(self.data, self.folder / "last")
        self.batch_size = self.task.train.batch_size
        if moved and self.batch_size != config.batch_size:
            raise UserError(
                f"cannot go on from {self.folder / 'last'} in another number of processes: "
                f"batch_size is {config.batch_size} and the training images fill no larger one "
                f"than {self.batch_size}; start as many processes as before"
            )
        self.batches_per_epoch = count_batches(config, len(self.task.train))
        self.updates_per_epoch = self.batches_per_epoch // config.accumulation
        self.updates = self.updates_per_epoch * config.epochs

        seed_everything(config.seed)
        resumed = self.folder / "last" if resuming else None
        self.model, fresh = build_model(
            config, self.task.classes, self.task.channels, resumed=resumed
        )
        check_batch(config, self.model, self.batch_size)
        shortening = config.schedule.describe_shortening(self.updates, self.updates_per_epoch)
        smaller = describe_smaller_batch(config, self.batch_size, len(self.task.train.dataset))
        unmixed = config.mix.describe_absence(config.epochs)
        for note in (smaller, shortening, unmixed, *fresh):
            if note is not None:
                self.report.message(note)
        if self.before is not None:
            self._restore_model()
        self.model.to(self.device)
        if config.model.whitened and self.before is None and config.model.weights is None:
            whiten(self.model, self._first_images(), self.accelerator)
        self.weights = hold_weights(config, self.accelerator, self.model)
        images_per_update = self.batch_size * config.accumulation * self.accelerator.num_processes
        optimizer = config.optimizer.build(self.model, images_per_update)
        self.schedule = config.schedule.build(optimizer, self.updates, self.updates_per_epoch)
        self.schedule.step_update(0)
        self.objective = self.task.objective(self.model, self.device)
        distillation = build_distillation(
            config, self.model, self.loaders.preprocessing, self.device
        )
        if distillation is not None:
            self.objective.learn_from(distillation)

        self.position = Position()
        self.meter = Meter(self.accelerator)
        self.best: Figures | None = None
        self.last: Figures | None = None
        self.without_better = 0
        self.status = ""
        self.seen: ValidationRound | None = None
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.page = RunPage(self.config, self.task, self.parameters, self.report)
        self.prepared, self.optimizer = self.weights.prepare(
            optimizer, sync_batch_norm=config.sync_batch_norm
        )
        if self.before is not None:
            self._restore(self.before)
        self.memory = low_memory(self.model, config.memory)
        self.fusion = fused_training(config, self.accelerator, self.model)
        self.forward: Callable[..., Any] = (
            torch.compile(self.prepared) if config.compile == "model" else self.prepared
        )

    def _first_images(self) -> torch.Tensor:
        """What the first batch will show."""
        seed_everything(self.config.seed, self.accelerator.process_index, 0, 0)
        self.task.train.set_epoch(0, 0)
        return self.task.prepare(*next(iter(self.task.train)), 0, 0).images

    def _restore_model(self) -> None:
        tensors = read_tensors(self.folder / "last" / "model.safetensors")
        with explained_state(self.folder / "last"):
            self.model.load_state_dict(tensors)

    def _restore(self, state: RunState) -> None:
        with explained_state(self.folder / "last"):
            self.weights.load(self.optimizer, state.optimizer, state.ema)
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state.scaler)
        self.position, self.best, self.last = state.position, state.best, state.last
        self.without_better = state.without_better
        # The main process holds the sums of all.
        self.meter.restart(state.sums if self.accelerator.is_main_process else EpochSums())
        self.schedule.step_update(self.position.update)
        self.report.message(
            f"going on with {self.folder} at epoch {self.position.epoch + 1}, "
            f"batch {self.position.batch + 1}"
        )

    def run(self) -> TrainResult:
        """Trains to the end; figures and errors as of `train`."""
        config = self.config
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / "config.yaml", config.dump())
            self.log: RunLog | None = RunLog(
                self.folder,
                self.position.epoch + 1,
                self.task.figures.COLUMNS,
                list(spiking_neurons(self.model)),
            )
        else:
            self.log = None
        self._describe()
        self.saved = time.monotonic()
        self.report.start(self.updates, self.position.update)
        try:
            with StopRequest() as self.stop, self.fusion:
                while self.position.epoch < config.epochs and not self._out_of_patience():
                    self._train_epoch()
                    self._end_epoch()
                    if self.position.epoch < config.epochs:
                        self._stop_if_asked()
        finally:
            self.report.stop()
            self.objective.close()
            if self.log is not None:
                self.log.close()
            if self.device.type == "cpu":
                return_freed_memory()
        assert self.best is not None
        assert self.last is not None
        self._record_calibration()
        if self.log is not None and self.seen is not None:
            self.page.write(Standing(self.position.epoch, self.best, self.seen, finished=True))
        self.report.message(
            f"done: best validation {self.best.headline()} in {self.folder / 'best'}"
        )
        return TrainResult(self.folder, self.best, self.last)

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        validated = self.last is not None and self.position.batch == 0
        ends = validated and patience is not None and self.without_better >= patience
        if ends:
            self.report.message(
                f"{self.without_better} validation(s) without a better one: the run ends after "
                f"epoch {self.position.epoch} (patience={patience})"
            )
        return ends

    def _describe(self) -> None:
        precision = describe_precision(
            self.config.precision, self.accelerator.mixed_precision, self.device
        )
        self.report.message(
            f"{self.config.model.name}: {self.parameters / 1e6:.2f} M parameters, "
            f"{self.task.subject}, {self.updates_per_epoch} updates x "
            f"{self.config.epochs} epochs on {self.accelerator.num_processes} x "
            f"{self.device.type}, precision {precision}"
        )
        for note in self.task.notes:
            self.report.message(note)
        if self.config.compile == "model" and self.device.type == "cpu":
            self.report.message(
                "compile=model takes a minute at the start, and on a CPU gains as good as nothing "
                "over channels_last alone (benchmarks/train.py --compiled measures it)"
            )

    def _train_epoch(self) -> None:
        epoch, first = self.position.epoch, self.position.batch
        self.report.start_epoch(
            f"epoch {epoch + 1}/{self.config.epochs}",
            self.updates_per_epoch,
            first // self.config.accumulation,
        )
        self.task.train.set_epoch(epoch, first)
        self.prepared.train()
        self.meter.mark()
        batches = self.meter.fetched(islice(self.task.train, self.batches_per_epoch - first))
        for batch, (images, labels) in enumerate(batches, start=first):
            self._train_batch(epoch, batch, images, labels)
            self.position.batch = batch + 1
            if self.accelerator.sync_gradients:
                self._update()
                self._after_update()
        self.meter.account_time()

    def _train_batch(self, epoch: int, batch: int, images: Any, labels: Any) -> None:
        config = self.config
        seed_everything(config.seed, self.accelerator.process_index, epoch, batch)
        with self.meter.waiting():
            prepared = self.task.prepare(images, labels, epoch, batch)
        shown = prepared.images
        if config.channels_last and shown.ndim == 4:
            shown = shown.contiguous(memory_format=torch.channels_last)
        if self.position.update == 0 and batch == 0:
            with self.accelerator.autocast(), explained_normalisations(config, prepared.count):
                told = (part[:_PROBE_IMAGES] for part in prepared.told)
                silent = find_silent_neurons(self.model, shown[:_PROBE_IMAGES], *told)
            if silent:
                self.report.message(silence_warning(silent))
            self.objective.forget()

        with self.accelerator.accumulate(self.prepared):
            self.weights.begin_batch()
            explained = explained_normalisations(config, prepared.count)
            with self.accelerator.autocast(), self.memory, explained:
                output = self.forward(shown, *prepared.told)
                loss = self.objective(shown, output, prepared.targets)
            self.accelerator.backward(loss)
        self.meter.add(loss, prepared.count)

    def _update(self) -> None:
        self.weights.complete_gradients()
        if self.config.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.position.update += 1
        self.schedule.step_update(self.position.update)
        self.weights.update_average(self.position.update)
        if self._watch_update is not None:
            self._watch_update(self.position.update)

    def _after_update(self) -> None:
        """Looks at the loss, the clock and the signals.

        Reading the loss makes a GPU wait and asking other processes takes time, so both happen at
        every update only where they are free.
        """
        logging = self.position.update % self.config.log_every == 0
        alone = self.accelerator.num_processes == 1
        if logging or (alone and self.device.type == "cpu"):
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
                self.meter.account_time()
                self._save_last(None)
                self._stop_if_asked()

    def _check_loss(self) -> None:
        (loss,) = total(self.accelerator, [self.meter.loss_sum])
        if not math.isfinite(loss):
            raise DivergenceError(
                f"the loss became {loss} at or shortly before step {self.position.update} "
                f"(epoch {self.position.epoch + 1}), learning rate {self._lr():.2e}, precision "
                f"{self.accelerator.mixed_precision}; pass a smaller optimizer.lr, a smaller "
                "clip_norm, longer schedule.warmup_epochs or precision=no. "
                f"Checkpoints in {self.folder} are from before"
            )

    def _log_update(self) -> None:
        loss, speed = self.meter.part()
        self.status = f"loss {loss:.4f}  lr {self._lr():.2e}  {speed:.3g} images/s"
        if self.last is not None:
            self.status += f"  val {self.last.headline()}"
        if self.log is not None:
            terms = {f"loss_{name}": float(term) for name, term in self.objective.terms.items()}
            self.log.write_step(
                self.position.update,
                {
                    "loss": loss,
                    "lr": self._lr(),
                    "images_per_second": speed,
                    **terms,
                    **self.objective.firing(),
                },
            )

    def _lr(self) -> float:
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _end_epoch(self) -> None:
        """Validates, writes the row of the epoch, best/ and last/, and begins the next epoch."""
        self._check_loss()
        config, epoch = self.config, self.position.epoch
        sums = self.meter.totals()
        seen: ValidationRound | None = None
        own: Figures | None = None
        averaged: Figures | None = None
        if (epoch + 1) % config.validate_every == 0 or epoch + 1 == config.epochs:
            seen = validate_weights(self.task, self.weights, self.accelerator, epoch + 1)
            self.last, own, averaged = seen.own, seen.own, seen.averaged
        self.position = Position(epoch + 1, 0, self.position.update)
        self.meter.restart(EpochSums())
        if self.log is not None:
            columns = self.task.figures.COLUMNS
            self.log.write_epoch(epoch_row(epoch + 1, self._lr(), sums, columns, own, averaged))
            if seen is not None:
                self.log.write_firing(epoch + 1, seen.rates)
        line = f"epoch {epoch + 1}: train loss {sums.loss / sums.batches:.4f}"
        if seen is not None:
            line += f", {seen.own.summary()}"
            self._keep_best(seen)
        if averaged is not None:
            line += f", averaged {averaged.headline()}"
        data = 100 * sums.waiting / max(sums.seconds, 1e-9)
        line += f", {format_duration(sums.seconds)}, data {data:.0f} %"
        self.report.message(f"{line}, {sums.memory / 1e9:.2f} GB")
        if own is not None and own.silent_neurons:
            self.report.message(silence_report(own.silent_neurons))
        self._save_last(own)
        if seen is not None:
            self._show(seen)

    def _show(self, seen: ValidationRound) -> None:
        self.seen = seen
        if self.log is not None:
            assert self.best is not None
            self.page.refresh(self.log, Standing(self.position.epoch, self.best, seen))

    def _keep_best(self, seen: ValidationRound) -> None:
        chosen, weights = seen.better
        if not chosen.better_than(self.best):
            self.without_better += 1
            return
        self.best, self.without_better = chosen, 0
        model = self.weights.whole(weights)
        if self.accelerator.is_main_process:
            card = self.task.card(self.position.epoch, weights, chosen)
            save_model(self.folder / "best", model, card)

    def _record_calibration(self) -> None:
        """Measures best/ for its deployment, if it has a graph that can be deployed."""
        if self.accelerator.is_main_process:
            with suppress(UserError):
                record_calibration(self.folder / "best")

    def _save_last(self, figures: Figures | None) -> None:
        """Writes last/, from which a run goes on."""
        model = self.weights.whole("model")
        scaler = self.accelerator.scaler
        state = RunState(
            position=self.position,
            sums=self.meter.totals(),
            best=self.best,
            last=figures,
            processes=self.accelerator.num_processes,
            config=self.config.to_mapping(),
            optimizer=self.optimizer.state_dict(),
            scaler={} if scaler is None else scaler.state_dict(),
            ema=self.weights.average_state(),
            precision=self.accelerator.mixed_precision,
            data=self.data,
            without_better=self.without_better,
        )
        card = self.task.card(self.position.epoch, "model", figures)
        state.save(self.folder / "last", model, card, self.accelerator)
        self.saved = time.monotonic()

    def _stop_if_asked(self) -> None:
        """Ends the run if any process caught a signal; last/ must be up to date."""
        number = int(largest(self.accelerator, self.stop.signal_number))
        if number:
            self.report.message(
                f"stopped; to go on, run the same command with --resume=true --output={self.folder}"
            )
            raise TrainingInterrupted(number, self.folder)
