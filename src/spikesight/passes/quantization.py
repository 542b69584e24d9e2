"""Quantise: low-bit weights that are learned, so that what is trained is what is deployed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any, TypeVar, get_args

from torch import nn

from spikesight.errors import UserError
from spikesight.graph import Graph, Input, MaskProduct, Output, Synapse
from spikesight.graph.counts import reading_counts
from spikesight.graph.tracing import trace_parts
from spikesight.neurons.calibrated_i_lif import CalibratedILIF
from spikesight.options import check_range, check_value
from spikesight.passes.fixed_point import GAIN_BITS
from spikesight.passes.integerisation import IMAGE_WEIGHT_BITS
from spikesight.passes.quantization_recipe import QuantizationRecipe as QuantizationRecipe
from spikesight.passes.weight_rounding import GAIN_ROOM
from spikesight.passes.whole_counts import emit_whole_counts
from spikesight.synapses import (
    LayerScale,
    PackedSynapse,
    PowerOfTwoLayerScale,
    QuantizedConv2d,
    QuantizedLinear,
    QuantizedSynapse,
    Synapse as SynapseModule,
    WeightQuantizer,
)
from spikesight.synapses.bit_packing import packed_length
from spikesight.synapses.quantized_synapse import folded_shapes

ModelT = TypeVar("ModelT", bound=nn.Module)

_BOUNDARY_BITS = 8
_IMAGE_BITS_BEFORE = 8


def quantize(
    model: ModelT,
    bits: int,
    recipe: QuantizationRecipe = "deployable",
    power_of_two: bool = False,
    image_bits: int = IMAGE_WEIGHT_BITS,
) -> ModelT:
    """Gives a model low-bit weights with learned steps (LSQ), in place; train it on afterwards.

    - "deployable" quantises each synapse's folded kernel, so that `fold` keeps at most 2^bits
      values per channel and `deploy` ships the integers of training. What lands on a residual
      stream has power-of-two steps, and layer scales become powers of two; learned thresholds stop
      learning, since a spike must stay worth what it was; other steps have few
      significant bits. The last layers have 8 bits (of a segmenter these are the classes' and the
      mask features'), the first one has 7: two products with a pixel then fit into 16 bits, in
      which some processors add them.
    - "official" is what QSD-Transformer's authors quantise: every convolution and linear map
      before its normalisation, stem and head included. RepConv's three factors multiply to a
      kernel that is not low-bit, and deploying rounds it again.

    Biases, normalisations and layer scales stay in floating point under "official".

    Args:
        model: A model of this library; "deployable" needs a whole one, from image to output.
        bits: Bits of a weight, 2 to 8.
        recipe: Which weights are quantised, and how.
        power_of_two: Whether every step is a power of two.
        image_bits: Bits of the weights that read the image under "deployable", 2 to 8. With 8
            runtimes compute that layer in float32.

    Returns:
        The model itself. It remembers how it was quantised: `save_pretrained` and `load` work.

    Raises:
        UserError: If an argument is out of range, a weight is not finite, the model is quantised
            already, or, under "deployable", a neuron's unit is no power of two or a synapse has no
            kernel. The model is then as it was.
    """
    check_value("bits", bits, int)
    check_value("image_bits", image_bits, int)
    if not 2 <= bits <= 8:
        raise UserError(f"bits is {bits}; pass 2 to 8 (one bit would leave no positive weight)")
    if not 2 <= image_bits <= 8:
        raise UserError(f"image_bits is {image_bits}; pass 2 to 8")
    if recipe not in get_args(QuantizationRecipe):
        raise UserError(f"recipe is {recipe!r}; pass one of {get_args(QuantizationRecipe)}")
    if any(isinstance(module, WeightQuantizer | PackedSynapse) for module in model.modules()):
        raise UserError("the model is quantised already; quantise the unquantised one instead")
    for name, parameter in chain(model.named_parameters(), model.named_buffers()):
        if not parameter.isfinite().all():
            raise UserError(f"{name} is not finite, so it has no scale; load weights that are")
    if recipe == "official":
        _quantize_factors(model, bits, 1 if power_of_two else None)
    else:
        _quantize_folded(model, bits, power_of_two, image_bits)
    described = getattr(model, "recipe", None)
    if described is not None:
        described["quantization"] = {
            "bits": bits,
            "recipe": recipe,
            "power_of_two": power_of_two,
            "image_bits": image_bits,
        }
    return model


def quantize_like(model: ModelT, saved: Mapping[str, Any]) -> ModelT:
    """Quantises a model as a saved one was, in place.

    Args:
        model: A model that is not quantised.
        saved: What the saved one's `recipe["quantization"]` holds. Where that names no image_bits,
            as before they could be chosen, they are 8.

    Returns:
        The model itself.

    Raises:
        UserError: As `quantize` does.
    """
    return quantize(model, **{"image_bits": _IMAGE_BITS_BEFORE, **saved})


def _quantize_factors(model: nn.Module, bits: int, scale_bits: int | None) -> None:
    for synapse in model.modules():
        if not isinstance(synapse, SynapseModule):
            continue
        for name, child in list(synapse.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(synapse, name, QuantizedConv2d(child, bits, scale_bits))
            elif isinstance(child, nn.Linear):
                setattr(synapse, name, QuantizedLinear(child, bits, scale_bits))


def _quantize_folded(model: nn.Module, bits: int, power_of_two: bool, image_bits: int) -> None:
    wanted: list[tuple[str, SynapseModule, int, int]] = []
    put_back = emit_whole_counts(model)
    try:
        for graph in trace_parts(model).values():
            for node, synapse in _synapses_of(model, graph):
                kernel_bits = _kernel_bits(graph, node, bits, image_bits)
                scale_bits = _scale_bits(graph, node, kernel_bits)
                wanted.append((node.name, synapse, kernel_bits, 1 if power_of_two else scale_bits))
    except UserError:
        put_back()
        raise
    for neuron in model.modules():
        if isinstance(neuron, CalibratedILIF):
            neuron.stop_learning()
    for path, synapse, kernel_bits, scale_bits in wanted:
        if _scales_only(synapse):
            for name, child in list(synapse.named_children()):
                assert isinstance(child, LayerScale)
                setattr(synapse, name, PowerOfTwoLayerScale(child))
            continue
        quantized = QuantizedSynapse(synapse, kernel_bits, scale_bits)
        quantized.train(synapse.training)
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, quantized)


def _synapses_of(model: nn.Module, graph: Graph) -> list[tuple[Synapse, SynapseModule]]:
    """The synapses of a model that "deployable" replaces, each once, before anything changes.

    Raises:
        UserError: If one has no kernel to quantise; names it and the remedy.
    """
    modules = dict(model.named_modules())
    synapses: list[tuple[Synapse, SynapseModule]] = []
    for node in graph.nodes:
        if not isinstance(node, Synapse) or "#" in node.name:  # Another call of a synapse.
            continue
        synapse = modules.get(node.name)
        if synapse is None:
            raise UserError(
                f"{node.name} is no module of the model and has no weights to quantise; "
                + _remedy(modules, node.name)
            )
        assert isinstance(synapse, SynapseModule)
        first = next(synapse.children())
        if not isinstance(first, nn.Conv2d | nn.Linear) and not _scales_only(synapse):
            raise UserError(
                f"{node.name} starts with a {type(first).__name__} and has no kernel to quantise; "
                + _remedy(modules, node.name)
            )
        synapses.append((node, synapse))
    return synapses


def _remedy(modules: dict[str, nn.Module], name: str) -> str:
    """What helps: what the innermost module that says it says, or the other recipe."""
    while name:
        name = name.rpartition(".")[0]
        known = getattr(modules.get(name), "kernel_remedy", None)
        if known is not None:
            return f'{known}, or pass recipe="official"'
    return 'pass recipe="official"'


def _scales_only(synapse: SynapseModule) -> bool:
    return all(isinstance(child, LayerScale) for child in synapse.children())


def packed_bytes(model: nn.Module, bits: int) -> int:
    """Bytes of a model's tensors once it is quantised ("deployable") and saved packed.

    Integers take their bits, those of the first layer 7 and of the last ones 8; steps, biases and
    layer scales are float32. The file's header comes on top.

    Args:
        model: A whole, unquantised model; it may be on the meta device.
        bits: Bits of a weight.

    Raises:
        UserError: If `bits` is out of range or a synapse has no kernel to quantise.
    """
    check_range("bits", bits, least=2, most=8)
    total = 0
    for graph in trace_parts(model).values():
        for node, synapse in _synapses_of(model, graph):
            if _scales_only(synapse):
                total += sum(4 * parameter.numel() for parameter in synapse.parameters())
                continue
            width = _kernel_bits(graph, node, bits, IMAGE_WEIGHT_BITS)
            for shape in folded_shapes(synapse):
                total += packed_length(math.prod(shape), width) + 8 * shape[0]
    return total


def _kernel_bits(graph: Graph, node: Synapse, bits: int, image_bits: int) -> int:
    if isinstance(graph.by_name[node.inputs[0]], Input):
        return image_bits
    is_last = any(isinstance(r, Output | MaskProduct) for r in graph.consumers[node.name])
    return _BOUNDARY_BITS if is_last else bits


def _scale_bits(graph: Graph, node: Synapse, bits: int) -> int:
    """1 onto a residual stream; to a neuron so few that float32 computes the neuron exactly."""
    counts = reading_counts(graph).get(node.inputs[0])
    if not graph.lands_on_neurons(node.name):
        if counts is not None and math.frexp(counts.unit)[0] != 0.5:
            raise UserError(
                f"{node.name} reads counts worth {counts.unit:.3g} each, with which no step onto "
                "the residual stream is a power of two; pass levels of 1, 2, 4 or 8, a neuron "
                'such as "i_lif", or recipe="official"'
            )
        return 1
    levels = 2 ** (_BOUNDARY_BITS - 1) if counts is None else counts.levels
    inputs = math.prod(factor.weight[0].numel() for factor in node.factors)
    largest: int = inputs * levels * 2 ** (bits - 1)
    return max(1, min(GAIN_BITS, GAIN_ROOM.bit_length() - 1 - largest.bit_length()))
