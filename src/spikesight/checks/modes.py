"""Training mode without what differs in it by design: batch statistics and random draws."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

from spikesight.checks.copies import Copies
from spikesight.checks.inputs import Inputs
from spikesight.checks.recording import watched


class StillTraining:
    """Puts copies into training mode, but for normalisations and what draws random numbers.

    What draws is known by what it does: the generator has moved on after its forward.

    Args:
        copies: Makes the copies.
        inputs: A call.

    Attributes:
        problem: Why the module cannot be called in training mode; empty if it can.
        random: Modules that draw random numbers in training.
    """

    def __init__(self, copies: Copies, inputs: Inputs) -> None:
        self._copies = copies
        self.problem = ""
        self.random: set[str] = set()
        module = copies.fresh(shares=False).train()
        _still_norms(module)
        watch = _Draws(module)
        try:
            with torch.no_grad():
                copies.call(module, inputs)
        except Exception as error:
            self.problem = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        self.random = watch.close()

    def fresh(self, *, shares: bool = True) -> nn.Module:
        """A copy in this mode."""
        module = self._copies.fresh(shares=shares).train()
        _still_norms(module)
        for name, part in watched(module):
            if name in self.random:
                part.training = False
        return module


def _still_norms(module: nn.Module) -> None:
    for part in module.modules():
        if any(name == "running_mean" for name, _ in part.named_buffers(recurse=False)):
            part.eval()


class _Draws:
    """Which modules draw random numbers in their own code, not in that of a submodule."""

    def __init__(self, module: nn.Module) -> None:
        self._random: set[str] = set()
        self._stack: list[str] = []
        self._state = _generators()
        self._handles = []
        for name, part in watched(module):
            self._handles += [
                part.register_forward_pre_hook(lambda *_, name=name: self._enter(name)),
                part.register_forward_hook(lambda *_, name=name: self._leave()),
            ]

    def close(self) -> set[str]:
        """Stops watching, and says which draw."""
        for handle in self._handles:
            handle.remove()
        return self._random

    def _enter(self, name: str) -> None:
        self._look()
        self._stack.append(name)

    def _leave(self) -> None:
        self._look()
        self._stack.pop()

    def _look(self) -> None:
        state = _generators()
        if self._stack and state != self._state:
            self._random.add(self._stack[-1])
        self._state = state


def _generators() -> tuple[object, ...]:
    """The states of all random generators that modules draw from."""
    of_torch = [torch.get_rng_state()]
    if torch.cuda.is_initialized():
        of_torch += torch.cuda.get_rng_state_all()
    of_numpy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    return (
        *(state.numpy().tobytes() for state in of_torch),
        random.getstate(),
        of_numpy["state"]["key"].tobytes(),
        of_numpy["state"]["pos"],
    )
