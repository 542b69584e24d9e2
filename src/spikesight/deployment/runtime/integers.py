"""Runs an integer network once for all its sub-steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import torch
from torch import Tensor

from spikesight.attention.current_product import sums_of_current
from spikesight.attention.gate import gate, spike_sum
from spikesight.deployment.runtime import arithmetic
from spikesight.deployment.runtime.segmenter import run_segmenter_node
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import EXACT_IN_FLOAT32, potential_of, prove_ranges
from spikesight.presentation import present

Counts = dict[str, Tensor]
Observer = Callable[[integer.Node, Tensor], None]


class IntegerExecutor:
    """Runs a network over all time steps at once.

    A float32 holds each integer below 2^24, so a layer whose partial sums are proved to stay below
    it runs in float32, in whatever order the library adds; the others run in float64.

    Args:
        graph: The network.
        device: Where to run. Away from the CPU products are summed in float64, because kernels
            there may transform convolutions or shorten operands.
    """

    def __init__(self, graph: integer.Graph, device: torch.device | str = "cpu") -> None:
        self.graph = graph
        self.device = torch.device(device)
        self._reaches = prove_ranges(graph)
        self._dtypes = {node.name: self._dtype(node) for node in graph.nodes}
        self._weights = {
            node.name: node.weight.to(self.device, self._dtypes[node.name])
            for node in graph.nodes
            if isinstance(node, integer.Synapse)
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
            if isinstance(node, integer.Output):
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

        def record(node: integer.Node, output: Tensor) -> None:
            if isinstance(node, integer.Neuron):
                counts[node.name] = output.cpu()

        outputs = self.run(x, record)
        return counts, arithmetic.joined(outputs).cpu()

    def _dtype(self, node: integer.Node) -> torch.dtype:
        """float32 where it is exact for the node's arithmetic."""
        if isinstance(node, integer.Resize | integer.Sample):
            return torch.float64
        reach = self._reaches[node.name]
        magnitude = reach.interval.magnitude
        sources = [self._reaches[name] for name in node.inputs]
        if reach.accumulated is not None:
            magnitude = max(magnitude, reach.accumulated.magnitude)
        elif isinstance(node, integer.Neuron):
            magnitude = potential_of(node, self._reaches)
        elif isinstance(node, integer.Add):
            magnitude = max(magnitude, *(source.interval.magnitude for source in sources))
        elsewhere = self.device.type != "cpu" and isinstance(
            node,
            integer.Synapse | integer.Attention | integer.CurrentProduct | integer.MaskProduct,
        )
        return torch.float64 if elsewhere or magnitude >= EXACT_IN_FLOAT32 else torch.float32

    def _run(self, node: integer.Node, inputs: list[Tensor], pixels: dict[str, int]) -> Tensor:
        dtype = self._dtypes[node.name]
        match node:
            case integer.Input():
                return present(arithmetic.quantise_image(node, inputs[0]), node.steps).to(dtype)
            case integer.Synapse():
                total = arithmetic.accumulate(node, inputs[0].to(dtype), self._weights[node.name])
                return arithmetic.shift_and_bias(node, total)
            case integer.Neuron(rounding=None):
                return _compare(node, inputs[0].to(dtype), pixels.get(node.inputs[0], 1)).float()
            case integer.Neuron():
                return _round(node, inputs[0].float())
            case integer.Add():
                return inputs[0].to(dtype) + inputs[1].to(dtype)
            case integer.Gate():
                return gate(*(x.to(dtype) for x in inputs))
            case integer.SpikeSum(over=over, heads=heads):
                return spike_sum(inputs[0].to(dtype), over, heads)
            case integer.CurrentProduct(over=over, heads=heads):
                current, spikes = (x.to(dtype) for x in inputs)
                return sums_of_current(current, spikes, over, heads)
            case integer.Attention():
                query, key, value = (x.to(dtype) for x in inputs)
                context = arithmetic.attention_context(key, value, node.heads)
                return arithmetic.attend(context, query)
            case integer.Pool():
                return inputs[0].to(dtype).sum((-2, -1))
            case integer.MaxPool():
                return arithmetic.maximum(node, inputs[0].to(dtype))
            case integer.Output():
                frames: Tensor = inputs[0].to(dtype).unflatten(0, (node.steps, -1))
                return arithmetic.arrange_output(node, frames.sum(0))
            case (
                integer.Embedding()
                | integer.Position()
                | integer.Resize()
                | integer.Sample()
                | integer.MaskProduct()
            ):
                return run_segmenter_node(node, [x.to(dtype) for x in inputs])
        assert_never(node)


def _compare(node: integer.Neuron, current: Tensor, pixels: int) -> Tensor:
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


def _round(node: integer.Neuron, current: Tensor) -> Tensor:
    assert node.rounding is not None
    gain = arithmetic.per_channel(node.rounding.gain, current)
    offset = arithmetic.per_channel(node.rounding.offset, current)
    return (current * gain).add_(offset).round_().clamp_(0, node.levels)
