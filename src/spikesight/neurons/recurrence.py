"""The neuron's forward and backward loops over time, on plain tensors.

The backward loop computes the potentials a second time instead of keeping them, so training
stores nothing but the neuron's input. Both loops are what the blocked and the compiled form run.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from spikesight.neurons.dynamics import Dynamics, charge_with, count, reset
from spikesight.neurons.surrogate import Surrogate, surrogate_from


@dataclass(frozen=True)
class Rule:
    """A neuron's equations together with how gradients pass through them.

    Attributes:
        dynamics: The forward equations.
        surrogate: The derivative of the count.
        detach_reset: Whether the reset passes no gradient to the counts.
        code: All of this as a string, for operators that take only plain values.
    """

    dynamics: Dynamics
    surrogate: Surrogate
    detach_reset: bool = False
    code: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = (asdict(self.dynamics), self.surrogate.name, self.surrogate.parameter)
        object.__setattr__(self, "code", json.dumps([*parts, self.detach_reset]))

    @staticmethod
    @functools.lru_cache(maxsize=1024)
    def from_code(code: str) -> Rule:
        """Rebuilds a rule from its `code`."""
        dynamics, name, parameter, detach_reset = json.loads(code)
        return Rule(Dynamics(**dynamics), surrogate_from(name, parameter), detach_reset)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of membranes for inputs of a dtype: float32 for the half precisions."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def run_forward(
    current: Sequence[Tensor],
    membrane: Tensor | None,
    retain: float | Tensor,
    dynamics: Dynamics,
    want_state: bool = True,
) -> tuple[list[Tensor], Tensor | None]:
    """Runs the neuron over time.

    Args:
        current: T tensors of shape [...].
        membrane: Shape [...] in the compute dtype, or None for rest.
        retain: Share of the membrane kept per time step.
        dynamics: The neuron's equations, `retain` excepted.
        want_state: Whether the last membrane is asked for.

    Returns:
        T outputs ``unit * n`` in the current's dtype, and the last membrane in the compute dtype
        if asked for.
    """
    given = current[0].dtype
    dtype = compute_dtype(given)
    last = len(current) - 1
    state = membrane
    spikes = []
    for step, current_t in enumerate(current):
        potential = charge_with(_cast(current_t, dtype), state, retain, dynamics.decay_input)
        counts = count(potential, dynamics)
        if step < last or want_state:
            state = reset(potential, counts, dynamics)
        if dynamics.unit != 1.0:
            counts = counts * dynamics.unit
        spikes.append(_cast(counts, given))
    return spikes, state if want_state else None


def run_backward(
    grad_spikes: Tensor,
    grad_membrane: Tensor | None,
    current: Tensor,
    membrane: Tensor | None,
    retain: float | Tensor,
    rule: Rule,
) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
    """Propagates gradients back through time.

    Args:
        grad_spikes: Gradient of the outputs, shape [T, ...].
        grad_membrane: Gradient of the last membrane, shape [...], or None.
        current: The forward's input, shape [T, ...].
        membrane: The forward's first membrane, or None for rest.
        retain: Share of the membrane kept per time step; a tensor if it is learned.
        rule: The neuron.

    Returns:
        T gradients of the current in its dtype, the gradient of the first membrane (None from
        rest), and that of `retain` (None unless it is a tensor).
    """
    dynamics = rule.dynamics
    dtype = compute_dtype(current.dtype)
    last = current.shape[0] - 1
    states, potentials, all_counts = [membrane], [], []
    for step, current_t in enumerate(current.unbind(0)):
        potential = charge_with(_cast(current_t, dtype), states[-1], retain, dynamics.decay_input)
        potentials.append(potential)
        if step < last or grad_membrane is not None:
            all_counts.append(count(potential, dynamics))
            states.append(reset(potential, all_counts[-1], dynamics))

    grad_current: list[Tensor] = []
    grad_retain = None
    grad_state = grad_membrane
    for step in reversed(range(last + 1)):
        potential = potentials[step]
        grad_counts = _cast(grad_spikes[step], dtype)
        if dynamics.unit != 1.0:
            grad_counts = grad_counts * dynamics.unit
        if grad_state is not None and not rule.detach_reset:
            removed = potential if dynamics.reset == "hard" else dynamics.threshold
            grad_counts = grad_counts - grad_state * removed
        grad_potential = grad_counts * rule.surrogate.slope(potential, dynamics)
        if grad_state is not None:
            if dynamics.reset == "hard":
                grad_state = grad_state * (1 - all_counts[step])
            grad_potential = grad_potential + grad_state
        if isinstance(retain, Tensor):
            part = _gradient_of_retain(grad_potential, current[step], states[step], rule, retain)
            if part is not None:
                grad_retain = part if grad_retain is None else grad_retain + part
        grad_state = grad_potential * retain if step > 0 or membrane is not None else None
        if dynamics.decay_input:
            grad_potential = grad_potential * (1 - retain)
        grad_current.append(_cast(grad_potential, current.dtype))
    if isinstance(retain, Tensor) and grad_retain is None:
        grad_retain = torch.zeros_like(retain)
    return grad_current[::-1], grad_state, grad_retain


def _gradient_of_retain(
    grad_potential: Tensor, current_t: Tensor, state: Tensor | None, rule: Rule, retain: Tensor
) -> Tensor | None:
    leak = state
    if rule.dynamics.decay_input:
        arrived = _cast(current_t, grad_potential.dtype)
        leak = -arrived if state is None else state - arrived
    if leak is None:
        return None
    return (grad_potential * leak).sum(dtype=retain.dtype)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    # .to() would leave an operator behind in exported graphs even where it does nothing.
    return tensor if tensor.dtype == dtype else tensor.to(dtype)
