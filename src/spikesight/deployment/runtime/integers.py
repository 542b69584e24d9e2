"""Runs an integer network once for all its sub-steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import torch
from torch import Tensor

from spikesight.attention.gate import gate, spike_sum
from spikesight.deployment.runtime import arithmetic
from spikesight.deployment.runtime.segmenter import run_segmenter_node
from spikesight.graph.integer_vocabulary import (
    IntegerAdd,
    IntegerAttention,
    IntegerEmbedding,
    IntegerGate,
    IntegerGraph,
    IntegerInput,
    IntegerMaskProduct,
    IntegerMaxPool,
    IntegerNeuron,
    IntegerNode,
    IntegerOutput,
    IntegerPool,
    IntegerPosition,
    IntegerResize,
    IntegerSample,
    IntegerSpikeSum,
    IntegerSynapse,
)
from spikesight.passes.ranges import EXACT_IN_FLOAT32, accumulator, potential_of, prove_ranges
from spikesight.presentation import present

Counts = dict[str, Tensor]
Observer = Callable[[IntegerNode, Tensor], None]


class IntegerExecutor:
    """Runs a network over all time steps at once.

    A float32 holds each integer below 2^24, so a layer whose partial sums are proved to stay below
    it runs in float32, in whatever order the library adds; the others run in float64.

    Args:
        graph: The network.
        device: Where to run. Away from the CPU products are summed in float64, because kernels
            there may transform convolutions or shorten operands.
    """

    def __init__(self, graph: IntegerGraph, device: torch.device | str = "cpu") -> None:
        self.graph = graph
        self.device = torch.device(device)
        self._reaches = prove_ranges(graph)
        self._dtypes = {node.name: self._dtype(node) for node in graph.nodes}
        self._weights = {
            node.name: node.weight.to(self.device, self._dtypes[node.name])
            for node in graph.nodes
            if isinstance(node, IntegerSynapse)
        }
        self._last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}

    @torch.inference_mode()
    def __call__(self, x: Tensor, observe: Observer | None = None) -> Tensor:
        """Runs the network from rest.

        Args:
            x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].
            observe: Called after each node with the node and its output, time-major [T*B, ...].

        Returns:
            Integer logits [B, K], int32, summed over time; of several outputs the last.
        """
        return self.run(x, observe)[-1]

    @torch.inference_mode()
    def run(self, x: Tensor, observe: Observer | None = None) -> tuple[Tensor, ...]:
        """Is a call for networks with several outputs; returns all of them in order, int32."""
        values: dict[str, Tensor] = {}
        pixels: dict[str, int] = {}
        outputs = []
        for position, node in enumerate(self.graph.nodes):
            inputs = [values[name] for name in node.inputs] or [x.to(self.device)]
            if (summed := arithmetic.summed_map(node, inputs)) is not None:
                pixels[node.name] = summed.shape[-1] * summed.shape[-2]
            result = values[node.name] = self._run(node, inputs, pixels)
            if isinstance(node, IntegerOutput):
                outputs.append(result.to(torch.int32))
            if observe is not None:
                observe(node, result)
            for name in node.inputs:
                if self._last_use[name] == position:
                    values.pop(name, None)
        return tuple(outputs)

    def observe(self, x: Tensor) -> tuple[Counts, Tensor]:
        """Runs the network, as the runtimes' `observe` does.

        Args:
            x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].

        Returns:
            The counts of every neuron, time-major [T*B, ...], by name; and the integer logits
            [B, K], int32, those of several outputs in one row. All on the CPU.
        """
        counts: Counts = {}

        def record(node: IntegerNode, output: Tensor) -> None:
            if isinstance(node, IntegerNeuron):
                counts[node.name] = output.cpu()

        outputs = self.run(x, record)
        return counts, arithmetic.joined(outputs).cpu()

    def _dtype(self, node: IntegerNode) -> torch.dtype:
        """float32 where it is exact for the node's arithmetic."""
        if isinstance(node, IntegerResize | IntegerSample):
            return torch.float64
        magnitude = self._reaches[node.name].interval.magnitude
        sources = [self._reaches[name] for name in node.inputs]
        if isinstance(node, IntegerSynapse):
            magnitude = max(magnitude, accumulator(node, sources[0].interval).magnitude)
        elif isinstance(node, IntegerNeuron):
            magnitude = potential_of(node, self._reaches)
        elif isinstance(node, IntegerAdd):
            magnitude = max(magnitude, *(source.interval.magnitude for source in sources))
        elsewhere = self.device.type != "cpu" and isinstance(
            node, IntegerSynapse | IntegerAttention | IntegerMaskProduct
        )
        return torch.float64 if elsewhere or magnitude >= EXACT_IN_FLOAT32 else torch.float32

    def _run(self, node: IntegerNode, inputs: list[Tensor], pixels: dict[str, int]) -> Tensor:
        dtype = self._dtypes[node.name]
        match node:
            case IntegerInput():
                return present(arithmetic.quantise_image(node, inputs[0]), node.steps).to(dtype)
            case IntegerSynapse():
                total = arithmetic.accumulate(node, inputs[0].to(dtype), self._weights[node.name])
                return arithmetic.shift_and_bias(node, total)
            case IntegerNeuron(rounding=None):
                return _compare(node, inputs[0].to(dtype), pixels.get(node.inputs[0], 1)).float()
            case IntegerNeuron():
                return _round(node, inputs[0].float())
            case IntegerAdd():
                return inputs[0].to(dtype) + inputs[1].to(dtype)
            case IntegerGate():
                return gate(*(x.to(dtype) for x in inputs))
            case IntegerSpikeSum(over=over, heads=heads):
                return spike_sum(inputs[0].to(dtype), over, heads)
            case IntegerAttention():
                query, key, value = (x.to(dtype) for x in inputs)
                context = arithmetic.attention_context(key, value, node.heads)
                return arithmetic.attend(context, query)
            case IntegerPool():
                return inputs[0].to(dtype).sum((-2, -1))
            case IntegerMaxPool():
                return arithmetic.maximum(node, inputs[0].to(dtype))
            case IntegerOutput():
                frames: Tensor = inputs[0].to(dtype).unflatten(0, (node.steps, -1))
                return arithmetic.arrange_output(node, frames.sum(0))
            case (
                IntegerEmbedding()
                | IntegerPosition()
                | IntegerResize()
                | IntegerSample()
                | IntegerMaskProduct()
            ):
                return run_segmenter_node(node, [x.to(dtype) for x in inputs])
        assert_never(node)


def _compare(node: IntegerNeuron, current: Tensor, pixels: int) -> Tensor:
    counts = []
    membrane: Tensor | None = None
    for current_t in current.unflatten(0, (node.steps, -1)).unbind(0):
        potential = arithmetic.charge(node, current_t, membrane, pixels)
        count = torch.zeros_like(potential)
        for level in range(node.levels):
            count += arithmetic.reached(node, level, potential, pixels)
        membrane = arithmetic.reset(node, potential, count, pixels)
        counts.append(count)
    return torch.cat(counts)


def _round(node: IntegerNeuron, current: Tensor) -> Tensor:
    assert node.rounding is not None
    gain = arithmetic.per_channel(node.rounding.gain, current)
    offset = arithmetic.per_channel(node.rounding.offset, current)
    return (current * gain).add_(offset).round_().clamp_(0, node.levels)
