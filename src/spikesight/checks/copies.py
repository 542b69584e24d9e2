"""Copies of a user's module to try things on, so that the module itself stays as it is."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from spikesight.checks.inputs import Inputs
from spikesight.errors import UserError, lack_of_memory

_RESETS = ("reset", "reset_mem")


class Copies:
    """Makes copies of a module that are in the state in which it was given.

    Copies share the parameters of a private copy as long as no call writes to them.

    Args:
        module: The module; it is not touched.
        inputs: A call that it must survive in evaluation mode.
        reset: Whether every call is preceded by `reset_states`.

    Raises:
        UserError: If the module cannot be copied, or fails on the inputs.
    """

    def __init__(self, module: nn.Module, inputs: Inputs, reset: bool) -> None:
        self._reset = reset
        self._shares = False
        self._original = _copied(module, {})
        first = self.fresh()
        lazy = any(is_lazy(parameter) for parameter in first.parameters())
        names = {name for name, _ in first.named_parameters()}
        versions = {} if lazy else {name: p._version for name, p in first.named_parameters()}
        with torch.no_grad(), seeded(0):
            try:
                inputs(first)
            except UserError:
                raise
            except Exception as error:
                if lack_of_memory(error) is not None:
                    raise
                raise UserError(
                    f"the module fails on the example, with {type(error).__name__}: "
                    f"{_short(error)}; pass an example that it takes (several arguments as a "
                    "tuple), and a module whose states fit it"
                ) from error
        if lazy or names != {name for name, _ in first.named_parameters()}:
            self._original = first  # it has built what it lacked
        else:
            self._shares = versions == {name: p._version for name, p in first.named_parameters()}

    def fresh(self, *, shares: bool = True) -> nn.Module:
        """A copy in evaluation mode.

        Args:
            shares: Whether parameters may be shared with other copies.
        """
        memo: dict[int, Any] = {}
        if shares and self._shares:
            memo = {id(parameter): parameter for parameter in self._original.parameters()}
        module = _copied(self._original, memo)
        for parameter in module.parameters():
            parameter.grad = None
        return module.eval()

    def call(self, module: nn.Module, inputs: Inputs, seed: int = 0) -> Any:
        """What a copy gives, with random generators that start from a seed."""
        if self._reset:
            reset_states(module)
        with seeded(seed):
            return inputs(module)


def reset_states(module: nn.Module) -> None:
    """Calls `reset()` or `reset_mem()` of every submodule that has one."""
    for part in module.modules():
        for name in _RESETS:
            method = getattr(part, name, None)
            if callable(method) and not isinstance(method, nn.Module):
                method()


def resettable(module: nn.Module, path: str) -> bool:
    """Whether a submodule has a method that forgets its state."""
    try:
        part = module.get_submodule(path)
    except AttributeError:
        return False
    return any(callable(getattr(part, name, None)) for name in _RESETS)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random generators that start from a seed, and afterwards go on as if nothing had been."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002  users' modules draw from it
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def states_of(module: nn.Module) -> dict[str, Tensor]:
    """Buffers and tensors that modules hold as plain attributes, copied."""
    found: dict[str, Tensor] = {}
    for path, part in module.named_modules():
        for name, value in _held(part):
            found[f"{path}.{name}".removeprefix(".")] = value.detach().clone()
    return found


def _held(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from part.named_buffers(recurse=False)
    for name, value in vars(part).items():
        if name in ("_parameters", "_buffers", "_modules"):
            continue
        inner = value.items() if isinstance(value, dict) else enumerate((value,))
        if isinstance(value, list | tuple):
            inner = enumerate(value)
        for key, tensor in list(inner):
            if isinstance(tensor, Tensor) and not isinstance(tensor, nn.Parameter):
                yield (f"{key}" if isinstance(value, dict) else name), tensor


def _copied(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A deep copy, also where a state is part of an autograd graph, which `copy` refuses."""
    for part in module.modules():
        for _, tensor in _held(part):
            if is_lazy(tensor):
                memo[id(tensor)] = UninitializedBuffer().to(tensor.device, tensor.dtype)
            elif not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        place = next((p for p in module.modules() if not _copies(p)), module)
        raise UserError(
            f"{type(place).__name__} cannot be copied ({_short(error)}), and the check tries "
            "things on copies; take what cannot be copied (files, locks, generators) out of it"
        ) from error


def _copies(part: nn.Module) -> bool:
    own = {k: v for k, v in vars(part).items() if k != "_modules"}
    try:
        copy.deepcopy(own)
    except Exception:
        return False
    return True


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
