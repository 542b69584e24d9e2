"""One entry for the checkpoints of all families."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.interop.metaspikformer import load_metaspikformer
from spikesight.interop.qsd import load_qsd
from spikesight.interop.spike2former import load_spike2former
from spikesight.interop.spikformer import load_spikformer
from spikesight.options import check_arguments

_LOADERS: dict[str, Callable[..., nn.Module]] = {
    "metaspikformer": load_metaspikformer,
    "qsd": load_qsd,
    "spikformer": load_spikformer,
    "spike2former": load_spike2former,
}


_REMEDY = 'pass what the checkpoint holds under "model" or "state_dict"'


def load_official(family: str, state_dict: Mapping[str, Tensor], **configuration: Any) -> Any:
    """Turns an authors' checkpoint into our model with the same outputs.

    Sizes are read off the state dict; what it does not tell is passed by keyword and defaults to
    the official configuration. A state dict of one official block (attention, MLP, SepConv, ...)
    gives that block.

    Args:
        family: "metaspikformer" (BICLab/Spike-Driven-Transformer-V2), "qsd"
            (bollossom/QSD-Transformer), "spikformer" (ZK-Zhou/spikformer: ImageNet, CIFAR and
            CIFAR10-DVS; and SpikingJelly's Spikformer; known by their names) or "spike2former"
            (BICLab/Spike2Former).
        state_dict: The official parameters and buffers by their official names.
        **configuration: metaspikformer: num_heads=8, steps=4, neuron="lif", levels=None,
            attention_scale=0.125, strides=(2, 2, 2, 2, 1), stride of a lone down-sampling.
            qsd: the same with steps=1, neuron="qsd_classification", attention_scale=0.25, and
            bits=4, stride also that of a lone convolution.
            spikformer: num_heads, steps=4, neuron="lif", levels=None, attention_scale=0.125,
            strides; defaults are those of the released form.
            spike2former: num_heads=8, groups=None (one per 8 channels), levels=8, official=True,
            steps=1, neuron="spike2former", order="cross_first", strides, stride, module (see
            `interop.spike2former`).

    Returns:
        The model (or block) in evaluation mode, in the state dict's floating-point type.

    Raises:
        UserError: If the family or a keyword is unknown, the state dict is not of it, or a tensor
            is left over, for outputs could depend on it.
    """
    if family not in _LOADERS:
        raise UserError(f"no official family {family!r}; pass one of {sorted(_LOADERS)}")
    loader = _LOADERS[family]
    known = list(inspect.signature(loader).parameters)[1:]
    unknown = sorted(configuration.keys() - set(known))
    if unknown:
        raise UserError(f"{family} takes no {unknown[0]!r}; pass any of {', '.join(known)}")
    check_arguments(loader, configuration)
    if not isinstance(state_dict, Mapping) or not state_dict:
        raise UserError(f"a state dict of {family} maps names to tensors, at least one; {_REMEDY}")
    for name, tensor in state_dict.items():
        problem = _problem(name, tensor)
        if problem:
            raise UserError(f"the state dict's {name!r} {problem}; {_REMEDY}")
    try:
        return loader(state_dict, **configuration)
    except (KeyError, IndexError) as error:
        raise UserError(
            f"the state dict is not one of {family}: {error} is missing or has another shape; "
            "pass a whole state dict, or one of another family"
        ) from error


def _problem(name: object, tensor: object) -> str:
    """What is wrong with an entry of a state dict; empty if nothing is."""
    if not isinstance(name, str):
        return "is no name"
    if not isinstance(tensor, Tensor):
        return f"is of type {type(tensor).__name__} and no tensor"
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex():
        return f"is a tensor of another kind ({tensor.dtype}, {tensor.layout}, {tensor.device})"
    return ""
