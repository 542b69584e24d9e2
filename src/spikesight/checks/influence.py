"""Which outputs, at any depth, an alteration of one sample or one time step reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikesight.checks.copies import Copies
from spikesight.checks.inputs import Inputs, tensors_of
from spikesight.checks.recording import Key, Place, Recording, changed

Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class Influence:
    """What alterations along one axis of the inputs reached.

    Attributes:
        inputs: What was called before anything was altered.
        axis: "B" or "T".
        altered: The samples or steps that were altered, one at a time.
        output: What the module gave before.
        outputs: Of every tensor of it, by path, which elements each alteration changed; None for
            one that had another shape.
        inside: The same of what submodules read and gave.
        places: Where each of those was made.
    """

    inputs: Inputs
    axis: Literal["B", "T"]
    altered: Sequence[int]
    output: Any
    outputs: dict[str, list[Tensor | None]]
    inside: dict[Key, list[Tensor | None]]
    places: dict[Key, Place]


def influence(
    copies: Copies,
    build: Build,
    inputs: Inputs,
    axis: Literal["B", "T"],
    indices: Sequence[int],
    progress: Callable[[str], None],
) -> Influence:
    """Alters one sample or step after the other, in two ways, and looks what changes.

    Args:
        copies: Calls copies.
        build: Makes one, in the mode that is wanted.
        inputs: What is altered.
        axis: Along which axis.
        indices: Which samples or steps.
        progress: Is told what is done.
    """
    module = build()
    with torch.no_grad(), Recording(module) as before:
        output = copies.call(module, inputs)
    base = {path: tensor.detach().clone() for path, tensor in tensors_of(output)}
    outputs: dict[str, list[Tensor | None]] = {path: [] for path in base}
    inside: dict[Key, list[Tensor | None]] = {key: [] for key in before.seen}
    for index in indices:
        progress(f"altering {'sample' if axis == 'B' else 'step'} {index}")
        now: list[dict[str, Tensor]] = []
        after: list[dict[Key, Tensor]] = []
        for flat in (False, True):
            module = build()
            with torch.no_grad(), Recording(module) as recording:
                given = copies.call(module, inputs.alter(axis, index, flat=flat))
            now.append(dict(tensors_of(given)))
            after.append(recording.seen)
        for path, tensor in base.items():
            outputs[path].append(_ever_changed(tensor, [of.get(path) for of in now]))
        compared: dict[tuple[int, ...], Tensor | None] = {}
        for key, tensor in before.seen.items():
            others = [of.get(key) for of in after]
            ids = (id(tensor), *map(id, others))
            if ids not in compared:
                compared[ids] = _ever_changed(tensor, others)
            inside[key].append(compared[ids])
    return Influence(inputs, axis, tuple(indices), output, outputs, inside, before.places)


def _ever_changed(before: Tensor, after: Sequence[Tensor | None]) -> Tensor | None:
    """Which elements any of several alterations changed; None if one has another shape."""
    changes = [None if other is None else changed(before, other) for other in after]
    known = [change for change in changes if change is not None]
    return torch.stack(known).any(0) if len(known) == len(changes) else None


@dataclass(frozen=True)
class Leak:
    """Samples, or steps in the wrong direction, that reach each other.

    Attributes:
        place: Where it happens first; None if no submodule shows it.
        text: What was seen.
        shows: Whether it reaches the output on these inputs.
    """

    place: Place | None
    text: str
    shows: bool


def batch_leak(seen: Influence) -> Leak | None:
    """Whether what belongs to one sample depends on another.

    Two samples that are kept apart never change the same element, however the axes are folded: so
    the first tensor with an element that two alterations changed is where they meet.
    """
    size = seen.inputs.size
    place = None
    for key, changes in seen.inside.items():
        if _carries(changes, size) and _meets(changes):
            place = seen.places[key]
            break
    per_sample = isinstance(seen.output, list | tuple) and len(seen.output) == size
    for path, changes in seen.outputs.items():
        owner = _owner(path) if per_sample and size > 1 else None
        if owner is not None and not _carries(changes, size):
            others = [
                sample
                for sample, change in zip(seen.altered, changes, strict=True)
                if sample != owner and (change is None or change.any())
            ]
            if others:
                text = f"output {owner} of the list changes when sample {others[0]} is altered"
                return Leak(place, text, shows=True)
        elif _carries(changes, size) and _meets(changes):
            return Leak(place, _described(seen, changes), shows=True)
    if place is None:
        return None
    return Leak(place, "samples meet inside, though these outputs do not show it", shows=False)


def has_samples(seen: Influence) -> bool:
    """Whether any output has an axis of samples, or there is one output per sample."""
    if isinstance(seen.output, list | tuple) and len(seen.output) == seen.inputs.size:
        return True
    return any(_carries(changes, seen.inputs.size) for changes in seen.outputs.values())


@dataclass(frozen=True)
class TimeUse:
    """How time steps reach each other.

    Attributes:
        has_steps: Whether an output has an axis of steps.
        leak: A step that depends on later ones.
        carries: Whether a step depends on earlier ones.
    """

    has_steps: bool
    leak: Leak | None
    carries: bool


def time_use(seen: Influence) -> TimeUse:
    """Whether steps depend on later ones, in outputs that have steps."""
    has_steps = carries = False
    text = ""
    for changes in seen.outputs.values():
        views = _by_step(changes, seen.inputs)
        if not views:
            continue
        has_steps = True
        reached = [_reached(view, seen.altered) for view in views]
        carries |= any(later for _, later in reached)
        if all(early is not None for early, _ in reached):
            altered, step = next(early for early, _ in reached if early is not None)
            text = f"step {step} of the output changes when step {altered} is altered"
    if not text:
        return TimeUse(has_steps, None, carries)
    place = None
    for key, changes in seen.inside.items():
        views = _by_step(changes, seen.inputs)
        if views and all(_reached(view, seen.altered)[0] is not None for view in views):
            place = seen.places[key]
            break
    return TimeUse(has_steps, Leak(place, text, shows=True), carries)


def _meets(changes: Sequence[Tensor | None]) -> bool:
    """Whether an element was changed by two alterations."""
    known = [change for change in changes if change is not None]
    return len(known) > 1 and bool((torch.stack(known).sum(0) > 1).any())


def _carries(changes: Sequence[Tensor | None], size: int) -> bool:
    known = next((change for change in changes if change is not None), None)
    return known is not None and any(side >= size and side % size == 0 for side in known.shape)


def _owner(path: str) -> int | None:
    """The sample that an output of a list belongs to."""
    number = path.removeprefix("[").partition("]")[0]
    return int(number) if path.startswith("[") and number.isdigit() else None


def _described(seen: Influence, changes: Sequence[Tensor | None]) -> str:
    """Which sample changed which."""
    size, steps = seen.inputs.size, seen.inputs.steps
    for sample, change in zip(seen.altered, changes, strict=True):
        if change is None:
            continue
        shape = tuple(change.shape)
        if shape[:1] == (size,):
            apart = change
        elif shape[:2] == (steps, size):
            apart = change.transpose(0, 1)
        elif shape[:1] == (steps * size,):
            apart = change.unflatten(0, (steps, size)).transpose(0, 1)
        else:
            continue
        touched = [i for i in range(size) if i != sample and bool(apart[i].any())]
        if touched:
            others = " and ".join(map(str, touched))
            return f"altering sample {sample} of {size} changes the output of sample {others}"
    meeting = torch.stack([change for change in changes if change is not None]).sum(0) > 1
    return f"{int(meeting.sum())} of {meeting.numel()} outputs depend on two samples"


def _by_step(changes: Sequence[Tensor | None], inputs: Inputs) -> list[list[Tensor | None]]:
    """The changes with steps in front, once for every way in which the axes may be meant."""
    steps, size = inputs.steps, inputs.size
    shape = next((tuple(change.shape) for change in changes if change is not None), ())

    def all_of(view: Callable[[Tensor], Tensor]) -> list[Tensor | None]:
        return [None if change is None else view(change) for change in changes]

    if shape[:2] == (steps, size):
        return [all_of(lambda c: c)]
    if shape[:2] == (size, steps):
        return [all_of(lambda c: c.transpose(0, 1))]
    if shape[:1] == (steps * size,):
        time_first = all_of(lambda c: c.unflatten(0, (steps, size)))
        batch_first = all_of(lambda c: c.unflatten(0, (size, steps)).transpose(0, 1))
        return [time_first] if inputs.axes == "folded" else [time_first, batch_first]
    return []


def _reached(
    view: Sequence[Tensor | None], altered: Sequence[int]
) -> tuple[tuple[int, int] | None, bool]:
    """An altered step and an earlier one that it changed, and whether it changed later ones."""
    early, later = None, False
    for index, change in zip(altered, view, strict=True):
        if change is None:
            continue
        touched = [step for step in range(len(change)) if bool(change[step].any())]
        later |= any(step > index for step in touched)
        if early is None and touched and touched[0] < index:
            early = (index, touched[0])
    return early, later
