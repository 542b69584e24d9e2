"""SpikingJelly 2.0.0's Spikformer, in the forms in which it trains on a CPU.

Its neurons have no choice of backend any more: on a CPU they are a loop of PyTorch's operators,
which its library lets torch.compile trace. So there are three forms: eager, neurons compiled one by
one, and the whole model compiled.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

INSTALL = "pip install spikingjelly==2.0.0"


def is_installed() -> bool:
    """Whether SpikingJelly and what it needs to be imported are there."""
    return all(importlib.util.find_spec(name) for name in ("spikingjelly", "loguru"))


def spikformer(
    *, size: int, patch: int, width: int, heads: int, depth: int, num_classes: int
) -> nn.Module:
    """Its Spikformer with LIF neurons, T = 4: sigmoid surrogate of alpha 4, reset detached."""
    from spikingjelly.activation_based.model.spikformer import Spikformer

    model: nn.Module = Spikformer(
        T=4,
        img_size_h=size,
        img_size_w=size,
        patch_size=patch,
        num_classes=num_classes,
        embed_dims=width,
        num_heads=heads,
        depths=depth,
    )
    return model


def logits_of(model: nn.Module, call: Callable[[Tensor], Tensor] | None = None) -> Any:
    """Makes a model start from rest at every call and return its logits' mean over time."""
    from spikingjelly.activation_based import functional

    def logits(x: Tensor) -> Tensor:
        mean: Tensor = (call or model)(x).mean(0)
        functional.reset_net(model)
        return mean

    return logits


def compile_neurons(model: nn.Module) -> nn.Module:
    """Gives all neurons one function of SpikingJelly's, compiled, a kernel for every shape."""
    from spikingjelly.activation_based import functional, neuron

    # Eight shapes, then it would go on without compiling.
    torch._dynamo.config.recompile_limit = 64

    def from_rest(x: Tensor, tau: float, surrogate: Any, threshold: float) -> Tensor:
        rest = torch.zeros_like(x[0], dtype=torch.promote_types(x.dtype, torch.float32))
        spikes: Tensor = functional.lif_multi_step(
            x, rest, tau, True, threshold, 0.0, surrogate, True
        )[0]
        return spikes

    fire = torch.compile(from_rest, dynamic=False)
    for node in model.modules():
        if isinstance(node, neuron.LIFNode):
            assert (node.decay_input, node.v_reset, node.detach_reset) == (True, 0.0, True)
            node.__dict__["multi_step_forward"] = functools.partial(
                fire, tau=node.tau, surrogate=node.surrogate_function, threshold=node.v_threshold
            )
    return model


def lif(steps: int) -> nn.Module:
    """Its LIF neuron as its Spikformer has it, starting from rest at every call on [T, ...]."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    class Lif(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = neuron.LIFNode(
                tau=2.0, surrogate_function=surrogate.Sigmoid(), detach_reset=True, step_mode="m"
            )

        def forward(self, x: Tensor) -> Tensor:
            functional.reset_net(self.node)
            spikes: Tensor = self.node(x)
            return spikes

    return Lif()
