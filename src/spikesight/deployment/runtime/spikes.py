"""Runs an integer network as T x D steps of binary spikes, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spikesight.attention.current_product import sums_of_current
from spikesight.attention.gate import gate, spike_sum
from spikesight.deployment.runtime import arithmetic
from spikesight.deployment.runtime.arithmetic import total
from spikesight.deployment.runtime.segmenter import run_segmenter_node
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.unrolling import Spikes, expanded
from spikesight.presentation import present

SpikeObserver = Callable[[integer.Neuron, int, Spikes], None]


class SpikeExecutor:
    """Simulates a network in T time steps of D binary sub-steps.

    Every synapse reads tensors of 0 and 1 and accumulates its weights over the sub-steps; shift
    and bias come once per time step. An attention product expands one operand into spikes and keeps
    the other as accumulated integers. A sum of two counts is the sub-steps of both, a gate each
    sub-step of one AND each of the other. A maximum of currents is taken once per time step; a
    current is accumulated before a product adds it once per spike. Only the first synapse, which
    reads the image, and a synapse that reads another synapse or currents multiply.

    Args:
        graph: The network.
        device: Where to run.
    """

    def __init__(self, graph: integer.Graph, device: torch.device | str = "cpu") -> None:
        self.graph = graph
        self.device = torch.device(device)
        self._weights = {
            node.name: node.weight.to(self.device, torch.float64)
            for node in graph.nodes
            if isinstance(node, integer.Synapse)
        }

    @torch.inference_mode()
    def __call__(self, x: Tensor, observe: SpikeObserver | None = None) -> Tensor:
        """Runs the simulation from rest.

        Args:
            x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].
            observe: Called for every neuron and time step with the neuron, the time step and its
                D spike tensors [B, ...].

        Returns:
            Integer logits [B, K], int32, summed over time; of several outputs the last.
        """
        return self.run(x, observe)[-1]

    @torch.inference_mode()
    def run(self, x: Tensor, observe: SpikeObserver | None = None) -> tuple[Tensor, ...]:
        """Is a call for networks with several outputs; returns all of them in order, int32."""
        steps = self.graph.input.steps
        image = arithmetic.quantise_image(self.graph.input, x.to(self.device)).double()
        membranes: dict[str, Tensor] = {}
        totals: dict[str, Tensor] = {}
        for t, frame in enumerate(present(image, steps).unflatten(0, (steps, -1))):
            values: dict[str, Tensor | Spikes] = {}
            pixels: dict[str, int] = {}
            for node in self.graph.nodes:
                inputs = [values[name] for name in node.inputs] or [frame]
                if isinstance(node, integer.Pool | integer.Attention):
                    summed = arithmetic.summed_map(node, [expanded(value)[0] for value in inputs])
                    pixels[node.name] = 1 if summed is None else summed[0, 0].numel()
                if isinstance(node, integer.Neuron):
                    spikes = _fire(node, total(inputs[0]), membranes, pixels)
                    values[node.name] = spikes
                    if observe is not None:
                        observe(node, t, spikes)
                else:
                    values[node.name] = self._run(node, inputs)
            for output in self.graph.outputs:
                logits = total(values[output.name])
                totals[output.name] = totals.get(output.name, torch.zeros_like(logits)) + logits
        return tuple(
            arithmetic.arrange_output(node, totals[node.name]).to(torch.int32)
            for node in self.graph.outputs
        )

    def _run(self, node: integer.Node, inputs: list[Tensor | Spikes]) -> Tensor | Spikes:
        assert not isinstance(node, integer.Neuron)
        match node:
            case integer.Input() | integer.Output():
                return total(inputs[0])
            case integer.Synapse():
                weight = self._weights[node.name]
                parts = [arithmetic.accumulate(node, s, weight) for s in expanded(inputs[0])]
                return arithmetic.shift_and_bias(node, total(parts))
            case integer.Add():
                first, second = inputs
                if isinstance(first, list) and isinstance(second, list):
                    return first + second
                return total(first) + total(second)
            case integer.Gate():
                return [gate(x, by) for x in expanded(inputs[0]) for by in expanded(inputs[1])]
            case integer.SpikeSum(over=over, heads=heads):
                return total([spike_sum(s, over, heads) for s in expanded(inputs[0])])
            case integer.CurrentProduct(over=over, heads=heads):
                current = total(inputs[0])
                return total(
                    [sums_of_current(current, s, over, heads) for s in expanded(inputs[1])]
                )
            case integer.MaxPool():
                if isinstance(inputs[0], list):
                    return [arithmetic.maximum(node, spikes) for spikes in inputs[0]]
                return arithmetic.maximum(node, inputs[0])
            case integer.Attention():
                queries, keys, values = inputs
                summed = total(values)
                context = total(
                    [arithmetic.attention_context(k, summed, node.heads) for k in expanded(keys)]
                )
                return total([arithmetic.attend(context, q) for q in expanded(queries)])
            case integer.Pool():
                return total(inputs[0]).sum((-2, -1))
        return run_segmenter_node(node, inputs)


def _fire(
    node: integer.Neuron, current: Tensor, membranes: dict[str, Tensor], pixels: dict[str, int]
) -> Spikes:
    summed = pixels.get(node.inputs[0], 1)
    potential = arithmetic.charge(node, current, membranes.get(node.name), summed)
    spikes = [
        arithmetic.reached(node, level, potential, summed).double() for level in range(node.levels)
    ]
    if node.steps > 1:
        membranes[node.name] = arithmetic.reset(node, potential, total(spikes), summed)
    return spikes
