"""From a model to its graph."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from typing import Any, assert_never

import torch
from torch import Tensor, fx, nn

from spikesight import attention, neurons, synapses
from spikesight.errors import UserError
from spikesight.graph.remedies import remedy
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
from spikesight.presentation import GlobalPool, Presentation, QueryReadout, Readout
from spikesight.synapses.normalisation import gain_and_shift

Leaf = (
    Presentation
    | neurons.Neuron
    | neurons.SigmoidNeuron
    | synapses.Synapse
    | synapses.BilinearResize
    | attention.AttentionProduct
    | attention.CurrentProduct
    | attention.DeformableSampling
    | attention.Gate
    | attention.LearnedEmbedding
    | attention.MaskProduct
    | attention.Rearrange
    | attention.SinePosition
    | attention.SpikeSum
    | GlobalPool
    | nn.MaxPool2d
    | Readout
)
"""The modules that are nodes; every other one is what its forward makes of them."""

_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
_IN_PLACE = (operator.iadd, "add_")


class UntraceableError(UserError):
    """A model holds something that the vocabulary cannot say."""


class _Value(fx.Proxy):
    def __iadd__(self, other: Any) -> fx.Proxy:  # a Proxy would call it an addition to a new value
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class _Tracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Leaf):
            return True
        of_torch = super().is_leaf_module(m, module_qualified_name)
        return of_torch and not isinstance(m, nn.Identity)


def trace(model: nn.Module, example: Tensor | None = None) -> Graph:
    """Reads a model, in evaluation mode, as a graph of neurons and synapses.

    Normalisations enter with their running statistics. Nothing is folded yet.

    Args:
        model: A model of this library, or any module of its neurons and synapses whose input
            goes through `Presentation` and whose output through `Readout`. Of a model with host
            code within, such as Mask R-CNN, the graph is what reads the image, up to that code.
        example: An input; if given, its shape is checked against what the model takes.

    Returns:
        The graph; its tensors are detached and share no memory that training changes.

    Raises:
        UntraceableError: If the vocabulary cannot say an operation; names the module.
        UserError: If the model does not take the example.
    """
    return _in_evaluation(image_part(model), example)


def image_part(model: nn.Module) -> nn.Module:
    """What of a model `trace` takes: all of it, or up to its host code."""
    return next(iter(_parts(model).values()))


def trace_parts(model: nn.Module) -> dict[str, Graph]:
    """The graphs of a model between which there is host code, most often one.

    Args:
        model: As of `trace`.

    Returns:
        By the path of the module that each is; the nodes have their names in the whole model.

    Raises:
        UntraceableError: As `trace` does.
    """
    graphs = {}
    for path, part in _parts(model).items():
        graph, start = _in_evaluation(part, None), f"{path}." if path else ""
        nodes = (
            replace(node, name=start + node.name, inputs=tuple(start + n for n in node.inputs))
            for node in graph.nodes
        )
        graphs[path] = replace(graph, nodes=tuple(nodes))
    return graphs


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    parts = getattr(model, "graph_parts", None)
    return {"": model} if parts is None else parts()


def _in_evaluation(model: nn.Module, example: Tensor | None) -> Graph:
    in_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        return _read(model, example)
    finally:
        for module in in_training:
            module.training = True


def _read(model: nn.Module, example: Tensor | None) -> Graph:
    for module in model.modules():
        if (reason := getattr(module, "untraceable", None)) is not None:
            raise UntraceableError(str(reason))
    try:
        traced = _Tracer().trace(model)
    except Exception as error:
        raise UntraceableError(
            f"{type(model).__name__} cannot be traced: {error}; build its forward from neurons, "
            "synapses, attention products, additions and pools (ss.create_neuron, ss.ConvNorm, "
            "ss.AttentionProduct, ss.GlobalPool …) without control flow on tensors"
        ) from error
    modules = dict(model.named_modules())
    nodes: list[Node] = []
    values: dict[fx.Node, str] = {}
    of_outputs = _behind_outputs(traced)
    for node in traced.nodes:
        _check_in_place(node, traced, model)
        if node.op in ("placeholder", "output") or node not in of_outputs:
            continue
        if node.op == "call_module":
            name, module = str(node.target), modules[str(node.target)]
            if not isinstance(module, Leaf):
                kind = type(module).__name__
                raise UntraceableError(
                    f"{name} is a {kind}, which the vocabulary cannot say; {remedy(kind)}"
                )
            _check_forward(name, module)
            read = _read_by(node, name, module)
            if any(arg not in values for arg in read) != isinstance(module, Presentation):
                raise UntraceableError(_ends(model))
            inputs = tuple(values.get(arg, "") for arg in read)
            nodes += _nodes(_unique(name, nodes), module, inputs, model)
        elif isinstance(node.target, type) and is_dataclass(node.target):
            continue  # what the model returns, field by field
        elif node.target in _ADDITIONS and _adds_two(node, values):
            inputs = tuple(values[arg] for arg in node.args if isinstance(arg, fx.Node))
            nodes.append(Add(_unique(_owner(node) + "add", nodes), inputs))
        elif node.op == "get_attr":
            raise UntraceableError(
                f"{type(model).__name__} reads its tensor {node.target}, which the vocabulary "
                "cannot say; put it into a synapse: a bias, a normalisation or ss.LayerScale"
            )
        else:
            called = getattr(node.target, "__name__", str(node.target))
            raise UntraceableError(
                f"{_owner(node).rstrip('.') or type(model).__name__} calls {called}, which "
                f"the vocabulary cannot say; {remedy(called)}"
            )
        values[node] = nodes[-1].name
    if not nodes or not isinstance(nodes[-1], Output) or not isinstance(nodes[0], Input):
        raise UntraceableError(_ends(model))
    graph = Graph(tuple(nodes))
    _check_ends(graph, [values.get(node) for node in _returned(traced)], model)
    if example is not None:
        presentation = modules[graph.input.name]
        assert isinstance(presentation, Presentation)
        presentation.check(tuple(example.shape))
    return graph


def _ends(model: nn.Module) -> str:
    return (
        f"{type(model).__name__} must start with ss.Presentation(steps, channels, stride) and "
        "end with ss.Readout(steps), through which its input and its output go"
    )


def _behind_outputs(traced: fx.Graph) -> set[fx.Node]:
    """The nodes that what is returned depends on."""
    found = {traced.output_node()}
    for node in reversed(traced.nodes):
        if node in found:
            found.update(node.all_input_nodes)
    return found


def _returned(traced: fx.Graph) -> list[fx.Node]:
    """What the model returns, in order: a tensor, or those of a tuple or dataclass."""

    def flat(value: Any) -> Iterator[fx.Node]:
        if isinstance(value, fx.Node) and isinstance(value.target, type):
            yield from flat((*value.args, *value.kwargs.values()))
        elif isinstance(value, tuple | list):
            for part in value:
                yield from flat(part)
        elif isinstance(value, fx.Node):
            yield value

    return list(flat(traced.output_node().args[0]))


def _check_ends(graph: Graph, returned: list[str | None], model: nn.Module) -> None:
    """Refuses what would be another network in time, or with other outputs, than the model."""
    kind = type(model).__name__
    inputs = [node for node in graph.nodes if isinstance(node, Input)]
    if len(inputs) > 1:
        raise UntraceableError(
            f"{kind} presents its input {len(inputs)} times, at {inputs[1].name} too; call one "
            "ss.Presentation once and let every part read what it gives"
        )
    if returned != [node.name for node in graph.outputs]:
        raise UntraceableError(
            f"{kind} must return the outputs of its ss.Readout, each once and in the order in "
            f"which they are computed ({', '.join(node.name for node in graph.outputs)}), as a "
            "tensor, tuple or dataclass"
        )
    for node in graph.nodes:
        own = node.dynamics if isinstance(node, Neuron) else node
        steps = getattr(own, "steps", graph.input.steps)
        if steps != graph.input.steps:
            raise UntraceableError(
                f"{node.name} has steps={steps} and {graph.input.name} {graph.input.steps}; build "
                "all parts of a model with the same steps"
            )


def _check_forward(name: str, module: nn.Module) -> None:
    """Refuses a part with a forward of the user's, which its node would not compute."""
    home = str(getattr(module.forward, "__module__", None)).partition(".")[0]
    if home not in ("spikesight", "torch") and not isinstance(module, neurons.Neuron):
        known = next(
            k for k in type(module).__mro__ if k.__module__.startswith(("spikesight", "torch"))
        )
        raise UntraceableError(
            f"{name} is a {type(module).__name__}, which computes by a forward of its own, so that "
            f"no graph knows it; use a {known.__name__} as it is, and say what is added in the "
            "forward of the module that calls it"
        )


def _check_in_place(node: fx.Node, traced: fx.Graph, model: nn.Module) -> None:
    """Refuses to add to a value that is read again under its old name."""
    if node.target not in _IN_PLACE or not isinstance(changed := node.args[0], fx.Node):
        return
    order = list(traced.nodes)
    if any(order.index(user) > order.index(node) for user in changed.users):
        raise UntraceableError(
            f"{_owner(node).rstrip('.') or type(model).__name__} adds to {changed.name} in place "
            "and reads it again; write y = x + z instead of x += z"
        )


def _adds_two(node: fx.Node, values: dict[fx.Node, str]) -> bool:
    both = all(isinstance(arg, fx.Node) and arg in values for arg in node.args)
    return both and len(node.args) == 2 and not node.kwargs


def _read_by(node: fx.Node, name: str, module: nn.Module) -> list[fx.Node]:
    """The values that a module is called with, in the order of its forward's parameters."""
    try:
        bound = inspect.signature(module.forward).bind(*node.args, **node.kwargs)
    except TypeError as error:
        raise UntraceableError(
            f"{name} is called in a way that it does not take ({error}); pass the "
            "values that it reads by position"
        ) from None
    flat = (
        v
        for value in (*bound.args, *bound.kwargs.values())
        for v in (value if isinstance(value, tuple | list) else (value,))
    )
    read = [value for value in flat if isinstance(value, fx.Node)]
    if isinstance(module, neurons.Neuron) and len(read) != 1:
        raise UntraceableError(
            f"{name} is called with a membrane, which no graph can say: its neurons start from "
            "rest; pass the currents alone"
        )
    return read


def _owner(node: fx.Node) -> str:
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] for entry in stack.values()]
    return f"{paths[-1]}." if paths and paths[-1] else ""


def _unique(name: str, nodes: list[Node]) -> str:
    taken = {node.name for node in nodes}
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    return candidate


def _behind_sigmoid(
    name: str, module: neurons.SigmoidNeuron, inputs: tuple[str, ...], model: nn.Module
) -> tuple[Synapse, Neuron]:
    """A half is added: a rounding neuron then fires above zero, as it does behind a sigmoid."""
    neuron = module.neuron
    assert isinstance(neuron, neurons.Neuron)
    dynamics = _dynamics(name, neuron)
    if dynamics is None or dynamics.steps > 1 or dynamics.threshold != 1:
        raise UntraceableError(
            f"{name} reads a sigmoid, which the vocabulary can say for a spiking neuron and one "
            f"time step alone; pass steps=1, or {module.kernel_remedy}"
        )
    like = next(model.parameters())
    ones = torch.ones(module.channels, dtype=like.dtype, device=like.device)
    factor = Affine(ones.view(-1, 1, 1, 1), 0.5 * ones, groups=module.channels)
    shift = Synapse(f"{name}.shift", inputs, (factor,))
    return shift, Neuron(f"{name}.neuron", (shift.name,), replace(dynamics, levels=1))


def _nodes(name: str, module: Leaf, inputs: tuple[str, ...], model: nn.Module) -> tuple[Node, ...]:
    """What a module is in the vocabulary, the last node being its output."""
    match module:
        case Presentation(steps=steps, channels=channels, stride=stride):
            return (Input(name, (), steps, channels, stride),)
        case neurons.Neuron():
            return (Neuron(name, inputs, _dynamics(name, module)),)
        case neurons.SigmoidNeuron():
            return _behind_sigmoid(name, module, inputs, model)
        case synapses.Synapse():
            return (Synapse(name, inputs, _factors(name, module)),)
        case synapses.BilinearResize():
            return (Resize(name, inputs, module.shifts),)
        case attention.AttentionProduct():
            return (AttentionProduct(name, inputs, module.heads, module.scale, module.mean),)
        case attention.CurrentProduct(heads=heads, over=over, summands=summands):
            rate = _copy(module.rate.frozen())
            return (CurrentProduct(name, inputs, over, heads, rate, summands),)
        case attention.DeformableSampling(groups=groups, side=side):
            grid, bits = module.single_precision_grid, module.offset_bits
            return (Sample(name, inputs, groups, side, 1.0, grid, bits),)
        case attention.Gate():
            return (Gate(name, inputs),)
        case attention.LearnedEmbedding():
            return (Embedding(name, inputs, _copy(module.weight)),)
        case attention.MaskProduct():
            return (MaskProduct(name, inputs, module.inhibitory),)
        case attention.Rearrange():
            return (Rearrange(name, inputs, module.kind),)
        case attention.SinePosition():
            return (Position(name, inputs, module.channels),)
        case attention.SpikeSum():
            return (SpikeSum(name, inputs, module.over, module.heads, module.scale),)
        case GlobalPool():
            return (Pool(name, inputs),)
        case nn.MaxPool2d():
            return (_max_pool(name, module, inputs),)
        case Readout(steps=steps):
            return (Output(name, inputs, steps, isinstance(module, QueryReadout)),)
    assert_never(module)


def _dynamics(name: str, neuron: neurons.Neuron) -> neurons.Dynamics | None:
    """The equations of a neuron; None for the ReLU of an analog twin."""
    if neuron.dynamics is None and type(neuron).forward is not neurons.ReLU.forward:
        raise UntraceableError(
            f"{name} is a {type(neuron).__name__}, which computes by a forward of its own; graphs "
            "know the equations of spikesight.Dynamics alone, so this model can be trained, "
            "evaluated and saved, and neither proved nor deployed. Give the neuron its constants "
            "by Dynamics and no forward, or use one of spikesight's neurons"
        )
    return neuron.dynamics


def _max_pool(name: str, pool: nn.MaxPool2d, inputs: tuple[str, ...]) -> MaxPool:
    sides = [
        {value, value} if isinstance(value, int) else set(value)
        for value in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    ]
    if any(len(side) != 1 for side in sides) or sides[3] != {1} or pool.ceil_mode:
        raise UntraceableError(
            f"{name}: only square windows without dilation and ceil_mode can be said, not {pool}"
        )
    kernel, stride, padding, _ = (side.pop() for side in sides)
    return MaxPool(name, inputs, kernel, stride, padding)


def _factors(name: str, synapse: synapses.Synapse) -> tuple[Affine, ...]:
    if isinstance(synapse, synapses.QuantizedSynapse | synapses.PackedSynapse):
        return tuple(
            Affine(
                _copy(kernel.weight),
                _copy(kernel.bias),
                kernel.stride,
                kernel.padding,
                kernel.groups,
                step=_copy(kernel.step),
            )
            for kernel in synapse.folded()
        )
    factors: list[Affine] = []
    pending: tuple[int, Tensor] | None = None
    for child_name, child in synapse.named_children():
        _check_forward(f"{name}.{child_name}", child)
        if isinstance(child, nn.Conv2d):
            factor = _convolution(f"{name}.{child_name}", child)
            if pending is not None:
                padding, border = pending
                assert child.padding == (0, 0)
                factor = replace(factor, padding=padding, border=border)
                pending = None
        elif isinstance(child, nn.Linear):
            weight, step = _weight(child)
            bias = None if child.bias is None else _copy(child.bias)
            factor = Affine(weight, bias, step=step)
        elif isinstance(child, nn.BatchNorm2d):
            factor = _normalisation(child)
        elif isinstance(child, synapses.BorderNorm):
            factor = _normalisation(child.norm)
            assert factor.bias is not None
            pending = (child.padding, factor.bias)
        elif isinstance(child, synapses.LayerScale):
            scale = _copy(child.rounded())
            factor = Affine(scale.view(-1, 1, 1, 1), groups=scale.numel())
        else:
            raise UntraceableError(
                f"{name}.{child_name} is a {type(child).__name__}, which no ss.Synapse can "
                "hold; use nn.Conv2d, nn.Linear, nn.BatchNorm2d, ss.BorderNorm or ss.LayerScale"
            )
        factors.append(factor)
    return tuple(factors)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _convolution(name: str, conv: nn.Conv2d) -> Affine:
    (stride, _), padding = conv.stride, conv.padding
    square = len(set(conv.stride)) == 1 and isinstance(padding, tuple) and len(set(padding)) == 1
    if not square or set(conv.dilation) != {1} or conv.padding_mode != "zeros":
        raise UntraceableError(
            f"{name}: only equal strides and zero paddings in both directions and no dilation can "
            f"be said, not {conv}"
        )
    assert isinstance(padding, tuple)
    bias = None if conv.bias is None else _copy(conv.bias)
    weight, step = _weight(conv)
    return Affine(weight, bias, stride, int(padding[0]), conv.groups, step=step)


def _weight(module: nn.Conv2d | nn.Linear) -> tuple[Tensor, Tensor | None]:
    if isinstance(module, synapses.QuantizedConv2d | synapses.QuantizedLinear):
        quantizer = module.quantizer
        return _copy(quantizer(module.weight)), _copy(quantizer.step())
    return _copy(module.weight), None


def _normalisation(norm: nn.BatchNorm2d) -> Affine:
    gain, shift = gain_and_shift(norm)
    return Affine(_copy(gain).view(-1, 1, 1, 1), _copy(shift), groups=gain.numel())
