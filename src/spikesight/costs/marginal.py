"""What counts cost in picojoules, before any is seen: for training that spares the dear ones."""

from __future__ import annotations

import torch

from spikesight.costs.cost_models import CostModel
from spikesight.costs.forms import Form
from spikesight.costs.readers import cost_by_neuron, operand_macs
from spikesight.costs.work import Work, WorkMeter
from spikesight.graph import Graph, Node
from spikesight.graph.counts import counts_of


def reading_picojoules(
    graph: Graph, size: tuple[int, int], model: CostModel, form: Form
) -> dict[str, float]:
    """What those that read the counts of each neuron pay if every count is 1.

    Args:
        graph: A folded network.
        size: Height and width of its input.
        model: The cost model.
        form: How the network is computed.

    Returns:
        Per sample and time step, by the neuron's name; 0 where only real values come of it.
    """
    works = {work.name: work for work in _all_ones(graph, size)}
    shapes = graph.shapes(size)

    def costs(node: Node) -> dict[int, float]:
        work = works.get(node.name)
        macs = operand_macs(node, [shapes[name] for name in node.inputs])
        if work is None or not work.reads_counts or not (total := sum(macs.values())):
            return {}
        paid = _picojoules(work, model, form) - _picojoules(work.scaled(0.0), model, form)
        return {position: paid * share / total / work.steps for position, share in macs.items()}

    return cost_by_neuron(graph, costs)


def _picojoules(work: Work, model: CostModel, form: Form) -> float:
    cost = model.cost(work, form)
    assert cost is not None, f"{model.key} has no price for {form.title}"
    return float(cost.mean().total)


def _all_ones(graph: Graph, size: tuple[int, int]) -> tuple[Work, ...]:
    """The work of a network in which every count is 1."""
    meter, shapes, counted = WorkMeter(graph), graph.shapes(size), counts_of(graph)
    for node in graph.nodes:
        shape = shapes[node.name]
        unit = counted[node.name].unit if node.name in counted else 1.0
        meter.observe(node, torch.full((graph.input.steps, shape.channels, *shape.size), unit))
    return meter.report(1)
