"""Neurons that never fire, before the first update and in validation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spikesight.losses import spiking_neurons
from spikesight.neurons import Neuron
from spikesight.training.runs.processes import total

_SHOWN = 8


@torch.no_grad()
def find_silent_neurons(model: nn.Module, images: Tensor) -> list[str]:
    """Names of the neuron layers that emit no spike at all for a batch.

    A layer that is silent at the start passes no gradient, and a normalisation behind it divides
    by a variance of zero, which makes the first gradients explode. The forward pass uses batch
    statistics, as the first update does; running statistics are put back afterwards.

    Args:
        model: Any module.
        images: Input of the model, [B, C, H, W] or [B, T, C, H, W].

    Returns:
        Names as in `named_modules`.
    """
    neurons = spiking_neurons(model)
    fired = dict.fromkeys(neurons, False)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    was_training = model.training

    def watch(name: str, neuron: nn.Module) -> RemovableHandle:
        def note(module: nn.Module, inputs: object, output: Tensor) -> None:
            fired[name] = fired[name] or bool(output.any())

        return neuron.register_forward_hook(note)

    handles = [watch(name, neuron) for name, neuron in neurons.items()]
    try:
        model.train()(images)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return [name for name, active in fired.items() if not active]


class FiringWatch:
    """Firing of a model over many forward passes, within a with block.

    Args:
        model: Any module; neurons may be called several times in a pass.
    """

    def __init__(self, model: nn.Module) -> None:
        neurons = spiking_neurons(model)
        self.names = list(neurons)
        self._fired = torch.zeros(len(neurons), dtype=torch.bool)
        self._rates: list[tuple[int, Tensor]] = []
        self._sum = 0.0
        self._images = 0
        self._handles = [
            neuron.register_forward_hook(self._hook(index))
            for index, neuron in enumerate(neurons.values())
        ]

    def _hook(self, index: int) -> Callable[[nn.Module, object, Tensor], None]:
        def record(neuron: nn.Module, inputs: object, output: Tensor) -> None:
            assert isinstance(neuron, Neuron)
            rate = output.mean(dtype=torch.float32) / (neuron.unit * neuron.levels)
            self._rates.append((index, rate))

        return record

    def note(self, images: int) -> None:
        """Adds what has fired since the last call.

        Args:
            images: Number of images that were shown.
        """
        if self._rates:
            rates = torch.stack([rate for _, rate in self._rates]).double().cpu()
            self._sum += float(rates.mean()) * images
            indices = torch.tensor([index for index, _ in self._rates])
            self._fired[indices[rates > 0]] = True
        self._images += images
        self._rates = []

    def result(self, accelerator: Accelerator) -> tuple[float | None, tuple[str, ...]]:
        """Mean firing rate and the names of the layers that never fired, over all processes."""
        if not self.names:
            return None, ()
        fired = [float(flag) for flag in self._fired]
        summed, images, *anywhere = total(accelerator, [self._sum, self._images, *fired])
        silent = [name for name, flag in zip(self.names, anywhere, strict=True) if flag == 0]
        return summed / images if images else 0.0, tuple(silent)

    def __enter__(self) -> FiringWatch:
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()


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
