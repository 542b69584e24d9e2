"""One entry for the checkpoints of all families."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.interop.espikeformer import load_espikeformer
from spikesight.interop.maxformer import load_maxformer
from spikesight.interop.metaspikformer import load_metaspikformer
from spikesight.interop.ms_qkformer import load_ms_qkformer
from spikesight.interop.qkformer import load_qkformer
from spikesight.interop.qsd import load_qsd
from spikesight.interop.sdtv1 import load_sdtv1
from spikesight.interop.spike2former import load_spike2former
from spikesight.interop.spikformer import load_spikformer
from spikesight.interop.spikingresformer import load_spikingresformer
from spikesight.options import check_arguments
from spikesight.parts import find_part, list_parts, remember

_LOADERS: dict[str, Callable[..., nn.Module]] = {
    "maxformer": load_maxformer,
    "metaspikformer": load_metaspikformer,
    "espikeformer": load_espikeformer,
    "ms_qkformer": load_ms_qkformer,
    "qkformer": load_qkformer,
    "qsd": load_qsd,
    "sdtv1": load_sdtv1,
    "spikformer": load_spikformer,
    "spike2former": load_spike2former,
    "spikingresformer": load_spikingresformer,
}

_KIND = "official family"
LoaderT = TypeVar("LoaderT", bound=Callable[..., nn.Module])

_REMEDY = 'pass what the checkpoint holds under "model" or "state_dict"'


def register_official(loader: LoaderT) -> LoaderT:
    """Makes a function's name a family of `load_official` and of `spikesight convert`.

    Args:
        loader: Takes a state dict; what that does not tell comes by keyword, with defaults.

    Returns:
        The function itself.
    """
    remember(_KIND, loader.__name__, loader)
    return loader


def load_official(family: str, state_dict: Mapping[str, Tensor], **configuration: Any) -> Any:
    """Turns an authors' checkpoint into our model with the same outputs.

    Sizes are read off the state dict; what it does not tell is passed by keyword and defaults to
    the official configuration. A state dict of one official block (attention, MLP, SepConv, ...)
    gives that block.

    Args:
        family: "maxformer" (bic-L/MaxFormer: ImageNet, CIFAR and events, known by their names),
            "ms_qkformer" (the same repository: likewise),
            "metaspikformer" (BICLab/Spike-Driven-Transformer-V2), "espikeformer"
            (BICLab/Spike-Driven-Transformer-V3: base and large networks), "qsd"
            (bollossom/QSD-Transformer), "spikformer" (ZK-Zhou/spikformer: ImageNet, CIFAR and
            CIFAR10-DVS; and SpikingJelly's Spikformer; known by their names), "sdtv1"
            (BICLab/Spike-Driven-Transformer), "qkformer" (zhouchenlin2096/QKFormer: ImageNet, CIFAR
            and events, known by their names), "spikingresformer" (xyshi2000/SpikingResformer) or
            "spike2former" (BICLab/Spike2Former).
        state_dict: The official parameters and buffers by their official names.
        **configuration: For all families num_heads=8 (but spikingresformer, whose tensors tell it),
            neuron ("lif"; "qsd_classification" and "spike2former" in those families), levels
            (largest count D of integer neurons) and steps (time steps T).
            maxformer: num_heads, by default one per 64 channels, in the CIFAR form 8, in that of
            events 16; steps=4, there 16; attention_scale=0.125; mixers of the stages, where some
            have no weights by which they are known: "none" is taken, "max_pool" the other.
            ms_qkformer: the same without mixers, which are all known by their weights.
            metaspikformer: steps=4; attention_scale=0.125, or "head_dim" for head_dim^-0.5;
            strides=(2, 2, 2, 2, 1) of the five stages; stride of a lone down-sampling, by default
            2 for the 7x7 stem, else 1.
            espikeformer: steps=1, for released code has no second time step; attention_scale, by
            default 2 head_dim^-0.5, in large networks 0.125; head of a large one with two: "both"
            as the authors evaluate it, or "counts", head_kd alone, which is spike-driven.
            qsd: as metaspikformer, with steps=1, attention_scale=0.25, and bits=4 of a weight;
            stride also that of a lone convolution.
            spikformer: num_heads, by default one per 64 channels, in the CIFAR form and
            SpikingJelly's per 32, in the CIFAR10-DVS form per 16; steps=4, there 16;
            attention_scale=0.125, there 0.25; strides of the stem's four stages, 2 each, in the
            CIFAR form (1, 1, 2, 2).
            qkformer: num_heads, by default one per 64 channels, in the CIFAR form 8 and in that of
            events 16, whatever the authors' caller passes; steps=4, of events 16;
            attention_scale=0.125; official="leaking" for the released fault, by which batch-mates
            leak into each other.
            sdtv1: steps=4; strides of the stem's four stages, 2 each: the digits of pooling_stat,
            (1, 1, 2, 2) of the CIFAR form's 0011; attention_pools=False, the authors' dvs_mode with
            its maxima over space; official="channel_pools" for two of them over channels, as they
            released it by mistake.
            spikingresformer: steps=4, with neurons that learned their decay (Gesture) 16; img_size
            of the authors' model, by which its attention is scaled, by default that of the images
            which it is given.
            spike2former: groups of the deformable attention, by default one per 8 channels;
            levels=8; steps=1, for the authors' code does not iterate time; official=True, whether
            the slips of their code are reproduced (without them a checkpoint still loads, for
            fine-tuning); order="cross_first" of the decoder's attentions, "self_first" in their
            panoptic code; strides and stride as above; module="trunk_mlp" or "encoder_mlp" where
            the layout of the input does not tell these two lone MLPs apart.

    Returns:
        The model (or block) in evaluation mode, in the state dict's floating-point type. A lone
        block takes the authors' layout: [T, B, C, H, W] in trunks and the pixel decoder,
        [T, B, H, W, C] in Spike2Former's encoder, [T, B, Q, C] for queries.

    Raises:
        UserError: If the family or a keyword is unknown, the state dict is not of it, or a tensor
            is left over, for outputs could depend on it.
    """
    loader = _LOADERS.get(family) or find_part(_KIND, family)
    if loader is None:
        raise UserError(
            f"no official family {family!r}; pass one of {sorted([*_LOADERS, *list_parts(_KIND)])}"
        )
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
