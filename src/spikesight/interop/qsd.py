"""Checkpoints of bollossom/QSD-Transformer: Meta-SpikeFormer with low-bit weights."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Positive, Steps, Stride, Width
from spikesight.interop.blocks import Settings
from spikesight.interop.filling import (
    Names,
    StateDict,
    load_tensors,
    rename,
    without_wrapper,
)
from spikesight.interop.metaspikformer import Strides, build_metaspikformer
from spikesight.interop.official_layouts import OfficialBlock, channels_first
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.passes.quantization import quantize
from spikesight.synapses import Synapse

_SCALE = ".alpha"
# An activation quantiser that the authors' forward never calls.
_DEAD = ".act."
_STARTED = "init_state"


def load_qsd(
    state_dict: StateDict,
    *,
    bits: int = 4,
    num_heads: Width = 8,
    steps: Steps = 1,
    neuron: str = "qsd_classification",
    levels: Levels | None = None,
    attention_scale: Positive = 0.25,
    strides: Strides = (2, 2, 2, 2, 1),
    stride: Stride | None = None,
) -> nn.Module:
    """Builds the quantised model, or the block, that an official state dict belongs to.

    The authors' weights carry activation quantisers that are never called; they are left out.
    Scales that the authors' code has not yet started (their first training forward does so) start
    from the weights.
    """
    state = {f".{name}": tensor for name, tensor in without_wrapper(state_dict).items()}
    started = {
        name.removesuffix(_STARTED): bool(tensor.any())
        for name, tensor in state.items()
        if name.endswith(f".{_STARTED}") and _DEAD not in name
    }
    fresh = tuple(prefix for prefix, done in started.items() if not done)
    live = {
        name[1:]: tensor
        for name, tensor in state.items()
        if _DEAD not in name
        and not name.endswith(f".{_STARTED}")
        and not (name.endswith(_SCALE) and name.removesuffix("alpha") in fresh)
    }
    choice = NeuronChoice.resolve(neuron, steps, levels)
    settings = Settings(choice, num_heads, attention_scale, stride)
    if set(live) <= {"weight", "bias", "alpha"}:
        synapse = _lone_synapse(live, state.get(".act.alpha"), stride or 1)
        model: nn.Module = OfficialBlock(synapse, channels_first)
        names: Names = {name: f"0.{name}" for name in live}
    else:
        model, names = build_metaspikformer(live, settings, strides)
    renamed = rename(live, names)
    scales = {name: renamed.pop(name) for name in list(renamed) if name.endswith(_SCALE)}
    part = getattr(model, "part", model)
    load_tensors(part, renamed, "QSD-Transformer")
    quantize(part, bits, "official")
    own = part.state_dict()
    for name, tensor in scales.items():
        scale = own.get(f"{name.removesuffix(_SCALE)}.quantizer.scale")
        if scale is None or scale.numel() != tensor.numel() or not tensor.isfinite().all():
            raise UserError(
                f"the state dict's {name} is no scale of QSD-Transformer as it is built here; "
                "pass the checkpoint of such a model"
            )
        scale.copy_(tensor.reshape(scale.shape))
    return model.eval()


def _lone_synapse(state: StateDict, inputs: Tensor | None, stride: int) -> Synapse:
    """One convolution or linear map. Its dead quantiser, one entry per input, tells the groups."""
    weight, has_bias = state["weight"], "bias" in state
    if weight.ndim == 2:
        return Synapse(nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias))
    side = weight.shape[-1]
    channels = weight.shape[1] if inputs is None else len(inputs)
    groups = channels // weight.shape[1]
    return Synapse(
        nn.Conv2d(channels, len(weight), side, stride, side // 2, groups=groups, bias=has_bias)
    )
