"""Whether the same input gives the same output: random draws, and what a call leaves behind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikesight.checks.copies import Copies, resettable, states_of
from spikesight.checks.inputs import Inputs, tensors_of
from spikesight.checks.recording import (
    ITSELF,
    Place,
    Recording,
    changed,
    first_difference,
)
from spikesight.checks.report import Answer


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
    module, other = copies.fresh(), inputs.alter("B", 0)
    with torch.no_grad():
        try:
            copies.call(copies.fresh(), other)
        except Exception:
            other = inputs  # it takes no altered ones
        with Recording(module) as first:
            before = _kept(copies.call(module, inputs))
        left = states_of(module)
        try:
            copies.call(module, other)
            copies.call(module, inputs)
            with Recording(module) as last:
                after = _kept(copies.call(module, inputs))
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            return Answer("state", "FINDING", "", f"a later call fails with {said}")
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


def _kept(output: Any) -> dict[str, Tensor]:
    return {path: tensor.detach().clone() for path, tensor in tensors_of(output)}


def _differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> str | None:
    """The first output that differs."""
    for path, tensor in one.items():
        where = changed(tensor, other[path]) if path in other else None
        if where is None or where.any():
            return path or "output"
    return None


def _moved(before: Tensor | None, after: Tensor) -> bool:
    if before is None:
        return True
    where = changed(before, after)
    return where is None or bool(where.any())


def _module(place: Place | None) -> str:
    return "" if place is None else place.module


def _where(place: Place | None) -> str:
    return "" if place is None else str(place)


def _parent(name: str) -> str:
    return name.rpartition(".")[0] or ITSELF
