"""Which parameters get no gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikesight.checks.copies import Copies
from spikesight.checks.inputs import Inputs, tensors_of
from spikesight.checks.modes import StillTraining
from spikesight.checks.recording import ITSELF
from spikesight.checks.report import Answer

_TRIES = 2


def gradient_answers(
    copies: Copies, inputs: Inputs, still: StillTraining, *, has_silent: bool
) -> list[Answer]:
    """Dead parameters: those that no output reaches, or whose gradient is 0 in every element.

    The gradient is that of a random weighting of all outputs, in training mode if the module can be
    called in it.

    Args:
        copies: Makes copies.
        inputs: A call.
        still: Training mode.
        has_silent: Whether neurons are silent or saturated, which explains gradients of 0: the
            weights that read them get none.
    """
    if any(isinstance(part, torch.jit.ScriptModule) for part in still.fresh().modules()):
        text = "copies of TorchScript do not say; pass the module that it was made of"
        return [Answer("gradient", "not examined", "", text)]
    unreached: set[str] | None = None
    zero: set[str] | None = None
    count = 0
    for seed in range(_TRIES):
        module = copies.fresh() if still.problem else still.fresh()
        wanted = {n: p for n, p in module.named_parameters() if p.requires_grad}
        count = len(wanted)
        if not wanted:
            return [Answer("gradient", "clean", "", "there is no parameter to train")]
        for parameter in wanted.values():
            parameter.grad = None
        with torch.enable_grad():
            try:
                loss = _weighted(copies.call(module, inputs), seed)
                if loss is None:
                    text = "no output is differentiable, so that nothing can be trained"
                    return [Answer("gradient", "FINDING", "", text)]
                loss.backward()
            except Exception as error:
                text = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                return [Answer("gradient", "FINDING", "", f"backward fails with {text}")]
        none = {name for name, p in wanted.items() if p.grad is None}
        dead = {n for n, p in wanted.items() if p.grad is not None and not p.grad.any()}
        for parameter in wanted.values():
            parameter.grad = None
        unreached = none if unreached is None else unreached & none
        zero = dead if zero is None else zero & dead
    assert unreached is not None
    assert zero is not None
    answers = _rows(module, unreached, "no output depends on")
    reached = count - len(unreached) - len(zero)
    text = f"{reached} of {count} parameters get a gradient"
    if has_silent and zero:
        text += f"; that of {len(zero)} is 0, as silent or saturated neurons may leave it"
    else:
        answers += _rows(module, zero, "the gradient is 0 in every element on these inputs, of")
    return [*answers, Answer("gradient", "note" if answers or zero else "clean", "", text)]


def _weighted(output: object, seed: int) -> Tensor | None:
    """A random weighting of all outputs that can be differentiated."""
    total: Tensor | None = None
    generator = torch.Generator().manual_seed(seed)
    for _, tensor in tensors_of(output):
        if not tensor.requires_grad:
            continue
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor)
        weights = torch.randn(tensor.shape, generator=generator).to(tensor)
        part = (tensor * weights).sum()
        total = part if total is None else total + part.to(total)
    return total


def _rows(module: nn.Module, names: set[str], text: str) -> list[Answer]:
    """One finding for every module with such parameters."""
    owners: dict[str, list[str]] = {}
    for name, _ in module.named_parameters():
        if name in names:
            owner, _, own = name.rpartition(".")
            owners.setdefault(owner or ITSELF, []).append(own)
    return [
        Answer("gradient", "FINDING", owner, f"{text} {' and '.join(own)}")
        for owner, own in owners.items()
    ]
