"""The page of a run, report.html in its folder: written after every validation and at its end."""

from __future__ import annotations

import importlib
import platform
import re
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from PIL import Image

from spikesight.costs.models import energy
from spikesight.costs.page import energy_chart, energy_notes, energy_text, ratio_text
from spikesight.costs.report import EnergyReport
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.files.replacing import write_text
from spikesight.pretrained import load
from spikesight.processor import processor_name
from spikesight.reports.charts import bar_chart
from spikesight.reports.firing_history import firing_history
from spikesight.reports.page import (
    Tile,
    bullets,
    commands,
    facts,
    folded,
    page,
    paragraph,
    percent,
    section,
    table,
    tiles,
)
from spikesight.reports.pictures import photo
from spikesight.reports.training_curves import Run, run_curves
from spikesight.training.config import TrainConfig
from spikesight.training.progress import ProgressReport, format_duration
from spikesight.training.run_log import FIRING, RunLog
from spikesight.training.tasks.base import Task
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Sight
from spikesight.training.validation_round import ValidationRound

PAGE = "report.html"
_PICTURE_TIMES = 20  # of a run, at which TensorBoard gets pictures
_ENERGY_IMAGES, _AT_ONCE = 8, 4
_BARS = 40  # classes that get one
_HEADLINE = re.compile(r"(.+?) (-?\d.*)")


@dataclass(frozen=True)
class Standing:
    """How far a run is.

    Attributes:
        epoch: Number of epochs that lie behind.
        best: Figures of best/.
        round: The last validation.
        finished: Whether the run has ended by itself.
    """

    epoch: int
    best: Figures
    round: ValidationRound
    finished: bool = False


class RunPage:
    """Writes the page. Whatever goes wrong is a warning, and training goes on.

    Args:
        config: The run.
        task: Its task.
        parameters: Number of the model's weights.
        report: Where warnings go.
    """

    def __init__(
        self, config: TrainConfig, task: Task, parameters: int, report: ProgressReport
    ) -> None:
        self._config, self._task, self._parameters = config, task, parameters
        self._report = report
        self._folder = Path(config.output)
        self.path = self._folder / PAGE

    def refresh(self, log: RunLog, standing: Standing) -> None:
        """Writes the page after a validation; now and then pictures for TensorBoard too."""
        self.write(standing)
        epoch, epochs = standing.epoch, self._config.epochs
        if epoch % -(-epochs // _PICTURE_TIMES) == 0 or epoch == epochs:
            self._show_pictures(log, epoch, standing.round)

    def write(self, standing: Standing) -> None:
        """Writes the page anew; of a finished run with its energy."""
        try:
            text = page(
                self._config.model.name,
                self._lead(standing),
                *self._parts(standing, self._energy() if standing.finished else None),
            )
            write_text(self.path, text)
        except Exception as error:
            self._report.message(f"warning: the page {show(self.path)} is not written: {error}")

    def _show_pictures(self, log: RunLog, epoch: int, seen: ValidationRound) -> None:
        try:
            sights = [] if seen.findings is None else seen.findings.sights()
            if seen.picture is not None:
                with Image.open(seen.picture) as picture:
                    sights = [*sights, Sight("photos", picture.convert("RGB"))]
            log.write_pictures(epoch, sights)
        except Exception as error:
            self._report.message(f"warning: TensorBoard lacks the pictures: {error}")

    def _energy(self) -> EnergyReport | str:
        """The energy of best/ on a few validation images, or why it is not counted."""
        try:
            card = self._task.card(0, "model", None)
            inputs = self._task.evaluation_inputs(card, _ENERGY_IMAGES, "validation")
            device = self._task.accelerator.device
            model = load(self._folder / "best").to(device)
            return energy(model, inputs.to(device).split(_AT_ONCE))
        except Exception as error:
            if not isinstance(error, UserError):
                self._report.message(f"warning: the page has no energy: {error}")
            return str(error)

    def _lead(self, standing: Standing) -> str:
        config = self._config
        state = f"{standing.epoch} of {config.epochs} epochs"
        if standing.finished and standing.epoch < config.epochs:
            state += ", ended by patience"
        lead = f"Task {config.task}, {self._task.subject}. Trained for {state}."
        if standing.round.averaged is not None:
            _, whose = standing.round.better
            better = "the moving average of the weights" if whose == "ema" else "the weights"
            lead += f" What follows the curves is of {better}, which validated better."
        return lead

    def _parts(self, standing: Standing, counted: EnergyReport | str | None) -> list[str]:
        seen = standing.round
        figures, _ = seen.better
        columns = self._task.figures.COLUMNS
        curves = run_curves(self._folder, columns, seen.averaged is not None)
        parts = [tiles(self._headline(standing, counted)), section("How it learned", curves)]
        if seen.findings is not None:
            if seen.findings.failure is not None:
                self._report.message(
                    f"warning: the page lacks what validation noticed: {seen.findings.failure}"
                )
            else:
                parts += seen.findings.sections()
        parts += _by_class(figures)
        parts += self._picture(seen.picture)
        parts += self._firing(figures)
        if counted is not None:
            parts.append(_energy_section(counted))
        parts.append(section("How to go on", commands(self._steps(standing))))
        parts.append(section("How this was made", facts(self._facts())))
        return parts

    def _headline(self, standing: Standing, counted: EnergyReport | str | None) -> list[Tile]:
        best, last = standing.best, standing.round.own
        value, label = _split(best.headline())
        items = [Tile(value, label, f"best validation, {best.images:,} images", "spike", wide=True)]
        value, label = _split(last.headline())
        items.append(Tile(value, f"{label}, last", f"after epoch {standing.epoch}"))
        if last.firing_rate is not None:
            rate = percent(last.firing_rate)
            items.append(Tile(rate, "mean firing rate", "of the spikes that could be fired"))
            silent = len(last.silent_neurons)
            if silent:
                layers = f"silent neuron layer{'s' if silent > 1 else ''}"
                items.append(Tile(f"{silent}", layers, "never fired in validation", "bad"))
        if isinstance(counted, EnergyReport):
            items.append(
                Tile(
                    energy_text(counted.picojoules),
                    "per sample",
                    f"{ratio_text(counted)} than an ANN, from counts",
                )
            )
        items.append(Tile(f"{self._parameters / 1e6:,.2f} M", "parameters"))
        seconds = sum(value for _, value in Run("", "spike", self._folder).column("seconds"))
        items.append(Tile(format_duration(seconds), "of training", "without validation"))
        return items

    def _picture(self, drawn: Path | None) -> list[str]:
        """What the task drew of a few photos."""
        if drawn is None:
            return []
        try:
            with Image.open(drawn) as picture:
                shown = photo(picture, f"what the model makes of a few photos: {drawn.name}", 1200)
        except OSError as error:
            self._report.message(f"warning: the page lacks {show(drawn)}: {error}")
            return []
        return [section("What it makes of a few photos", f"<figure>{shown}</figure>")]

    def _firing(self, figures: Figures) -> list[str]:
        """Firing of every layer after every validation."""
        path = self._folder / FIRING
        if figures.firing_rate is None or not path.is_file():
            return []
        run = Run("", "spike", self._folder)
        layers = {name: run.column(name, FIRING) for name in run.columns(FIRING) if name != "epoch"}
        layers = {name: points for name, points in layers.items() if points}
        if not layers:
            return []
        said = (
            "Firing rate: spikes fired, as a share of the spikes possible. All curves have one "
            f"scale and show every validation; {FIRING} has the figures. {self._task.rates_note}"
        )
        return [section("How often neurons fire", paragraph(said), firing_history(layers))]

    def _steps(self, standing: Standing) -> list[tuple[str, str]]:
        name = shlex.quote(str(self._folder))
        recipe = shlex.quote(str(self._folder / "config.yaml"))
        steps = [("Look at every figure", f"tensorboard --logdir {name}")]
        if standing.epoch < self._config.epochs:
            steps.append(("Go on, should it be broken off", f"spikesight train {recipe} --resume"))
        return [*steps, *self._task.next_steps(self._folder)]

    def _facts(self) -> list[tuple[str, str]]:
        config = self._config
        device = self._task.accelerator.device
        machine = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
        return [
            ("model", config.model.name),
            ("task", config.task),
            (
                "weights updated by",
                f"{config.optimizer.name}, learning rate {config.optimizer.lr:g}",
            ),
            ("batch size", f"{config.batch_size} x {config.accumulation}"),
            ("seed", str(config.seed)),
            ("precision", str(self._task.accelerator.mixed_precision)),
            ("machine", machine),
            (
                "versions",
                f"spikesight {importlib.import_module('spikesight').__version__}, "
                f"PyTorch {torch.__version__}, "
                f"Python {platform.python_version()}",
            ),
            ("written", f"{datetime.now():%Y-%m-%d %H:%M}"),
            ("everything else", "config.yaml beside this page"),
        ]


def _split(headline: str) -> tuple[str, str]:
    """A headline such as "top-1 92.73 %" as its figure and what it is."""
    found = _HEADLINE.fullmatch(headline)
    return (found[2], found[1]) if found else (headline, "validation")


def _by_class(figures: Figures) -> list[str]:
    measure, scores = figures.by_class()
    known = {show(name): score for name, score in scores.items() if score is not None}
    if not known:
        return []
    ordered = dict(sorted(known.items(), key=lambda pair: pair[1]))
    if len(ordered) <= _BARS:
        names, values = list(ordered), [max(value, 0.0) for value in ordered.values()]
        body = bar_chart(names, [("spike", values)], "{:.1f}".format)
    else:
        rows = [(name, f"{score:.1f}") for name, score in ordered.items()]
        body = folded(f"All {len(rows)} classes", table(("class", measure), rows))
    absent = [show(name) for name, score in scores.items() if score is None]
    notes = [paragraph(f"Not in the validation images: {', '.join(absent)}.")] if absent else []
    return [section(f"By class: {measure}", body, *notes)]


def _energy_section(counted: EnergyReport | str) -> str:
    if isinstance(counted, str):
        return section("What it costs", paragraph(f"Its energy is not counted: {counted}."))
    said = (
        f"Estimated from counts on {counted.samples} validation images: a sample takes "
        f"{energy_text(counted.picojoules)}, {ratio_text(counted)} than the same layers with ReLU."
    )
    layers = folded("Layer by layer", energy_chart(counted))
    return section("What it costs", paragraph(said), layers, bullets(energy_notes(counted)))
