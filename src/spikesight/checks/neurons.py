"""Spiking neurons of any library, known by what they do; how they fire."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from spikesight.checks.copies import Copies
from spikesight.checks.inputs import Inputs
from spikesight.checks.lattices import Lattice, own_lattice
from spikesight.checks.recording import ITSELF, watched
from spikesight.checks.report import Answer
from spikesight.checks.synapses import SynapseCalls

_STRENGTHS = (4.0, 32.0)


def find_neurons(copies: Copies, inputs: Inputs) -> dict[str, Lattice]:
    """The spiking neurons that a call runs, and what they emit.

    A module is a neuron if it turns real currents of several strengths into small whole numbers of
    a unit, none below 0 and not all 0, in the shape that it was given, and holds no synapse. It may
    take and give states behind them. Of modules within each other the outermost counts.

    Args:
        copies: Makes a copy to try modules on.
        inputs: A call.
    """
    module = copies.fresh()
    calls = _Calls(module)
    with torch.no_grad(), calls:
        copies.call(module, inputs)
    probe = copies.fresh()
    parts = dict(watched(probe))
    found: dict[str, Lattice] = {}
    for name, current in calls.one_to_one.items():
        if ITSELF in found or any(name.startswith(f"{outer}.") for outer in found):
            continue
        emitted = _emitted(parts[name], current)
        if emitted is not None:
            found[name] = emitted
    return found


@dataclass(frozen=True)
class _Call:
    """How a module was called: its current, of which the shape is kept, and what else it got."""

    current: Tensor
    others: tuple[Any, ...]
    named: dict[str, Any]


def _emitted(part: nn.Module, call: _Call) -> Lattice | None:
    """What a module makes of real currents, if it is spikes or counts."""
    largest: Lattice | None = None
    for strength in _STRENGTHS:
        generator = torch.Generator().manual_seed(0)
        real = torch.randn(call.current.shape, generator=generator) * strength
        try:
            tried, others, named = copy.deepcopy((part, call.others, call.named))
            with torch.no_grad(), SynapseCalls(tried) as synapses:
                given = _spikes(tried(real.to(call.current), *others, **named))
        except Exception:
            return None
        if synapses.calls or given is None or given.shape != real.shape:
            return None
        lattice = own_lattice(given) if given.is_floating_point() else None
        if lattice is None or lattice.signed:
            return None
        if largest is None or lattice.most > largest.most:
            largest = lattice
    return largest if largest is not None and largest.most > 0 else None


def _spikes(output: Any) -> Tensor | None:
    """What may be the spikes of an output: the tensor, or the first of a tuple with states."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None


class _Calls:
    """How modules were called that give a tensor of the shape of the first that they get."""

    def __init__(self, module: nn.Module) -> None:
        self._called: dict[str, _Call] = {}
        parts = dict(watched(module))
        self._names = list(parts)
        self._handles = [
            part.register_forward_hook(partial(self._note, name), with_kwargs=True)
            for name, part in parts.items()
        ]

    @property
    def one_to_one(self) -> dict[str, _Call]:
        """The first call of each, the outermost first."""
        return {name: self._called[name] for name in self._names if name in self._called}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        given = _spikes(output)
        if given is None or not args or not isinstance(args[0], Tensor):
            return
        current = args[0]
        if current.shape == given.shape and current.is_floating_point() and current.numel() > 1:
            self._called.setdefault(name, _Call(torch.empty_like(current), args[1:], kwargs))


@dataclass
class _Fired:
    """What one layer emitted so far."""

    values: int = 0
    spikes: float = 0.0
    nonzero: int = 0
    full: int = 0
    channels: Tensor | None = None


class Firing:
    """Counts what neurons emit until its with block ends.

    Args:
        module: What is going to be called.
        neurons: Its neurons.
        inputs: The call, whose sizes say where channels are.
    """

    def __init__(self, module: nn.Module, neurons: dict[str, Lattice], inputs: Inputs) -> None:
        self._neurons = neurons
        self._inputs = inputs
        self._fired: dict[str, _Fired] = {}
        parts = dict(watched(module))
        self._handles = [
            parts[name].register_forward_hook(partial(self._note, name)) for name in neurons
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        given = _spikes(output)
        if given is None or given.numel() == 0:
            return
        neuron, fired = self._neurons[name], self._fired.setdefault(name, _Fired())
        counts = given.detach() / neuron.unit
        fired.values += counts.numel()
        fired.spikes += float(counts.double().sum())
        fired.nonzero += int((counts.abs() > 0.5).sum())
        fired.full += int((counts > neuron.most - 0.5).sum())
        axis = self._channel_axis(tuple(counts.shape))
        if axis is not None:
            others = [a for a in range(counts.ndim) if a != axis]
            spiked = (counts.abs() > 0.5).sum(others) if others else (counts.abs() > 0.5).long()
            if fired.channels is None or fired.channels.shape == spiked.shape:
                fired.channels = spiked if fired.channels is None else fired.channels + spiked

    def _channel_axis(self, shape: tuple[int, ...]) -> int | None:
        """Where channels are in [T*B, C, ...], [B, C, ...], [T, B, C, ...] or [B, T, C, ...]."""
        steps, size = self._inputs.steps, self._inputs.size
        if len(shape) < 2 or (shape[0] % size and shape[1] != size):
            return None
        has_two = steps > 1 and shape[:2] in ((steps, size), (size, steps))
        if has_two or (shape[0] != size and shape[1] == size):
            return 2 if len(shape) > 2 else None
        return None if shape[:2] == (size, size) else 1

    def answers(self) -> list[Answer]:
        """Silent and saturated layers as findings, and one row of all."""
        if not self._fired:
            text = "no module turns real currents into spikes: nothing here is a spiking neuron"
            return [Answer("firing", "note", "", text)]
        answers, some = [], []
        for name, fired in self._fired.items():
            if fired.nonzero == 0:
                text = "silent: not one spike on these inputs; raise its currents, or lower its "
                answers.append(Answer("firing", "FINDING", name, f"{text}threshold"))
            elif fired.full == fired.values:
                text = "saturated: every neuron gives its most at every step on these inputs"
                answers.append(Answer("firing", "FINDING", name, text))
            elif fired.channels is not None and (fired.channels == 0).any():
                silent = int((fired.channels == 0).sum())
                some.append((silent / len(fired.channels), silent, len(fired.channels), name))
        if some:
            _, silent, channels, name = max(some)
            text = f"{silent} of {channels} channels never fire here, the most of {len(some)} such "
            answers.append(Answer("firing", "note", name, f"{text}layers"))
        rates = {
            name: fired.spikes / fired.values / self._neurons[name].most
            for name, fired in self._fired.items()
        }
        least, most = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
        text = (
            f"layers of neurons: {len(rates)}, firing at rates from {rates[least]:.3f} ({least}) "
            f"to {rates[most]:.3f} ({most})"
        )
        return [*answers, Answer("firing", "note" if answers else "clean", "", text)]
