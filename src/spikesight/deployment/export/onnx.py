"""The integer network as an ONNX model of standard operators.

Every number that the model computes is an integer, or an integer times a power of two, that its
type holds without rounding: float32 where the ranges stay below 2^24, float64 elsewhere. No
runtime can therefore get another result, whatever the order in which it adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spikesight.deployment.description import CARD_KEY, Tensors, described, scale_texts
from spikesight.deployment.export.exactness import (
    folded_neurons,
    output_names,
    prove_at,
    split_of,
)
from spikesight.deployment.export.onnx_runtime import OnnxRuntime
from spikesight.deployment.export.onnx_segmenter import lower_segmenter_node
from spikesight.deployment.export.self_test import KEY, SelfTest
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import EXACT_IN_FLOAT32, potential_of

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxRuntime", "to_onnx"]

OPSET = 18
_LOGICAL = ("GreaterOrEqual", "Equal", "And")
_IR_VERSION = 9
_Array = npt.NDArray[np.generic]


def to_onnx(
    graph: integer.Graph,
    size: tuple[int, int],
    *,
    observe: bool = False,
    frames: bool = False,
    bytes_table: Tensor | None = None,
    card: str | None = None,
) -> onnx.ModelProto:
    """Writes a network in ONNX's standard operators.

    The model reads "image", float32 [batch, C, H, W] of normalised values (or frames
    [batch, T, C, H, W]), and returns "logits", int32 [batch, K] (a class for every pixel:
    [batch, K, h, w]); of classified masks "class_logits" [batch, Q, K + 1] and "mask_logits"
    [batch, Q, h, w]; of several maps "logits_0", "logits_1" and so on, [batch, C, h, w] in the
    model's order. The batch is free. It carries a self-test, which `OnnxRuntime` runs, unless it is
    to be observed.

    Args:
        graph: The network.
        size: Height and width of the inputs.
        observe: Return the counts of every neuron too, time-major float32 [T*batch, ...], under
            the neurons' names.
        frames: Read one frame per time step instead of one image for all.
        bytes_table: What the network sees of each byte of each channel [C, 256], to read photos,
            uint8 [batch, H, W, C], instead of normalised images.
        card: How inputs are prepared and what classes are called, as run.json says it; the model
            carries it among its metadata, with what there is to say of the network.

    Returns:
        The model.

    Raises:
        ExportError: If no operator is exact; names the layer and the reason.
        UserError: If the network does not take this size.
    """
    return Lowering(graph, size, frames, bytes_table).run(observe=observe, card=card)


class Lowering:
    """Writes a network; values are names of tensors, and types say where float32 does not suffice.

    Attributes:
        onnx: The package.
        reaches: The reach of every node at the exported size.
        types: Types of the tensors by name.
    """

    def __init__(
        self,
        graph: integer.Graph,
        size: tuple[int, int],
        frames: bool,
        bytes_table: Tensor | None = None,
    ) -> None:
        import onnx

        self.onnx = onnx
        self.graph = graph
        self.tensors = Tensors(size, frames) if bytes_table is None else Tensors.photos(size)
        self.bytes_table = bytes_table
        self.frames = frames
        self.size = size
        self.reaches = prove_at(graph, size)
        self.folded = folded_neurons(graph)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.initialisers: list[onnx.TensorProto] = []
        self.layer = ""
        self.types: dict[str, type[np.generic]] = {
            "image": np.float32 if bytes_table is None else np.uint8
        }
        self.values: dict[str, str] = {}

    def run(self, *, observe: bool, card: str | None) -> onnx.ModelProto:
        """Writes all nodes; see `to_onnx`."""
        helper, types = self.onnx.helper, self.onnx.TensorProto
        for node in self.graph.nodes:
            self.layer = node.name
            inputs = [self.values[name] for name in node.inputs] or ["image"]
            self.values[node.name] = self._lower(node, inputs)
        shape = ["batch", *self.tensors.shape(self.graph.input)[1:]]
        kind = types.FLOAT if self.bytes_table is None else types.UINT8
        outputs = []
        for node, name in zip(self.graph.outputs, output_names(self.graph), strict=True):
            rank = 3 if node.of_queries else self._rank(self.graph.by_name[node.inputs[0]])
            free = ["batch", *[None] * (rank - 1)]
            outputs.append(helper.make_tensor_value_info(name, types.INT32, free))
            self.nodes.append(helper.make_node("Identity", [self.values[node.name]], [name]))
        if observe:
            for neuron in self.graph.neurons:
                rank = 1 + 1 + len(self.reaches[neuron.name].shape.size)
                counts = self.values[neuron.name]
                self.nodes.append(helper.make_node("Identity", [counts], [neuron.name]))
                outputs.append(
                    helper.make_tensor_value_info(neuron.name, types.FLOAT, [None] * rank)
                )
        model: onnx.ModelProto = helper.make_model(
            helper.make_graph(
                self.nodes,
                "spikesight",
                [helper.make_tensor_value_info("image", kind, shape)],
                outputs,
                self.initialisers,
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="spikesight",
        )
        carried = scale_texts(self.graph, self.size)
        carried[CARD_KEY] = described(card, self.graph, self.tensors)
        if not observe:
            test = SelfTest.of(
                self.graph, self.size, frames=self.frames, bytes_table=self.bytes_table
            )
            carried[KEY] = test.text()
        helper.set_model_props(model, carried)
        self.onnx.checker.check_model(model, full_check=True)
        return model

    def _lower(self, node: integer.Node, inputs: list[str]) -> str:
        reaches = [self.reaches[name].interval for name in (node.name, *node.inputs)]
        wide = any(reach.magnitude >= EXACT_IN_FLOAT32 for reach in reaches)
        match node:
            case integer.Input():
                return self._input(node, inputs[0])
            case integer.Synapse():
                return self._synapse(node, inputs[0], wide=wide)
            case integer.Neuron():
                return self._neuron(node, inputs[0])
            case integer.Add():
                return self.op("Add", *(self.cast(x, wide=wide) for x in inputs))
            case integer.Gate():
                return self._gate(node, [self.cast(x, wide=wide) for x in inputs])
            case integer.SpikeSum():
                return self._spike_sum(node, self.cast(inputs[0], wide=wide))
            case integer.CurrentProduct():
                return self._current_product(node, [self.cast(x, wide=wide) for x in inputs])
            case integer.Attention():
                return self._attention(node, [self.cast(x, wide=wide) for x in inputs])
            case integer.Pool():
                axes = self.constant(np.array([2, 3]))
                return self.op("ReduceSum", self.cast(inputs[0], wide=wide), axes, keepdims=0)
            case integer.MaxPool(kernel=kernel, stride=stride, padding=padding):
                return self.op(
                    "MaxPool",
                    self.cast(inputs[0], wide=wide),
                    kernel_shape=[kernel] * 2,
                    strides=[stride] * 2,
                    pads=[padding] * 4,
                )
            case integer.Output():
                return self._output(node, self.cast(inputs[0], wide=wide))
            case (
                integer.Embedding()
                | integer.Position()
                | integer.Resize()
                | integer.Sample()
                | integer.MaskProduct()
            ):
                return lower_segmenter_node(self, node, inputs, wide=wide)
        assert_never(node)

    def _output(self, node: integer.Output, total: str) -> str:
        channels, size = self._channels(node.inputs[0]), self.reaches[node.inputs[0]].shape.size
        if node.steps > 1:
            shape = self.constant(np.array([node.steps, -1, channels, *size]))
            by_step = self.op("Reshape", total, shape)
            total = self.op("ReduceSum", by_step, self.constant(np.array([0])), keepdims=0)
        if node.of_queries:
            total = self.op("Reshape", total, self.constant(np.array([0, channels, size[1]])))
            total = self.op("Transpose", total, perm=[0, 2, 1])
        return self.op("Cast", total, to=self.onnx.TensorProto.INT32)

    def _input(self, node: integer.Input, image: str) -> str:
        if self.frames:
            image = self.op("Transpose", image, perm=[1, 0, 2, 3, 4])
            image = self.op(
                "Reshape", image, self.constant(np.array([-1, node.channels, *self.size]))
            )
        if self.bytes_table is not None:
            x = self._look_up(image, self.bytes_table)
        else:
            x = self.op("Round", self.op("Mul", image, self.number(2.0**node.shift)))
            x = self.op("Clip", x, self.number(node.low), self.number(node.high))
        return x if self.frames or node.steps == 1 else self.op("Concat", *[x] * node.steps, axis=0)

    def _look_up(self, photo: str, table: Tensor) -> str:
        """The integers of bytes [batch, H, W, C], by channel: no arithmetic, no rounding."""
        channels = np.arange(len(table), dtype=np.int32).reshape(1, -1, 1, 1)
        by_channel = self.op("Transpose", photo, perm=[0, 3, 1, 2])
        value = self.typed("Cast", np.int32, by_channel, to=self.onnx.TensorProto.INT32)
        place = self.op("Add", value, self.constant(table.shape[1] * channels))
        return self.op("Gather", self.constant(_float32(table.flatten())), place, axis=0)

    def _synapse(self, node: integer.Synapse, source: str, *, wide: bool) -> str:
        neuron = self.folded.get(node.name)
        if neuron is not None and neuron.rounding is not None:
            return self._accumulate(node, source, neuron.rounding.gain, neuron.rounding.offset)
        scale = torch.exp2(node.shift.double())
        offset = node.bias.double() * torch.exp2(node.shift.double().clamp(max=0))
        bits = split_of(node, self.reaches[node.inputs[0]].interval)
        if bits or wide:
            total = self._accumulate_wide(node, source, bits)
            total = self._affine(total, scale, offset, self._rank(node))
        else:
            total = self._accumulate(node, source, scale, offset)
        return self.op("Floor", total) if bool((node.shift < 0).any()) else total

    def _accumulate(self, node: integer.Synapse, x: str, scale: Tensor, offset: Tensor) -> str:
        """Scale and offset enter kernel and bias; float32 holds their products."""
        weight = self.cast(self.constant(node.weight.to(torch.int8).numpy()), wide=False)
        if bool((scale != 1).any()):
            shape = (-1, *[1] * (node.weight.ndim - 1))
            weight = self.op("Mul", weight, self.constant(_float32(scale.reshape(shape))))
        inputs = [self.cast(x, wide=False), weight]
        if bool(offset.any()):
            inputs.append(self.constant(_float32(offset.expand(len(node.weight)))))
        if node.is_linear:
            return self.op("Gemm", *inputs, transB=1)
        sides = list(node.weight.shape[2:])
        return self.op(
            "Conv",
            *inputs,
            kernel_shape=sides,
            strides=[node.stride] * 2,
            pads=[node.padding] * 4,
            group=node.groups,
        )

    def _accumulate_wide(self, node: integer.Synapse, source: str, bits: int) -> str:
        one, none = torch.ones(1), torch.zeros(1)
        if not bits:
            return self.cast(self._accumulate(node, source, one, none), wide=True)
        share = self.op("Mul", source, self.number(2.0**-bits, like=source))
        quotient = self.op("Floor", share)
        scaled = self.op("Mul", quotient, self.number(2.0**bits, like=source))
        remainder = self.op("Sub", source, scaled)
        high, low = (
            self.cast(self._accumulate(node, part, one, none), wide=True)
            for part in (quotient, remainder)
        )
        return self.op("Add", self.op("Mul", high, self.number(2.0**bits, like=high)), low)

    def _neuron(self, node: integer.Neuron, current: str) -> str:
        if node.rounding is not None:
            if node.inputs[0] not in self.folded:
                current = self.cast(current, wide=False)
                form, rank = node.rounding, self._rank(node)
                current = self._affine(current, form.gain, form.offset, rank)
            rounded = self.op("Round", current)
            return self.op("Clip", rounded, self.number(0.0), self.number(node.levels))
        wide = potential_of(node, self.reaches) >= EXACT_IN_FLOAT32
        pixels = self.reaches[node.inputs[0]].pixels
        return self._compare(node, self.cast(current, wide=wide), pixels)

    def _compare(self, node: integer.Neuron, current: str, pixels: int) -> str:
        """Unrolls the time steps of a membrane."""
        rank = self._rank(node)
        steps = [current]
        if node.steps > 1:
            steps = self._split(current, node.steps)
        counts: list[str] = []
        membrane: str | None = None
        for position, x in enumerate(steps):
            potential = self._affine(x, torch.tensor([2.0**node.shift]), node.bias * pixels, rank)
            if membrane is not None:
                potential = self.op("Add", self._leak(node, membrane), potential)
            reached = [
                self.op(
                    "GreaterOrEqual",
                    potential,
                    self._channelwise(node.thresholds[:, level] * pixels, potential, rank),
                )
                for level in range(node.levels)
            ]
            count = self.cast(reached[0], wide=False)
            for level in reached[1:]:
                count = self.op("Add", count, self.cast(level, wide=False))
            counts.append(count)
            if node.leak.kind != "none" and position + 1 < node.steps:
                membrane = self._reset(node, potential, reached[0], count, pixels)
        return counts[0] if len(counts) == 1 else self.op("Concat", *counts, axis=0)

    def _reset(
        self, node: integer.Neuron, potential: str, fired: str, count: str, pixels: int
    ) -> str:
        if node.reset == "hard":
            return self.op("Where", fired, self.number(0.0, like=potential), potential)
        count = self.cast(count, wide=self.types[potential] is np.float64)
        step = self._channelwise(node.step * pixels, potential, self._rank(node))
        return self.op("Sub", potential, self.op("Mul", count, step))

    def _leak(self, node: integer.Neuron, membrane: str) -> str:
        if node.leak.kind == "all":
            return membrane
        share = self.number(2.0**-node.leak.shift, like=membrane)
        shifted = self.op("Floor", self.op("Mul", membrane, share))
        return shifted if node.leak.kind == "share" else self.op("Sub", membrane, shifted)

    def _gate(self, node: integer.Gate, inputs: list[str]) -> str:
        gated, by = (self.reaches[name].shape for name in node.inputs)
        if by.channels in (1, gated.channels):
            return self.op("Mul", *inputs)
        by_head = self.op("Reshape", inputs[0], self.integers(0, by.channels, -1, *gated.size))
        gate = self.op("Reshape", inputs[1], self.integers(0, by.channels, 1, *by.size))
        product = self.op("Mul", by_head, gate)
        return self.op("Reshape", product, self.integers(0, gated.channels, *gated.size))

    def _spike_sum(self, node: integer.SpikeSum, x: str) -> str:
        if node.over == "tokens":
            return self.op("ReduceSum", x, self.integers(2, 3), keepdims=1)
        size = self.reaches[node.name].shape.size
        by_head = self.op("Reshape", x, self.integers(0, node.heads, -1, *size))
        return self.op("ReduceSum", by_head, self.integers(2), keepdims=0)

    def _current_product(self, node: integer.CurrentProduct, inputs: list[str]) -> str:
        by_head = [
            self.op("Reshape", x, self.integers(0, node.heads, self._channels(n) // node.heads, -1))
            for x, n in zip(inputs, node.inputs, strict=True)
        ]
        if node.over == "channels":
            by_head[0] = self.op("Transpose", by_head[0], perm=[0, 1, 3, 2])
        shape = self.reaches[node.name].shape
        maps = self.integers(0, shape.channels, *shape.size)
        return self.op("Reshape", self.op("MatMul", *by_head), maps)

    def _attention(self, node: integer.Attention, inputs: list[str]) -> str:
        reaches = [self.reaches[name] for name in node.inputs]
        channels = [reach.interval.low.numel() for reach in reaches]
        by_head = [
            self.constant(np.array([0, node.heads, count // node.heads, -1])) for count in channels
        ]
        query, key, value = (
            self.op("Reshape", x, shape) for x, shape in zip(inputs, by_head, strict=True)
        )
        transposed = self.op("Transpose", key, perm=[0, 1, 3, 2])
        context = self.op("MatMul", value, transposed)
        shape = self.constant(np.array([0, channels[2], *reaches[0].shape.size]))
        return self.op("Reshape", self.op("MatMul", context, query), shape)

    def _affine(self, x: str, scale: Tensor, offset: Tensor, rank: int) -> str:
        if bool((scale != 1).any()):
            x = self.op("Mul", x, self._channelwise(scale, x, rank))
        if bool(offset.any()):
            x = self.op("Add", x, self._channelwise(offset, x, rank))
        return x

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Writes an operator; returns its output."""
        name = f"{self.layer}/{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name, **attributes))
        like = self.types[inputs[1 if kind == "Where" else 0]]
        self.types[name] = np.bool_ if kind in _LOGICAL else like
        return name

    def typed(self, kind: str, result: type[np.generic], *inputs: str, **attributes: Any) -> str:
        """Writes an operator whose output has another type than its first input."""
        name = self.op(kind, *inputs, **attributes)
        self.types[name] = result
        return name

    def _split(self, x: str, parts: int) -> list[str]:
        names = [f"{self.layer}/step{part}" for part in range(parts)]
        node = self.onnx.helper.make_node(
            "Split", [x], names, f"{self.layer}/Split", axis=0, num_outputs=parts
        )
        self.nodes.append(node)
        self.types.update(dict.fromkeys(names, self.types[x]))
        return names

    def cast(self, x: str, *, wide: bool) -> str:
        """A tensor as float64 where wide, else as float32."""
        kind = np.float64 if wide else np.float32
        if self.types[x] is kind:
            return x
        types = self.onnx.TensorProto
        name = self.op("Cast", x, to=types.DOUBLE if wide else types.FLOAT)
        self.types[name] = kind
        return name

    def constant(self, values: _Array) -> str:
        """A constant; equal ones are written once."""
        key = (str(values.dtype), values.shape, values.tobytes())
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.constants[key] = name
            self.types[name] = values.dtype.type
            self.initialisers.append(self.onnx.numpy_helper.from_array(values, name))
        return self.constants[key]

    def integers(self, *values: int) -> str:
        """A constant of int64."""
        return self.constant(np.array(values))

    def number(self, value: float, like: str | None = None) -> str:
        """A scalar constant in the type of a tensor, or in float32."""
        return self.constant(np.array(value, np.float32 if like is None else self.types[like]))

    def _channelwise(self, values: Tensor, like: str, rank: int) -> str:
        """Values [C] or [1], shaped for tensors [N, C, ...] of a rank and in a tensor's type."""
        shaped: _Array = values.reshape(-1, *[1] * (rank - 2)).numpy()
        return self.constant(shaped.astype(self.types[like]))

    def _rank(self, node: integer.Node) -> int:
        return 2 + len(self.reaches[node.name].shape.size)

    def _channels(self, name: str) -> int:
        return self.reaches[name].interval.low.numel()


def _float32(values: Tensor) -> _Array:
    array: _Array = values.to(torch.float32).contiguous().numpy()
    return array
