"""Whether the same input gives the same output: state, random draws, training and evaluation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikesight.checks.copies import Copies, resettable, states_of
from spikesight.checks.inputs import Inputs, tensors_of
from spikesight.checks.modes import StillTraining
from spikesight.checks.recording import (
    ITSELF,
    Place,
    Recording,
    changed,
    first_difference,
)
from spikesight.checks.report import Answer

_ROUNDING = 1e-10
_DIFFERENT = 1e-6


def randomness(copies: Copies, inputs: Inputs) -> Answer:
    """Whether evaluation draws random numbers, or is not reproducible at all."""
    recordings, outputs = [], []
    for seed in (0, 0, 1):
        module = copies.fresh()
        with torch.no_grad(), Recording(module) as recording:
            outputs.append(_kept(copies.call(module, inputs, seed)))
        recordings.append(recording)
    for other, text in (
        (
            1,
            "the same input, state and seed gave another output; what follows may be that",
        ),
        (2, "the output in evaluation mode depends on the random generator"),
    ):
        place = first_difference(recordings[0], recordings[other])
        if _differ(outputs[0], outputs[other]) is not None:
            return Answer("random", "FINDING", _module(place), f"{_where(place)}{text}")
        if place is not None:
            text = "draws random numbers in evaluation mode, which these outputs do not show"
            return Answer("random", "note", _module(place), text)
    return Answer("random", "clean", "", "the same input and state give the same output")


def state(copies: Copies, inputs: Inputs) -> Answer:
    """Whether a call leaves something behind that changes later calls in evaluation mode."""
    module = copies.fresh()
    other = inputs.alter("B", 0)
    with torch.no_grad():
        with Recording(module) as first:
            before = _kept(copies.call(module, inputs))
        left = states_of(module)
        copies.call(module, other)
        copies.call(module, inputs)
        with Recording(module) as last:
            after = _kept(copies.call(module, inputs))
        left_later = states_of(module)
    place = first_difference(first, last)
    difference = _differ(before, after)
    if difference is None and place is None:
        grown = next((n for n, v in left_later.items() if _moved(left.get(n), v)), None)
        if grown is not None:
            return Answer("state", "note", _parent(grown), f"{grown} changes from call to call")
        return Answer("state", "clean", "", "the same input gives the same output in later calls")
    text = "the same input gives another output in a later call"
    if difference is None:
        text = "reads or gives something else in a later call, which these outputs do not show"
    name = _module(place)
    if resettable(module, name):
        text += "; call its reset before every input (functional.reset_net), or pass reset=True"
    else:
        text += "; start every call from rest"
    return Answer("state", "FINDING", name, f"{_where(place)}{text}")


def train_and_eval(copies: Copies, inputs: Inputs, still: StillTraining) -> Answer:
    """Whether training computes something else, normalisations and random draws apart."""
    check = "train and eval"
    if still.problem:
        return Answer(check, "not examined", "", f"fails in training mode with {still.problem}")
    kind = "normalisations apart"
    if still.random:
        kind = f"normalisations and what draws random numbers apart ({len(still.random)} modules)"
    exact = _compared(copies, inputs, still, double=False)
    if exact == "equal":
        return Answer(check, "clean", "", f"equal outputs, {kind}")
    found = exact
    try:
        found = _compared(copies, inputs.to(torch.float64), still, double=True)
    except (RuntimeError, TypeError, ValueError):
        if not isinstance(exact, _Apart) or not exact.sure:
            text = "outputs differ in rounding or more, and the module cannot run in float64"
            return Answer(check, "note", "", text)
    if found == "equal":
        return Answer(check, "clean", "", f"equal outputs up to rounding, {kind}")
    if found == "none in common":
        return Answer(check, "not examined", "", "training and evaluation have no output in common")
    assert isinstance(found, _Apart)
    if not found.sure:
        return Answer(check, "note", _module(found.place), "outputs differ, perhaps by rounding")
    text = f"outputs differ by up to {found.largest:.3g}, {kind}"
    return Answer(check, "FINDING", _module(found.place), f"{_where(found.place)}{text}")


def alone(copies: Copies, inputs: Inputs) -> Answer | None:
    """A finding if a sample in a batch of one comes out otherwise, beyond rounding in float64."""
    try:
        outputs = []
        for samples in ([0], list(range(inputs.size))):
            module = copies.fresh(shares=False).double()
            with torch.no_grad(), Recording(module) as recording:
                given = copies.call(module, inputs.take(samples).to(torch.float64))
            real = [t for t in recording.seen.values() if t.is_floating_point()]
            if any(tensor.dtype != torch.float64 for tensor in real):
                return None  # rounding may flip spikes
            outputs.append(_kept(given))
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return None
    one, all_ = outputs
    steps = inputs.steps
    for path, tensor in one.items():
        if path not in all_:
            continue
        other = _first_sample(all_[path], inputs.size, steps)
        if other is None or other.shape != tensor.shape:
            continue
        if (largest := _largest(tensor, other)) > _DIFFERENT * _scale(other):
            text = f"sample 0 alone gives another output than among {inputs.size}"
            return Answer("batch", "FINDING", "", f"{text} (by up to {largest:.3g})")
    return None


class _Apart:
    """A difference between training and evaluation: where, how much, and if beyond rounding."""

    def __init__(self, place: Place | None, largest: float, sure: bool) -> None:
        self.place = place
        self.largest = largest
        self.sure = sure


def _compared(
    copies: Copies, inputs: Inputs, still: StillTraining, *, double: bool
) -> _Apart | str:
    """Evaluation beside training: "equal", "none in common", or how they are apart."""
    recordings, outputs = [], []
    for module in (copies.fresh(shares=not double), still.fresh(shares=not double)):
        module = module.double() if double else module
        with torch.no_grad(), Recording(module) as recording:
            outputs.append(_kept(copies.call(module, inputs)))
        recordings.append(recording)
    evaluated, trained = outputs
    common = [p for p, t in evaluated.items() if p in trained and trained[p].shape == t.shape]
    if not common:
        return "none in common"
    largest = max(_largest(evaluated[path], trained[path]) for path in common)
    if largest == 0 or (
        double
        and all(
            _largest(evaluated[path], trained[path]) <= _DIFFERENT * _scale(evaluated[path])
            for path in common
        )
    ):
        return "equal"
    place, rounded = None, False
    for key, tensor in recordings[0].seen.items():
        other = recordings[1].seen.get(key)
        if other is None or other.shape != tensor.shape:
            continue
        apart, scale = _largest(tensor, other), _scale(tensor)
        if apart > (_DIFFERENT if double else 0.1) * scale:
            place = recordings[0].places[key]
            break
        rounded |= apart > (_ROUNDING if double else 0) * scale
    return _Apart(place, largest, not rounded)


def _kept(output: Any) -> dict[str, Tensor]:
    return {path: tensor.detach().clone() for path, tensor in tensors_of(output)}


def _differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> str | None:
    """The first output that differs."""
    for path, tensor in one.items():
        where = changed(tensor, other[path]) if path in other else None
        if where is None or where.any():
            return path or "output"
    return None


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


def _moved(before: Tensor | None, after: Tensor) -> bool:
    if before is None:
        return True
    where = changed(before, after)
    return where is None or bool(where.any())


def _first_sample(tensor: Tensor, size: int, steps: int) -> Tensor | None:
    """Sample 0 of an output [B, ...], [T, B, ...] or [T*B, ...], as a batch of one."""
    shape = tuple(tensor.shape)
    if shape[:1] == (size,):
        return tensor[:1]
    if shape[:2] == (steps, size):
        return tensor[:, :1]
    if shape[:1] == (steps * size,):
        steps_apart: Tensor = tensor.unflatten(0, (steps, size))
        return steps_apart[:, 0]
    return None


def _module(place: Place | None) -> str:
    return "" if place is None else place.module


def _where(place: Place | None) -> str:
    return "" if place is None else str(place)


def _parent(name: str) -> str:
    return name.rpartition(".")[0] or ITSELF
