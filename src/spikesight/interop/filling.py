"""Filling a model with an authors' tensors, none of which may be left over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.tensors import can_compute
from spikesight.parts import is_own
from spikesight.registry import create_model, list_models

StateDict = Mapping[str, Tensor]
Names = Mapping[str, str]
"""Starts of official names to ours, whole words between dots."""

_SHOWN = 5
_COUNT = ".num_batches_tracked"


def within(official: str, ours: str, names: Names) -> dict[str, str]:
    """The names of a part where the whole model has it."""
    return {f"{official}.{theirs}": f"{ours}.{name}" for theirs, name in names.items()}


def rename(tensors: StateDict, names: Names) -> dict[str, Tensor]:
    """Renames tensors, each by the longest known start of its name; others keep theirs."""

    def renamed(name: str) -> str:
        start, rest = name, ""
        while start and start not in names:
            start, dot, last = start.rpartition(".")
            rest = f"{dot}{last}{rest}"
        return names[start] + rest if start else name

    return {renamed(name): tensor for name, tensor in tensors.items()}


def block_indices(tensors: StateDict, group: str) -> list[int]:
    """Which numbers follow a group's name."""
    found = {int(m[1]) for n in tensors if (m := re.match(rf"{re.escape(group)}\.(\d+)\.", n))}
    return sorted(found)


def part_of(tensors: StateDict, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start so, without that start."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def without_wrapper(tensors: StateDict) -> dict[str, Tensor]:
    """The tensors without what DataParallel puts before their names."""
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def variant_of(family: str, sizes: Mapping[str, Any], told: Iterable[str]) -> str:
    """The name of the variant that has these sizes; the family's if none of the library's has.

    Args:
        family: Its name; variants are called FAMILY_...
        sizes: Sizes by name.
        told: Which of them a state dict tells.
    """
    wanted = {name: sizes[name] for name in told}
    for name in list_models(f"{family}_*"):
        if is_own("model", name):
            continue
        with torch.device("meta"):
            has = create_model(name).resolved
        if wanted.items() <= has.items():
            return name
    return family


def load_tensors(model: nn.Module, renamed: Mapping[str, Tensor], family: str) -> None:
    """Loads renamed tensors in their floating-point type, whatever ones their shapes have.

    Args:
        model: Takes them.
        renamed: Tensors by the model's names; those of no part of it by the authors'.
        family: What messages call the model.

    Raises:
        UserError: If a tensor is missing (but for the count of a normalisation's batches), left
            over, of another size or not finite; names it.
    """
    model.to(floating_type(renamed.values()))
    expected = model.state_dict()
    # Nothing is computed from the count, which checkpoints older than PyTorch 0.4.1 do not have.
    counts = {name: t for name, t in expected.items() if name.endswith(_COUNT)}
    renamed = {**counts, **renamed}
    missing = [name for name in expected if name not in renamed]
    left_over = [name for name in renamed if name not in expected]
    if left_over:
        raise UserError(
            f"the state dict has {len(left_over)} tensor(s) that {family} as it is built here has "
            f"no place for: {_named(left_over)}; if the authors' outputs do not depend on them, "
            "remove them from the state dict, else pass the checkpoint of such a model"
        )
    if missing:
        raise UserError(
            f"the state dict does not fit {family}: {len(missing)} tensor(s) are missing "
            f"({_named(missing)}, by our names); pass a whole state dict"
        )
    fitting = {}
    for name, tensor in renamed.items():
        if _without_ones(tensor) != _without_ones(expected[name]):
            raise UserError(
                f"the state dict does not fit {family}: {name} (by our name) has the shape "
                f"{tuple(tensor.shape)} and {tuple(expected[name].shape)} is needed; pass the "
                "configuration that the checkpoint was trained with"
            )
        if not can_compute(tensor):
            raise UserError(
                f"the state dict's {name} (by our name) is not finite or all but infinite, so "
                "every output would be NaN; pass a checkpoint of an earlier epoch"
            )
        fitting[name] = tensor.reshape(expected[name].shape)
    model.load_state_dict(fitting)


def floating_type(tensors: Iterable[Tensor]) -> torch.dtype:
    """The floating-point type that holds all tensors; float32 where none is floating-point."""
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    found = kinds.pop() if kinds else torch.float32
    for kind in kinds:
        found = torch.promote_types(found, kind)
    return found


def _without_ones(tensor: Tensor) -> list[int]:
    return [side for side in tensor.shape if side != 1]


def _named(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
