"""Whether two ways to compute agree beyond rounding: training and evaluation, one sample and many.

Rounding flips spikes in float32, so whatever differs there is computed again in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikesight.checks.copies import Copies
from spikesight.checks.inputs import Inputs, tensors_of
from spikesight.checks.lattices import own_lattice
from spikesight.checks.modes import StillTraining
from spikesight.checks.recording import Place, Recording
from spikesight.checks.report import Answer

_DIFFERENT = 1e-6
_NOT_IN_DOUBLE = (RuntimeError, TypeError, ValueError, AssertionError)


def train_and_eval(copies: Copies, inputs: Inputs, still: StillTraining) -> Answer:
    """Whether training computes something else, normalisations and random draws apart."""
    check = "train and eval"
    if still.problem:
        return Answer(check, "not examined", "", f"fails in training mode with {still.problem}")
    kind = "normalisations apart"
    if still.random:
        kind = f"normalisations and what draws random numbers apart ({len(still.random)} modules)"
    found = _compared(copies, inputs, still, double=False)
    if found is None:
        return Answer(check, "not examined", "", "training and evaluation have no output in common")
    if found.largest == 0:
        return Answer(check, "clean", "", f"equal outputs, {kind}")
    try:
        precise = _compared(copies, inputs.to(torch.float64), still, double=True)
    except _NOT_IN_DOUBLE:
        text = "outputs differ, perhaps by rounding: the module does not run in float64"
        return Answer(check, "note", found.module, text)
    assert precise is not None
    if not precise.differs:
        return Answer(check, "clean", "", f"equal outputs up to rounding, {kind}")
    if precise.at_a_tie:
        text = "rounding differs between the modes, and moves spikes of neurons that stand at a tie"
        return Answer(check, "note", precise.module, text)
    text = f"outputs differ by up to {precise.largest:.3g}, {kind}"
    return Answer(check, "FINDING", precise.module, f"{precise.place or ''}{text}")


def alone(copies: Copies, inputs: Inputs) -> Answer | None:
    """A finding if samples come out otherwise in a batch of one."""
    apart: list[float] = []
    try:
        many = _in_double(copies, inputs)
        for sample in range(min(2, inputs.size)):
            one = _in_double(copies, inputs.take([sample]))
            if many is None or one is None:
                return None  # rounding of float32 may flip spikes
            differences = [0.0]
            for path, tensor in one.items():
                other = _of_sample(many.get(path), sample, inputs)
                if other is not None and other.shape == tensor.shape:
                    largest = _largest(tensor, other)
                    differences += [largest] if largest > _DIFFERENT * _scale(other) else []
            apart.append(max(differences))
    except _NOT_IN_DOUBLE:
        return None
    if min(apart) == 0:
        return None
    text = f"a sample alone gives another output than among {inputs.size}"
    return Answer("batch", "FINDING", "", f"{text} (by up to {max(apart):.3g})")


@dataclass(frozen=True)
class _Agreement:
    """How far two computations are apart.

    Attributes:
        largest: Largest difference of an output.
        differs: Whether one is beyond rounding in float64.
        place: Where that begins.
        at_a_tie: Whether it begins with spikes, of currents that differ by rounding.
    """

    largest: float
    differs: bool
    place: Place | None
    at_a_tie: bool

    @property
    def module(self) -> str:
        return "" if self.place is None else self.place.module


def _compared(
    copies: Copies, inputs: Inputs, still: StillTraining, *, double: bool
) -> _Agreement | None:
    """Evaluation beside training; None if they have no output in common."""
    recordings, outputs = [], []
    for module in (copies.fresh(shares=not double), still.fresh(shares=not double)):
        module = module.double() if double else module
        with torch.no_grad(), Recording(module) as recording:
            outputs.append(_kept(copies.call(module, inputs)))
        recordings.append(recording)
    evaluated, trained = outputs
    common = [p for p, t in evaluated.items() if p in trained and trained[p].shape == t.shape]
    if not common:
        return None
    apart = {path: _largest(evaluated[path], trained[path]) for path in common}
    differs = any(apart[path] > _DIFFERENT * _scale(evaluated[path]) for path in common)
    place, rounded, spikes = None, False, False
    for key, tensor in recordings[0].seen.items():
        other = recordings[1].seen.get(key)
        if other is None or other.shape != tensor.shape:
            continue
        difference = _largest(tensor, other)
        if difference > _DIFFERENT * _scale(tensor):
            place = recordings[0].places[key]
            spikes = own_lattice(tensor) is not None and own_lattice(other) is not None
            break
        rounded |= difference > 0
    return _Agreement(max(apart.values()), differs, place, rounded and spikes)


def _in_double(copies: Copies, inputs: Inputs) -> dict[str, Tensor] | None:
    """What a copy in float64 gives; None if parts of it compute in another type."""
    module = copies.fresh(shares=False).double()
    with torch.no_grad(), Recording(module) as recording:
        given = copies.call(module, inputs.to(torch.float64))
    real = [tensor for tensor in recording.seen.values() if tensor.is_floating_point()]
    return _kept(given) if all(tensor.dtype == torch.float64 for tensor in real) else None


def _kept(output: Any) -> dict[str, Tensor]:
    return {path: tensor.detach().clone() for path, tensor in tensors_of(output)}


def _largest(one: Tensor, other: Tensor) -> float:
    if one.numel() == 0:
        return 0.0
    if not (one.is_floating_point() or one.is_complex()):
        one, other = one.double(), other.double()
    apart = (one - other).abs().double()
    same = (one == other) | (one.isnan() & other.isnan())
    return float(apart.masked_fill(same, 0).nan_to_num(torch.inf).max())


def _scale(tensor: Tensor) -> float:
    finite = tensor.abs().double()[tensor.isfinite()]
    return max(1e-3, float(finite.max()) if finite.numel() else 1.0)


def _of_sample(tensor: Tensor | None, sample: int, inputs: Inputs) -> Tensor | None:
    """A sample of an output [B, ...], [T, B, ...] or [T*B, ...], as a batch of one."""
    if tensor is None:
        return None
    steps, size, shape = inputs.steps, inputs.size, tuple(tensor.shape)
    if shape[:1] == (size,):
        return tensor[sample : sample + 1]
    if shape[:2] == (steps, size):
        return tensor[:, sample : sample + 1]
    if shape[:1] == (steps * size,):
        return tensor[sample::size]
    return None
