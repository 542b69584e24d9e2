"""Neurons that never fire, before the first update and in validation."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.neurons import Neuron
from spikesight.neurons.recording import NeuronRecorder, firing_rate
from spikesight.training.runs.processes import total

_SHOWN = 8


@torch.no_grad()
def find_silent_neurons(model: nn.Module, images: Tensor, *told: Any) -> list[str]:
    """Names of the neuron layers that emit no spike at all for a batch.

    A layer that is silent at the start passes no gradient, and a normalisation behind it divides
    by a variance of zero, which makes the first gradients explode. The forward pass uses batch
    statistics, as the first update does; running statistics are put back afterwards.

    Args:
        model: Any module.
        images: Input of the model, [B, C, H, W] or [B, T, C, H, W].
        *told: What else it is told in training.

    Returns:
        Names as in `named_modules`.
    """
    fired: dict[str, bool] = {}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    was_training = model.training

    def note(name: str, _: Neuron, output: Tensor) -> None:
        fired[name] = fired.get(name, False) or bool(output.any())

    with NeuronRecorder(model, note) as recorder:
        try:
            model.train()(images, *told)
        finally:
            model.train(was_training)
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
    return [name for name in recorder.names if not fired.get(name)]


class FiringWatch(NeuronRecorder):
    """Firing of a model over many forward passes, within a with block.

    Args:
        model: Any module; neurons may be called several times in a pass.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, self._record)
        self._fired = dict.fromkeys(self.names, False)
        self._rates: list[tuple[str, Tensor]] = []
        self._sum = 0.0
        self._images = 0

    def _record(self, name: str, neuron: Neuron, output: Tensor) -> None:
        self._rates.append((name, firing_rate(neuron, output)))

    def note(self, images: int) -> None:
        """Adds what has fired since the last call."""
        if self._rates:
            rates = torch.stack([rate for _, rate in self._rates]).double().cpu()
            self._sum += float(rates.mean()) * images
            for (name, _), rate in zip(self._rates, rates.tolist(), strict=True):
                self._fired[name] |= rate > 0
        self._images += images
        self._rates = []

    def result(self, accelerator: Accelerator) -> tuple[float | None, tuple[str, ...]]:
        """Mean firing rate and the names of the layers that never fired, over all processes."""
        if not self.names:
            return None, ()
        fired = [float(flag) for flag in self._fired.values()]
        summed, images, *anywhere = total(accelerator, [self._sum, self._images, *fired])
        silent = [name for name, flag in zip(self.names, anywhere, strict=True) if flag == 0]
        return summed / images if images else 0.0, tuple(silent)


def silence_warning(names: list[str]) -> str:
    """What to tell a person about silent neuron layers."""
    return (
        f"warning: {len(names)} neuron layer(s) never fire on the first batch: {', '.join(names)}. "
        "They pass no gradient, and the norm behind them can make gradients explode. Remedies: "
        "a lower threshold or more levels, a larger initial scale before them, "
        "clip_norm and a longer warm-up."
    )


def silence_report(names: tuple[str, ...]) -> str:
    """What to tell a person about neuron layers that were silent in validation."""
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{len(names)} neuron layer(s) never fired in validation: {shown}"
