"""Runs a graph: counts travel, time steps inside the neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesight.attention.current_product import current_product
from spikesight.attention.deformable_sampling import deformable_sample
from spikesight.attention.embedding import sine_position
from spikesight.attention.gate import gate, spike_sum
from spikesight.attention.mask_product import mask_product
from spikesight.attention.product import attention_product
from spikesight.attention.rearranging import rearrange
from spikesight.graph.vocabulary import (
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
from spikesight.neurons.dynamics import integrate
from spikesight.presentation import present
from spikesight.synapses.resizing import bilinear_resize

Observer = Callable[[Node, tuple[Tensor, ...], Tensor], None]
StaticNode = (
    Synapse
    | Add
    | AttentionProduct
    | Gate
    | SpikeSum
    | CurrentProduct
    | Pool
    | MaxPool
    | Resize
    | Sample
    | MaskProduct
    | Embedding
    | Position
    | Rearrange
)
"""Nodes that know neither time nor spikes."""


@torch.no_grad()
def execute(graph: Graph, x: Tensor, observe: Observer | None = None) -> Tensor:
    """Runs the graph on an input.

    Args:
        graph: The network.
        x: Images [B, C, H, W] or frames [B, T, C, H, W], in the graph's dtype.
        observe: Called after each node with the node, its input tensors and its output, all
            time-major [T*B, ...]. A neuron's output is its count times its unit.

    Returns:
        The output [B, K]; of several the last.

    Raises:
        UserError: If the network does not take the input.
    """
    return execute_all(graph, x, observe)[-1]


@torch.no_grad()
def execute_all(graph: Graph, x: Tensor, observe: Observer | None = None) -> tuple[Tensor, ...]:
    """Is `execute` for graphs with several outputs; returns all of them in order."""
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    values: dict[str, Tensor] = {}
    results = []
    for position, node in enumerate(graph.nodes):
        inputs = tuple(values[name] for name in node.inputs) or (x,)
        result = values[node.name] = _run(node, inputs)
        if isinstance(node, Output):
            results.append(result)
        if observe is not None:
            observe(node, inputs, result)
        for name in node.inputs:
            if last_use[name] == position:
                values.pop(name, None)
    return tuple(results)


def _run(node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    match node:
        case Input(steps=steps):
            node.check(tuple(inputs[0].shape))
            return present(inputs[0], steps)
        case Neuron(dynamics=None):
            return inputs[0].relu()
        case Neuron(dynamics=dynamics):
            assert dynamics is not None
            counts, _ = integrate(inputs[0].unflatten(0, (dynamics.steps, -1)), dynamics)
            return counts.flatten(0, 1) * dynamics.unit
        case Output(steps=steps):
            frames: Tensor = inputs[0].unflatten(0, (steps, -1))
            return arrange_output(node, frames.mean(0))
    return run_static(node, inputs)


def arrange_output(node: Output, mean: Tensor) -> Tensor:
    """What an output node returns of the mean over time [B, K] or [B, K, H, W]."""
    return mean.squeeze(2).transpose(1, 2) if node.of_queries else mean


def run_static(node: StaticNode, inputs: tuple[Tensor, ...]) -> Tensor:
    """Runs such a node on values [N, ...]."""
    match node:
        case Synapse(factors=factors):
            current = inputs[0]
            for factor in factors:
                current = apply_affine(factor, current)
            return current
        case Add():
            return inputs[0] + inputs[1]
        case AttentionProduct(heads=heads, scale=scale, mean=mean):
            query, key, value = inputs
            return attention_product(query, key, value, heads, scale, mean=mean)
        case Pool():
            return inputs[0].mean((-2, -1))
        case MaxPool():
            return max_pool(node, inputs[0])
        case Gate():
            return gate(*inputs)
        case SpikeSum(over=over, heads=heads, scale=scale):
            return spike_sum(inputs[0], over, heads) * scale
        case CurrentProduct(over=over, rate=rate, fixed_summands=summands, scale=scale):
            current, spikes = inputs
            return current_product(current, spikes, over, rate, summands) * scale
        case Sample(groups=groups, side=side, scale=scale):
            value, offset, weight = inputs
            grid, bits = node.single_precision_grid, node.offset_bits
            sampled = deformable_sample(
                value, offset, weight, groups, side, single_precision_grid=grid, offset_bits=bits
            )
            return sampled * scale
        case MaskProduct(scale=scale, inhibitory=inhibitory):
            embedding, features = inputs
            return mask_product(embedding, features, inhibitory) * scale
        case Resize(shifts=shifts):
            height, width = inputs[1].shape[-2:]
            return bilinear_resize(inputs[0], (height, width), shifts=shifts)
        case Embedding(value=value):
            return value.expand(inputs[0].shape[0], -1, -1, -1)
        case Position(channels=channels):
            height, width = inputs[0].shape[-2:]
            return sine_position(channels, height, width, inputs[0])
        case Rearrange(kind=kind):
            return rearrange(inputs[0], kind)
    assert_never(node)


def max_pool(node: MaxPool, x: Tensor) -> Tensor:
    """The maxima [N, C, H', W'] of a map [N, C, H, W]."""
    return F.max_pool2d(x, node.kernel, node.stride, node.padding)


def apply_affine(factor: Affine, x: Tensor, *, linear_part: bool = False) -> Tensor:
    """Applies one factor.

    Args:
        factor: The factor.
        x: [N, C, H, W], or [N, C] for a matrix.
        linear_part: Leave out bias and border, so that the result is linear in `x`.

    Returns:
        [N, C', H', W'] or [N, C'].
    """
    bias = None if linear_part else factor.bias
    if factor.is_linear:
        return F.linear(x, factor.weight, bias)
    if factor.is_diagonal:
        x = x * factor.weight.view(-1, 1, 1)
        return x if bias is None else x + bias.view(-1, 1, 1)
    if factor.border is None or linear_part:
        return F.conv2d(x, factor.weight, bias, factor.stride, factor.padding, 1, factor.groups)
    sides = (factor.padding,) * 4
    outside = F.pad(x.new_zeros(x.shape[-2:]), sides, value=1.0)
    x = F.pad(x, sides) + factor.border.view(1, -1, 1, 1) * outside
    return F.conv2d(x, factor.weight, bias, factor.stride, 0, 1, factor.groups)
