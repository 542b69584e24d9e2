"""Checkpoints of bollossom/QSD-Transformer: Meta-SpikeFormer with low-bit weights."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Steps, Stride, Width
from spikesight.interop.metaspikformer import StateDict, build_metaspikformer, fill
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
    attention_scale: float = 0.25,
    strides: tuple[int, int, int, int, int] = (2, 2, 2, 2, 1),
    stride: Stride | None = None,
) -> nn.Module:
    """Builds the quantised model, or the block, that an official state dict belongs to.

    The authors' weights carry activation quantisers that are never called; they are left out.
    Scales that the authors' code has not yet started (their first training forward does so) start
    from the weights.

    Args:
        state_dict: Official names to tensors.
        bits: Bits of a weight, which no tensor tells.
        num_heads: Attention heads.
        steps: Time steps T.
        neuron: Neuron of all layers.
        levels: Largest count D of integer neurons.
        attention_scale: Factor of the attention product.
        strides: Down-sampling of the five stages.
        stride: Stride of a lone down-sampling block or convolution.

    Returns:
        The model in evaluation mode. A lone block takes official inputs [T, B, C, H, W].

    Raises:
        ValueError: If the state dict is not QSD-Transformer's, or `bits` is out of range.
    """
    state = {f".{name.removeprefix('module.')}": tensor for name, tensor in state_dict.items()}
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
    if set(live) <= {"weight", "bias", "alpha"}:
        model, renamed = _lone_synapse(live, state.get(".act.alpha"), stride or 1)
    else:
        choice = NeuronChoice.resolve(neuron, steps, levels)
        model, renamed = build_metaspikformer(
            live, choice, num_heads, attention_scale, strides, stride
        )
    scales = {name: tensor for name, tensor in renamed.items() if name.endswith(_SCALE)}
    plain = {name: tensor for name, tensor in renamed.items() if name not in scales}
    loaded = fill(model, plain)
    quantize(model, bits, "official")
    own = model.state_dict()
    for name, tensor in scales.items():
        scale = own.get(f"{name.removesuffix(_SCALE)}.quantizer.scale")
        if scale is None or scale.numel() != tensor.numel() or not tensor.isfinite().all():
            raise UserError(
                f"the state dict's {name} is no scale of QSD-Transformer as it is built here; "
                "pass the checkpoint of such a model"
            )
        scale.copy_(tensor.reshape(scale.shape))
    return loaded


def _lone_synapse(
    state: dict[str, Tensor], inputs: Tensor | None, stride: int
) -> tuple[nn.Module, dict[str, Tensor]]:
    """One convolution or linear map. Its dead quantiser, one entry per input, tells the groups."""
    weight = state["weight"]
    has_bias = "bias" in state
    module: nn.Module
    if weight.ndim == 2:
        module = nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias)
    else:
        channels = weight.shape[1] if inputs is None else len(inputs)
        module = nn.Conv2d(
            channels,
            len(weight),
            weight.shape[-1],
            stride,
            weight.shape[-1] // 2,
            groups=channels // weight.shape[1],
            bias=has_bias,
        )
    return Synapse(module), {f"0.{name}": tensor for name, tensor in state.items()}
