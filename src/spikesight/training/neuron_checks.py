"""Neurons that never fire."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spikesight.losses import spiking_neurons


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


def silence_warning(names: list[str]) -> str:
    """What to tell a person about silent neuron layers."""
    return (
        f"warning: {len(names)} neuron layer(s) never fire on the first batch: {', '.join(names)}. "
        "They pass no gradient, and the norm behind them can make gradients explode. Remedies: "
        "a lower threshold or more levels, a larger initial scale before them, "
        "clip_norm and a longer warm-up."
    )
