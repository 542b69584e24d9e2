"""State that lives with the caller: run a model on a stream, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.neurons.neuron import Neuron
from spikesight.neurons.recording import spiking_neurons


def run_with_state(
    model: nn.Module, x: Tensor, state: dict[str, Tensor] | None = None
) -> tuple[Any, dict[str, Tensor]]:
    """Runs a model whose neurons go on from the membranes of an earlier call.

    Two calls of T time steps each, the second with the state of the first, equal one call of 2T
    time steps. Nothing stays behind on the model; detach the state to stop gradients there.

    Args:
        model: Any model with neurons.
        x: The model's input.
        state: Membranes by the neuron's name in the model, from an earlier call; None is rest.

    Returns:
        The model's output, and the state to pass to the next call.

    Raises:
        UserError: If the state names a neuron that the model lacks or lacks one that it has, or
            the model calls the same neuron twice.
    """
    neurons = spiking_neurons(model)
    if state is not None and state.keys() != neurons.keys():
        odd = sorted(state.keys() ^ neurons.keys())
        raise UserError(
            f"the state does not fit this model, first odd entry {odd[0]!r}; pass the state that "
            "run_with_state returned for this model, or None"
        )
    after: dict[str, Tensor] = {}
    try:
        for name, neuron in neurons.items():
            before = None if state is None else state[name]
            neuron.__dict__["forward"] = _carry(neuron, name, before, after)
        output = model(x)
    finally:
        for neuron in neurons.values():
            neuron.__dict__.pop("forward", None)
    return output, after


def _carry(
    neuron: Neuron, name: str, before: Tensor | None, after: dict[str, Tensor]
) -> Callable[[Tensor], Tensor]:
    def forward(current: Tensor) -> Tensor:
        if name in after:
            raise UserError(
                f"the model calls the neuron {name!r} twice, so its state is ambiguous; give each "
                "place its own neuron"
            )
        spikes, after[name] = neuron.forward_with_state(current, before)
        return spikes

    return forward
