"""Fold: normalisations, RepConv, layer scales and units into one kernel per synapse."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, assert_never

import torch
from torch import Tensor

from spikesight.graph import (
    Add,
    Affine,
    AttentionProduct,
    CurrentProduct,
    Embedding,
    Gate,
    Graph,
    Input,
    MaskProduct,
    MaxPool,
    Neuron,
    Node,
    Output,
    Pool,
    Position,
    Rearrange,
    Resize,
    Sample,
    SpikeSum,
    Synapse,
)
from spikesight.graph.counts import reading_counts


def fold(graph: Graph) -> Graph:
    """Rewrites a graph so that synapses hold as few factors as exact algebra allows.

    Consecutive synapses become one. Within a synapse, normalisations and layer scales fold into
    the convolution before them, and 1x1 -> depthwise -> 1x1 (RepConv) becomes one dense kernel
    with zero padding. A depthwise convolution followed by a pointwise one stays two factors:
    their product would be a dense kernel of many times the size. Every neuron's unit moves into
    the synapses, products and sums over tokens that read it, also through shortcuts, gates, maxima,
    permutations and means over pixels of counts, so that counts travel. A quantised kernel
    keeps its step through all of this, except as a factor of RepConv's: products of low-bit
    weights are not low-bit.

    Args:
        graph: As `trace` returns it.

    Returns:
        A graph with the same function.
    """
    graph = _merge_consecutive_synapses(graph)
    nodes = tuple(
        replace(node, factors=fold_factors(node.factors)) if isinstance(node, Synapse) else node
        for node in graph.nodes
    )
    return _fold_units(replace(graph, nodes=nodes))


def fold_factors(factors: tuple[Affine, ...]) -> tuple[Affine, ...]:
    """Merges neighbouring affine factors wherever the product is exact and no larger kernel."""
    folded: list[Affine] = []
    for factor in factors:
        folded.append(factor)
        while len(folded) > 1 and (merged := _merge(folded[-2], folded[-1])) is not None:
            folded[-2:] = [merged]
    return tuple(folded)


def _merge(first: Affine, second: Affine) -> Affine | None:
    if first.is_linear or second.is_linear:
        return None
    if second.is_diagonal:
        gain = second.weight.view(-1)
        weight = first.weight * gain.view(-1, 1, 1, 1)
        bias = _sum(_times(first.bias, gain), second.bias)
        return replace(first, weight=weight, bias=bias, step=_times(first.step, gain.abs()))
    if first.is_pointwise and second.is_depthwise and _pads_with_image_of_zero(first, second):
        kernel = second.weight
        bias = _sum(_times(first.bias, kernel.sum((1, 2, 3))), second.bias)
        return replace(
            second, weight=kernel * first.weight, bias=bias, groups=1, border=None, step=None
        )
    if first.groups == 1 and second.is_pointwise:
        matrix = second.weight.flatten(1)
        bias = None if first.bias is None else matrix @ first.bias
        weight = torch.einsum("om,mihw->oihw", matrix, first.weight)
        return replace(first, weight=weight, bias=_sum(bias, second.bias), step=None)
    return None


def _pads_with_image_of_zero(first: Affine, second: Affine) -> bool:
    if second.padding == 0:
        return True
    zero = second.weight.new_zeros(())
    border = zero if second.border is None else second.border
    return bool(((zero if first.bias is None else first.bias) == border).all())


def _times(values: Tensor | None, factor: Tensor | float) -> Tensor | None:
    return None if values is None else values * factor


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _merge_consecutive_synapses(graph: Graph) -> Graph:
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    for original in graph.nodes:
        node = replace(original, inputs=tuple(renamed.get(n, n) for n in original.inputs))
        previous = nodes[-1] if nodes else None
        if (
            isinstance(node, Synapse)
            and isinstance(previous, Synapse)
            and node.inputs == (previous.name,)
            and len(graph.consumers[original.inputs[0]]) == 1
        ):
            nodes[-1] = replace(previous, factors=previous.factors + node.factors)
            renamed[node.name] = previous.name
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _foldable_units(graph: Graph) -> dict[str, float]:
    """The unit of every count that only synapses, products and spike sums read in the end.

    Shortcuts, gates, maxima, permutations and means of counts pass the unit on, so all that they
    join have to be foldable.
    """
    counts = reading_counts(graph)
    joined = {
        node.name: {node.name, *node.inputs}
        for node in graph.nodes
        if _does_with_units(node) == "passes on" and node.name in counts
    }

    def folds(reader: Node) -> bool:
        return _does_with_units(reader) == "takes in" or reader.name in joined

    kept = {
        name
        for name in counts
        if not graph.consumers[name] or not all(map(folds, graph.consumers[name]))
    }
    while spreading := [names for names in joined.values() if names & kept and not names <= kept]:
        kept = kept.union(*spreading)
    return {name: count.unit for name, count in counts.items() if name not in kept}


def _does_with_units(node: Node) -> Literal["takes in", "passes on", "reads"]:
    """What a node does with a factor of what it reads."""
    match node:
        case Synapse() | AttentionProduct() | SpikeSum() | CurrentProduct():
            return "takes in"
        case MaskProduct() | Sample():
            return "takes in"
        case Add() | Gate() | MaxPool() | Pool() | Rearrange():
            return "passes on"
        case Input() | Neuron() | Resize() | Embedding() | Position() | Output():
            return "reads"
    assert_never(node)


def _fold_units(graph: Graph) -> Graph:
    unit_of = _foldable_units(graph)

    def rewrite(node: Node) -> Node:
        match node:
            case Neuron(dynamics=dynamics):
                if node.name not in unit_of:
                    return node
                assert dynamics is not None
                return replace(node, dynamics=replace(dynamics, unit=1.0))
            case Synapse(factors=(first, *rest)):
                unit = unit_of.get(node.inputs[0], 1.0)
                if unit == 1.0:
                    return node
                counted = replace(first, weight=first.weight * unit, step=_times(first.step, unit))
                return replace(node, factors=(counted, *rest))
            case AttentionProduct() | SpikeSum() | CurrentProduct() | MaskProduct() | Sample():
                scale = node.scale
                for name in node.inputs:
                    scale *= unit_of.get(name, 1.0)
                return replace(node, scale=scale)
            case _:
                assert _does_with_units(node) != "takes in"
                return node

    return replace(graph, nodes=tuple(rewrite(node) for node in graph.nodes))
