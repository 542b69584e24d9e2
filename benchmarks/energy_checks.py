"""Our counts and prices beside SpikingJelly's and NeuroBench's, layer by layer, on the same spikes.

    pip install spikingjelly==2.0.0
    pip install --no-deps neurobench==2.3.0
    python benchmarks/energy_checks.py --write docs/energy_checks.md

A small Meta-SpikeFormer looks at random images. The counts that each of its synapses reads are
unrolled into binary spikes, and the same kernel, as a layer of PyTorch, reads them under three
profilers of SpikingJelly 2.0.0 (SynOpCounter, the weight reads of NeuromorphicMemoryAccessCounter
and LemaireEnergyProfiler) and under NeuroBench 2.3.0's count of effective operations. Ours is
`spikesight.energy` of the network and its cost model `memory`, with the memory prices that
SpikingJelly interpolates (0 pJ at 0 bytes) and its spike queue.
"""

from __future__ import annotations

import copy
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

import spikesight as ss
from jelly import INSTALL, is_installed
from spikesight.costs.cost_models import MemoryHierarchy
from spikesight.costs.forms import SPIKES
from spikesight.costs.work import Work
from spikesight.graph import Neuron, Synapse, execute
from spikesight.graph.vocabulary import Affine
from spikesight.passes.folding import fold
from spikesight.processor import processor_name

_INSTALL_NEUROBENCH = "pip install --no-deps neurobench==2.3.0"

INTRODUCTION = """# Energy: our counts beside SpikingJelly's and NeuroBench's

`benchmarks/energy_checks.py` gives the same binary spikes to the same kernels: `spikesight.energy`
counts what they cause, and so do three profilers of SpikingJelly 2.0.0, and NeuroBench 2.3.0.

- Synaptic operations: `SynOpCounter` counts a spike's additions at the outputs that it reaches, as
  ours do: equal to the last one.
- NeuroBench's effective accumulates count nonzero inputs at nonzero weights where they are reached:
  the same here, where no weight is zero. Of a pruned network it counts fewer: ours has every weight
  of a channel that spikes added, as an engine does that does not look for zero weights. Its metric
  asks for inputs of -1, 0 or 1; what a layer of counts does it calls multiply-accumulates.
- Weight reads: `NeuromorphicMemoryAccessCounter` reads a weight per synaptic operation, as `memory`
  does here.
- Joules: `LemaireEnergyProfiler` follows the same paper as the cost model `memory`, here with its
  interpolation (0 pJ at 0 bytes) and its queue. It lets every spike reach all places of the kernel
  in the membrane and the weights, also beyond the border of the map and between strides, where
  nothing is; ours pays for what is reached. Of matrices and 1x1 kernels the two are equal.
  Neurons are left out on both sides.
"""


@dataclass(frozen=True)
class Row:
    """One synapse, by ours and by theirs."""

    name: str
    kernel: str
    synaptic_operations: tuple[float, float]
    effective_accumulates: float
    weight_reads: tuple[float, float]
    picojoules: tuple[float, float]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="metaspikformer_nano")
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--size", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--write", type=Path, help="Markdown file to write the table to")
    options = parser.parse_args(arguments)
    if not is_installed():
        raise SystemExit(f"SpikingJelly is not installed: {INSTALL}")
    if find_spec("neurobench") is None:
        raise SystemExit(f"NeuroBench is not installed: {_INSTALL_NEUROBENCH}")
    torch.manual_seed(0)
    model = ss.create_model(options.model, num_classes=10, levels=options.levels)
    images = 3 * torch.rand(options.images, 3, options.size, options.size)
    rows = compare(awake(model, images), images)
    text = page(rows, options.model, options.levels, options.images)
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


def awake(model: ss.SpikingModel, images: Tensor) -> ss.SpikingModel:
    """The model with normalisations at which its neurons fire."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 2.0)
            nn.init.uniform_(module.bias, 0.0, 0.8)
            module.momentum = 0.5
    with torch.no_grad():
        for _ in range(4):
            model.train()(images)
    return model.eval()


def compare(model: ss.SpikingModel, images: Tensor) -> list[Row]:
    """Every synapse that reads a neuron's counts, measured both ways."""
    works = {work.name: work for work in ss.energy(model, images).works}
    graph = fold(ss.trace(model))
    values: dict[str, Tensor] = {}
    execute(graph, images, lambda node, _, output: values.update({node.name: output}))
    rows = []
    for node in graph.nodes:
        source = graph.by_name[node.inputs[0]] if node.inputs else None
        if not isinstance(node, Synapse) or not isinstance(source, Neuron):
            continue
        assert source.dynamics is not None
        counts = (values[source.name] / source.dynamics.unit).round()
        levels = range(1, source.dynamics.levels + 1)
        spikes = torch.cat([(counts >= level).float() for level in levels])
        rows.append(measure(works[node.name], node.factors[0], spikes, len(images)))
    return rows


def measure(work: Work, factor: Affine, spikes: Tensor, samples: int) -> Row:
    """One synapse.

    Args:
        work: What ours says of it.
        factor: Its kernel.
        spikes: What it reads, sub-step by sub-step, [D*T*N, C, ...].
        samples: N.
    """
    from spikingjelly.activation_based.op_counter import (
        DispatchCounterMode,
        LemaireEnergyConfig,
        LemaireEnergyProfiler,
        ModuleCounterMode,
        NeuromorphicMemoryAccessCounter,
        SynOpCounter,
    )

    layer = as_layer(factor)
    operations, reads = SynOpCounter(), NeuromorphicMemoryAccessCounter()
    with torch.no_grad(), DispatchCounterMode([operations]):
        layer(spikes)
    with torch.no_grad(), ModuleCounterMode([reads], model=layer):
        layer(spikes)
    profiler = LemaireEnergyProfiler(config=LemaireEnergyConfig(snn_fifo_capacity_elements=2048))
    profiler.bind_model(layer)
    with torch.no_grad(), profiler:
        # One sub-step after the other: their membranes are those of one.
        for sub_step in spikes.split(1):
            layer(sub_step)
    report = profiler.get_report()
    ours = MemoryHierarchy(sizes=(0, 8192, 32768, 1048576), accesses=(0, 10, 20, 100)).cost(
        work, SPIKES
    )
    assert ours is not None
    kernel = "matrix" if factor.is_linear else f"{factor.weight.shape[-1]}, {factor.stride}"
    return Row(
        work.name,
        kernel,
        (float(work.spike_additions.sum()), float(operations.get_total())),
        effective_accumulates(layer, spikes),
        (float(work.spike_additions.sum()), reads.get_total() / 4),
        (float(ours.mean().total) * samples, report.total_pj),
    )


def effective_accumulates(layer: nn.Module, spikes: Tensor) -> float:
    """What NeuroBench's metric counts of a layer, in float64, as float32 would round sums."""
    from neurobench.metrics.utils.layers import single_layer_MACs

    count, is_spiking = single_layer_MACs(spikes.double(), copy.deepcopy(layer).double())
    assert is_spiking
    return float(count)


def as_layer(factor: Affine) -> nn.Module:
    """The kernel as a layer of PyTorch, without bias."""
    weight = factor.weight.detach().float()
    layer: nn.Linear | nn.Conv2d
    if factor.is_linear:
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    else:
        layer = nn.Conv2d(
            weight.shape[1] * factor.groups, weight.shape[0], (weight.shape[2], weight.shape[3]),
            factor.stride, factor.padding, groups=factor.groups, bias=False,
        )  # fmt: skip
    layer.weight.data = weight
    return layer.eval()


def page(rows: Sequence[Row], model: str, levels: int, samples: int) -> str:
    """The comparison as Markdown."""
    lines = [
        "| synapse | kernel, stride | synaptic operations | SynOpCounter | NeuroBench | "
        "weight reads, theirs | nJ, `memory` | LemaireEnergyProfiler |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        operations, reads, picojoules = row.synaptic_operations, row.weight_reads, row.picojoules
        lines.append(
            f"| {row.name} | {row.kernel} | {operations[0] / samples:,.0f} | "
            f"{operations[1] / samples:,.0f} | {row.effective_accumulates / samples:,.0f} | "
            f"{reads[1] / samples:,.0f} | "
            f"{picojoules[0] / samples / 1e3:,.1f} | {picojoules[1] / samples / 1e3:,.1f} |"
        )
    exact = sum({*row.synaptic_operations} == {row.effective_accumulates} for row in rows)
    return (
        f"{INTRODUCTION}\n"
        f"`{model}` with normalisations that fire, D = {levels}, per image, {processor_name()}, "
        f"{date.today().isoformat()}. All three count the same in {exact} of {len(rows)} "
        f"layers.\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
