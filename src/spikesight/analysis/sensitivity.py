"""Which modules of a network suffer most from a change, such as weights of few bits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import nn

from spikesight.attention import AttentionProduct, Gate

ModuleGroup = Literal["fully connected", "convolution", "attention"]
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Sensitivity:
    """What changing one group of modules costs.

    Attributes:
        group: What was changed: a group of modules, "nothing" or "everything".
        modules: Names of the changed convolutions and linear maps.
        measured: The figure of the changed model, such as its accuracy in percent.
        difference: The figure minus that of the unchanged model.
    """

    group: str
    modules: tuple[str, ...]
    measured: float
    difference: float


def module_groups(model: nn.Module) -> dict[ModuleGroup, list[str]]:
    """The convolutions and linear maps of a model in the groups of QSD-Transformer's section 4.1.

    - attention: those in a module that holds an attention product or a gate;
    - fully connected: other linear maps, and 1x1 convolutions of the block around an attention
      (the MLP beside it, which is a linear map of every token);
    - convolution: all others.

    Args:
        model: Any model of this library, or its ANN twin.

    Returns:
        Names as in `named_modules`; every convolution and linear map is in one group.
    """
    attentions = [
        name.rpartition(".")[0]
        for name, module in model.named_modules()
        if isinstance(module, AttentionProduct | Gate)
    ]
    blocks = [name.rpartition(".")[0] for name in attentions]
    groups: dict[ModuleGroup, list[str]] = {
        "fully connected": [],
        "convolution": [],
        "attention": [],
    }
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        if any(_inside(name, attention) for attention in attentions):
            groups["attention"].append(name)
        elif isinstance(module, nn.Linear) or (
            module.kernel_size == (1, 1) and any(_inside(name, block) for block in blocks)
        ):
            groups["fully connected"].append(name)
        else:
            groups["convolution"].append(name)
    return groups


def module_sensitivity(
    model: M, change: Callable[[M, list[str]], None], measure: Callable[[M], float]
) -> list[Sensitivity]:
    """Measures a model with one group of modules changed at a time (QSD-Transformer section 4.1).

    Args:
        model: The model; it stays as it is.
        change: Changes the named modules of the copy that it is given, in place.
        measure: The figure of a model, such as its accuracy in percent on held-out images.

    Returns:
        Nothing changed, each group that has modules, everything changed.
    """
    groups = module_groups(model)
    every = [name for names in groups.values() for name in names]
    baseline = measure(copy.deepcopy(model))
    results = [Sensitivity("nothing", (), baseline, 0.0)]
    for group, names in [*groups.items(), ("everything", every)]:
        if names:
            changed = copy.deepcopy(model)
            change(changed, names)
            measured = measure(changed)
            results.append(Sensitivity(group, tuple(names), measured, measured - baseline))
    return results


def _inside(name: str, parent: str) -> bool:
    return name.startswith(f"{parent}.")
