"""Normalisations that the neuron or pooling behind them computes, while a model trains."""

from __future__ import annotations

from collections import Counter
from functools import partial
from types import TracebackType
from typing import Self

from torch import Tensor, nn

from spikesight.graph import Graph, Synapse as SynapseNode
from spikesight.graph.tracing import UntraceableError, trace_parts
from spikesight.neurons import Neuron
from spikesight.neurons.native_norm import fire_normalised
from spikesight.synapses import Synapse
from spikesight.synapses.native_pooling import max_pool


class fused_kernels:  # noqa: N801 - used like a function, as torch.no_grad is
    """Within a with block, neurons and max poolings compute the batch normalisation before them.

        with spikesight.fused_kernels(model):
            loss = criterion(model(images), labels)
            loss.backward()

    Where a neuron or a max pooling alone reads a synapse that ends with a batch normalisation, both
    are one pass over memory, which stores nothing between the two; other max poolings are computed
    by the native kernels too. This holds in training, with channels-last inputs and where there are
    native kernels; elsewhere the modules compute what they always do. Parameters, buffers and names
    of the model stay as they are.

    Within the block forward hooks see a synapse's output before its normalisation, and hooks of
    the normalisation are not called. A model that `trace` cannot read is left as it is.

    Args:
        model: The model that learns.

    Attributes:
        pairs: Names of synapse and reader.
        pools: Names of the other max poolings.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = dict(model.named_modules())
        self.pairs, self.pools = _find(model, self._modules)

    def __enter__(self) -> Self:
        """Joins them."""
        # Partial functions, so that a deep copy of the model has its own modules in them.
        for synapse_name, reader_name in self.pairs:
            synapse, reader = self._modules[synapse_name], self._modules[reader_name]
            assert isinstance(synapse, Synapse)
            norm = synapse[-1]
            assert isinstance(norm, nn.BatchNorm2d)
            synapse.__dict__["forward"] = partial(_without_norm, synapse)
            behind = _fire if isinstance(reader, Neuron) else _pool
            reader.__dict__["forward"] = partial(behind, reader, norm)
        for name in self.pools:
            pool = self._modules[name]
            pool.__dict__["forward"] = partial(_pool, pool, None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Parts them again."""
        for name in (*(name for pair in self.pairs for name in pair), *self.pools):
            self._modules[name].__dict__.pop("forward", None)


def _find(
    model: nn.Module, modules: dict[str, nn.Module]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    try:
        graphs = trace_parts(model).values()
    except UntraceableError:
        return (), ()
    pairs: list[tuple[str, str]] = []
    pools: list[str] = []
    for graph in graphs:
        _find_in(graph, modules, pairs, pools)
    return tuple(pairs), tuple(pools)


def _find_in(
    graph: Graph, modules: dict[str, nn.Module], pairs: list[tuple[str, str]], pools: list[str]
) -> None:
    nodes = {node.name: node for node in graph.nodes}
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    # A module that is called again is a node of its name and a number.
    often = {name.partition("#")[0] for name in nodes if "#" in name}
    for node in graph.nodes:
        reader = modules.get(node.name)
        if node.name in often or not (_is_plain_neuron(reader) or _is_plain_pool(reader)):
            continue
        source = nodes[node.inputs[0]]
        alone = isinstance(source, SynapseNode) and readers[source.name] == 1
        if alone and source.name not in often and _ends_with_norm(modules.get(source.name)):
            pairs.append((source.name, node.name))
        elif _is_plain_pool(reader):
            pools.append(node.name)


def _ends_with_norm(module: nn.Module | None) -> bool:
    return (
        isinstance(module, Synapse)
        and type(module).forward is nn.Sequential.forward
        and len(module) > 1
        and type(module[-1]) is nn.BatchNorm2d
        and not any("forward" in part.__dict__ for part in (module, module[-1]))
    )


def _is_plain_neuron(module: nn.Module | None) -> bool:
    return (
        isinstance(module, Neuron)
        and type(module).forward is Neuron.forward
        and module.levels > 0
        and "forward" not in module.__dict__
    )


def _is_plain_pool(module: nn.Module | None) -> bool:
    return type(module) is nn.MaxPool2d and "forward" not in module.__dict__


def _without_norm(synapse: Synapse, x: Tensor) -> Tensor:
    for child in list(synapse)[:-1]:
        x = child(x)
    return x


def _fire(neuron: Neuron, norm: nn.BatchNorm2d, current: Tensor) -> Tensor:
    return fire_normalised(current, norm, neuron)


def _pool(pool: nn.MaxPool2d, norm: nn.BatchNorm2d | None, current: Tensor) -> Tensor:
    return max_pool(current, pool, norm)
