"""What every submodule read and gave during one call, in the order of execution."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from spikesight.checks.inputs import tensors_of

ITSELF = "(itself)"


def watched(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Path and module of all that hooks can watch, the module itself first."""
    for name, part in module.named_modules():
        if not isinstance(part, torch.jit.ScriptModule):
            yield name or ITSELF, part


@dataclass(frozen=True)
class Place:
    """Where a tensor was seen first.

    Attributes:
        module: The module whose code made it: the one that gave it, or the one whose forward hands
            it to a submodule.
        before: That submodule.
    """

    module: str
    before: str = ""

    def __str__(self) -> str:
        return f"in its forward, before it calls {self.before}: " if self.before else ""


Key = tuple[str, str, int, str]
"""Module, whether it read or gave, which of its calls, and the path within what it gave."""


class Recording:
    """Watches a module's submodules until its with block ends.

    A tensor that is handed on unchanged is copied once. Keys are the same in every call with the
    same flow, so that two recordings compare.

    Args:
        module: What is going to be called.

    Attributes:
        seen: Copies of the tensors, first to last.
        places: Where each was made.
    """

    def __init__(self, module: nn.Module) -> None:
        self.seen: dict[Key, Tensor] = {}
        self.places: dict[Key, Place] = {}
        self._stack: list[str] = []
        self._calls: Counter[str] = Counter()
        self._known: dict[int, tuple[weakref.ref[Tensor], int, Tensor]] = {}
        self._handles = []
        for name, part in watched(module):
            reads = partial(self._reads, name)
            gives = partial(self._gives, name)
            self._handles.append(part.register_forward_pre_hook(reads, with_kwargs=True))
            self._handles.append(part.register_forward_hook(gives, with_kwargs=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._known.clear()

    @torch.no_grad()
    def _reads(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        place = Place(self._stack[-1], name) if self._stack else Place(name)
        self._keep(name, "reads", (args, kwargs), place)
        self._stack.append(name)

    @torch.no_grad()
    def _gives(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        while self._stack and self._stack.pop() != name:
            pass  # a forward that was left by an exception
        self._keep(name, "gives", output, Place(name))
        self._calls[name] += 1

    def _keep(self, name: str, way: str, value: Any, place: Place) -> None:
        for path, tensor in tensors_of(value):
            if not isinstance(tensor, nn.Parameter):
                key = (name, way, self._calls[name], path)
                self.seen[key] = self._copied(tensor)
                self.places[key] = place

    def _copied(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor; the former one if it has not been written to since."""
        version = 0 if tensor.is_inference() else tensor._version
        known = self._known.get(id(tensor))
        if known is not None and known[0]() is tensor and known[1] == version:
            return known[2]
        kept = tensor.detach().clone()
        self._known[id(tensor)] = (weakref.ref(tensor), version, kept)
        return kept


def changed(before: Tensor, after: Tensor) -> Tensor | None:
    """Which elements differ, NaN being equal to itself; None if shape or type differ."""
    if before.shape != after.shape or before.dtype != after.dtype:
        return None
    return (before != after) & ~(before.isnan() & after.isnan())


def first_difference(before: Recording, after: Recording) -> Place | None:
    """The first place at which two recordings differ."""
    for key, value in before.seen.items():
        other = after.seen.get(key)
        if other is not None and (where := changed(value, other)) is not None and where.any():
            return before.places[key]
    return None
