"""Neurons as the papers' repositories write them: what a researcher's eager PyTorch runs today.

A loop over time, a surrogate gradient as an autograd.Function, and a result for every operation.
The integer neuron clips and rounds, and its gradient is masked in place. Same equations and same
gradients as this library's neurons, which benchmarks/train.py checks in float64.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.neurons import Neuron


class RoundClip(torch.autograd.Function):
    """round(clip(x, 0, D)); the gradient passes where x was within [0, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.levels = levels
        return x.clamp(0, levels).round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        grad = grad.clone()
        grad[x < 0] = 0
        grad[x > ctx.levels] = 0
        return grad, None


class Heaviside(torch.autograd.Function):
    """A binary spike with the sigmoid surrogate, one time step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(ctx.alpha * x)
        return grad * ctx.alpha * s * (1 - s), None


class AuthorsNeuron(nn.Module):
    """A LIF or integer neuron in the authors' style, with the numbers of one of ours.

    Args:
        neuron: The neuron whose equations it has.
    """

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        assert neuron.dynamics is not None, f"{type(neuron).__name__} has equations of its own"
        self.dynamics = neuron.dynamics
        self.surrogate = neuron.rule.surrogate
        self.detach_reset = neuron.rule.detach_reset

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of currents [T*B, ...], time-major."""
        steps, unit = self.dynamics.steps, self.dynamics.unit
        if steps == 1 and self.dynamics.levels > 1:
            spikes = self._fire(x)
        else:
            current = x.view(steps, -1, *x.shape[1:])
            membrane = torch.zeros_like(current[0])
            fired = []
            for t in range(steps):
                membrane = self._charge(current[t], membrane)
                spike = self._fire(membrane)
                fired.append(spike)
                membrane = self._reset(membrane, spike.detach() if self.detach_reset else spike)
            spikes = torch.stack(fired).flatten(0, 1)
        return spikes if unit == 1.0 else spikes * unit

    def _charge(self, current: Tensor, membrane: Tensor) -> Tensor:
        retain = self.dynamics.retain
        if self.dynamics.decay_input:
            return membrane + (current - membrane) * (1 - retain)
        return retain * membrane + current

    def _fire(self, potential: Tensor) -> Tensor:
        threshold = self.dynamics.threshold
        spikes: Tensor
        if self.dynamics.offset == 0.5:
            scaled = potential if threshold == 1.0 else potential / threshold
            spikes = RoundClip.apply(scaled, self.dynamics.levels)
        else:
            spikes = Heaviside.apply(potential - threshold, self.surrogate.parameter)
        return spikes

    def _reset(self, potential: Tensor, spikes: Tensor) -> Tensor:
        if self.dynamics.reset == "hard":
            return potential * (1 - spikes)
        return potential - spikes * self.dynamics.threshold


def in_authors_style(model: nn.Module) -> nn.Module:
    """A copy of a model, of the same graph and weights, with all neurons in the authors' style."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Neuron):
                setattr(parent, name, AuthorsNeuron(child))
    return model
