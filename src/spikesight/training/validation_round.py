"""One validation of a run: its weights, their moving average, and what is noticed meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.neurons import Neuron
from spikesight.neurons.recording import NeuronRecorder, firing_rate
from spikesight.training.runs.processes import total
from spikesight.training.runs.weights import Weights, Which
from spikesight.training.tasks.base import Task
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Findings


@dataclass(frozen=True)
class ValidationRound:
    """What a validation gave.

    Attributes:
        own: Figures of the weights.
        averaged: Figures of their moving average, if there is one.
        rates: Firing rate of every neuron layer, by its path; of the weights.
        findings: What was noticed of the better of the two, over all processes; None where the
            task notices nothing.
        picture: What the task drew, if anything.
    """

    own: Figures
    averaged: Figures | None
    rates: dict[str, float]
    findings: Findings | None
    picture: Path | None

    @property
    def better(self) -> tuple[Figures, Which]:
        """The better figures, and whose they are."""
        if self.averaged is not None and not self.own.better_than(self.averaged):
            return self.averaged, "ema"
        return self.own, "model"


def validate_weights(
    task: Task, weights: Weights, accelerator: Accelerator, epoch: int
) -> ValidationRound:
    """Measures a run's weights and their average; all processes call it.

    Args:
        task: The task, with its validation images.
        weights: The weights.
        accelerator: The processes.
        epoch: Number of epochs that lie behind.
    """
    averaged: Figures | None = None
    with weights.shown("model") as model:
        with LayerRates(model) as watched:
            own = task.evaluate(model)
        rates = watched.means(accelerator)
    findings = task.noticed
    if weights.averages:
        with weights.shown("ema") as model:
            averaged = task.evaluate(model)
        if not own.better_than(averaged):
            findings = task.noticed
    picture: Path | None = None
    with weights.shown("model") as model:
        if accelerator.is_main_process:
            picture = task.illustrate(model, epoch)
    findings = None if findings is None else findings.of_all(accelerator)
    return ValidationRound(own, averaged, rates, findings, picture)


class LayerRates(NeuronRecorder):
    """The mean firing rate of every neuron layer over forward passes, within a with block.

    Args:
        model: Any module.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, self._record)
        self._sums: dict[str, Tensor | float] = dict.fromkeys(self.names, 0.0)
        self._samples = dict.fromkeys(self.names, 0)

    def _record(self, name: str, neuron: Neuron, output: Tensor) -> None:
        # Stays on the device, so that nothing waits for it.
        rate = firing_rate(neuron, output.detach()).to(torch.float32)
        self._sums[name] = self._sums[name] + rate * len(output)
        self._samples[name] += len(output)

    def means(self, accelerator: Accelerator) -> dict[str, float]:
        """The rates over all processes; layers that no process called are left out."""
        if not self.names:
            return {}
        sums = [self._sums[name] for name in self.names]
        values = total(accelerator, [*sums, *(self._samples[name] for name in self.names)])
        rates, samples = values[: len(sums)], values[len(sums) :]
        pairs = zip(self.names, rates, samples, strict=True)
        return {name: rate / number for name, rate, number in pairs if number}
