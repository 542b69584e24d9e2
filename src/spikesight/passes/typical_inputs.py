"""Inputs at which a network's currents are of the usual size."""

from __future__ import annotations

import math
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.models import SpikingModel
from spikesight.neurons import Neuron

_USUAL = 100.0  # times the largest current of the median input


@torch.no_grad()
def typical_inputs(model: SpikingModel, batches: list[Tensor]) -> list[Tensor]:
    """The inputs without those at which some neuron's currents are far beyond its usual ones.

    Nothing bounds a ReLU, and attention multiplies three of them: a well trained network can end in
    infinity for one photo in a hundred. What suits that photo suits no other.

    Args:
        model: The model, in evaluation mode.
        batches: Normalised inputs [B, C, H, W] (frames [B, T, C, H, W]).

    Returns:
        The batches, each with what is left of it, at least half of the inputs in all.

    Raises:
        UserError: If the currents of most inputs are not finite.
    """
    kept = [torch.ones(len(batch), dtype=torch.bool) for batch in batches]
    for largest in _largest_currents(model, batches):
        usual = float(torch.cat(largest).median())
        if usual == math.inf:
            raise UserError(
                "currents of the network are not finite, so no threshold suits them; convert an "
                "earlier checkpoint"
            )
        for keep, values in zip(kept, largest, strict=True):
            keep &= values < (_USUAL * usual or math.inf)
    if 2 * sum(int(keep.sum()) for keep in kept) < sum(map(len, kept)):
        return batches
    return [
        batch[keep.to(batch.device)]
        for batch, keep in zip(batches, kept, strict=True)
        if keep.any()
    ]


def _largest_currents(model: SpikingModel, batches: list[Tensor]) -> list[list[Tensor]]:
    """The largest current of each neuron by input [B], batch by batch."""
    seen: dict[str, list[Tensor]] = {}
    example = next(model.parameters())
    size = 0

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...], __: Any) -> None:
        if len(inputs[0]) == model.steps * size:  # else it sees something other than whole inputs
            peaks = inputs[0].flatten(1).amax(1).view(model.steps, size).amax(0)
            seen.setdefault(name, []).append(peaks.nan_to_num(math.inf).clamp(min=0).cpu())

    with ExitStack() as stack:
        for name, neuron in model.named_modules():
            if isinstance(neuron, Neuron):
                stack.callback(neuron.register_forward_hook(partial(note, name)).remove)
        for batch in batches:
            size = len(batch)
            model(batch.to(example.device, example.dtype))
    return [largest for largest in seen.values() if len(largest) == len(batches)]
