"""The integer network as an ONNX model of standard operators, and onnxruntime to run it.

Every number that the model computes is an integer, or an integer times a power of two, that its
type holds without rounding: float32 where the ranges stay below 2^24, float64 elsewhere. No
runtime can therefore get another result, whatever the order in which it adds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spikesight.deployment.exporting import (
    folded_neurons,
    prove_at,
    split_of,
)
from spikesight.deployment.integer_execution import Counts
from spikesight.graph.integer_vocabulary import (
    SEGMENTER_NODES,
    IntegerAdd,
    IntegerAttention,
    IntegerGraph,
    IntegerInput,
    IntegerNeuron,
    IntegerNode,
    IntegerOutput,
    IntegerPool,
    IntegerSynapse,
)
from spikesight.passes.ranges import EXACT_IN_FLOAT32, potential_of

if TYPE_CHECKING:
    import onnx

OPSET = 18
_IR_VERSION = 9
_LOGITS = "logits"
_Array = npt.NDArray[np.generic]


def to_onnx(
    graph: IntegerGraph, size: tuple[int, int], *, observe: bool = False, frames: bool = False
) -> onnx.ModelProto:
    """Writes a network in ONNX's standard operators.

    The model reads "image", float32 [batch, C, H, W] of normalised values (or frames
    [batch, T, C, H, W]), and returns "logits", int32 [batch, K]. The batch is free.

    Args:
        graph: The network.
        size: Height and width of the inputs.
        observe: Return the counts of every neuron too, time-major float32 [T*batch, ...], under
            the neurons' names.
        frames: Read one frame per time step instead of one image for all.

    Returns:
        The model.

    Raises:
        ExportError: If no operator is exact; names the layer and the reason.
        ValueError: If the network does not take this size.
    """
    return _Lowering(graph, size, frames).run(observe=observe)


class OnnxRuntime:
    """Runs an exported network on the CPU with onnxruntime.

    Args:
        model: The model or its file.
        threads: Threads of one call; onnxruntime's choice if omitted.
    """

    def __init__(self, model: onnx.ModelProto | str | Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        source = str(model) if isinstance(model, str | Path) else model.SerializeToString()
        self._session: Any = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"]
        )
        self._names: list[str] = [output.name for output in self._session.get_outputs()]

    def __call__(self, x: Tensor) -> Tensor:
        """Integer logits [B, K], int32, of normalised images or frames."""
        return self.observe(x)[1]

    def observe(self, x: Tensor) -> tuple[Counts, Tensor]:
        """Runs the model.

        Args:
            x: Normalised images [B, C, H, W], or frames [B, T, C, H, W] if exported for them.

        Returns:
            The counts of every neuron, time-major [T*B, ...], if exported with `observe`; and the
            integer logits [B, K], int32.
        """
        image = np.ascontiguousarray(x.detach().cpu().to(torch.float32).numpy())
        arrays = self._session.run(self._names, {"image": image})
        outputs = {
            name: torch.from_numpy(array) for name, array in zip(self._names, arrays, strict=True)
        }
        logits = outputs.pop(_LOGITS)
        return outputs, logits


class _Lowering:
    """Values are names of tensors; their types say where float32 does not suffice."""

    def __init__(self, graph: IntegerGraph, size: tuple[int, int], frames: bool) -> None:
        import onnx

        self.onnx = onnx
        self.graph = graph
        self.frames = frames
        self.size = size
        self.reaches = prove_at(graph, size)
        self.folded = folded_neurons(graph)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.initialisers: list[onnx.TensorProto] = []
        self.layer = ""
        self.types: dict[str, type[np.generic]] = {"image": np.float32}
        self.values: dict[str, str] = {}

    def run(self, *, observe: bool) -> onnx.ModelProto:
        helper, types = self.onnx.helper, self.onnx.TensorProto
        for node in self.graph.nodes:
            self.layer = node.name
            inputs = [self.values[name] for name in node.inputs] or ["image"]
            self.values[node.name] = self._lower(node, inputs)
        shape = ["batch", self.graph.input.channels, *self.size]
        if self.frames:
            shape.insert(1, self.graph.input.steps)
        outputs = [helper.make_tensor_value_info(_LOGITS, types.INT32, ["batch", None])]
        if observe:
            for neuron in self.graph.neurons:
                rank = 1 + 1 + len(self.reaches[neuron.name].size)
                counts = self.values[neuron.name]
                self.nodes.append(helper.make_node("Identity", [counts], [neuron.name]))
                outputs.append(
                    helper.make_tensor_value_info(neuron.name, types.FLOAT, [None] * rank)
                )
        result = self.values[self.graph.output.name]
        self.nodes.append(helper.make_node("Identity", [result], [_LOGITS]))
        model: onnx.ModelProto = helper.make_model(
            helper.make_graph(
                self.nodes,
                "spikesight",
                [helper.make_tensor_value_info("image", types.FLOAT, shape)],
                outputs,
                self.initialisers,
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="spikesight",
        )
        helper.set_model_props(model, {"scale": repr(self.graph.output.scale)})
        self.onnx.checker.check_model(model, full_check=True)
        return model

    def _lower(self, node: IntegerNode, inputs: list[str]) -> str:
        reaches = [self.reaches[name].interval for name in (node.name, *node.inputs)]
        wide = any(reach.magnitude >= EXACT_IN_FLOAT32 for reach in reaches)
        match node:
            case IntegerInput():
                return self._input(node, inputs[0])
            case IntegerSynapse():
                return self._synapse(node, inputs[0], wide=wide)
            case IntegerNeuron():
                return self._neuron(node, inputs[0])
            case IntegerAdd():
                return self._op("Add", *(self._cast(x, wide=wide) for x in inputs))
            case IntegerAttention():
                return self._attention(node, [self._cast(x, wide=wide) for x in inputs])
            case IntegerPool():
                axes = self._constant(np.array([2, 3]))
                return self._op("ReduceSum", self._cast(inputs[0], wide=wide), axes, keepdims=0)
            case IntegerOutput(steps=steps):
                total = self._cast(inputs[0], wide=wide)
                if steps > 1:
                    shape = self._constant(np.array([steps, -1, self._channels(node.inputs[0])]))
                    by_step = self._op("Reshape", total, shape)
                    total = self._op(
                        "ReduceSum", by_step, self._constant(np.array([0])), keepdims=0
                    )
                return self._op("Cast", total, to=self.onnx.TensorProto.INT32)
        assert not isinstance(node, SEGMENTER_NODES)
        assert_never(node)

    def _input(self, node: IntegerInput, image: str) -> str:
        if self.frames:
            image = self._op("Transpose", image, perm=[1, 0, 2, 3, 4])
            image = self._op(
                "Reshape", image, self._constant(np.array([-1, node.channels, *self.size]))
            )
        x = self._op("Round", self._op("Mul", image, self._number(2.0**node.shift)))
        x = self._op("Clip", x, self._number(node.low), self._number(node.high))
        return (
            x if self.frames or node.steps == 1 else self._op("Concat", *[x] * node.steps, axis=0)
        )

    def _synapse(self, node: IntegerSynapse, source: str, *, wide: bool) -> str:
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
        return self._op("Floor", total) if bool((node.shift < 0).any()) else total

    def _accumulate(self, node: IntegerSynapse, x: str, scale: Tensor, offset: Tensor) -> str:
        """Scale and offset enter kernel and bias; float32 holds their products."""
        weight = self._cast(self._constant(node.weight.to(torch.int8).numpy()), wide=False)
        if bool((scale != 1).any()):
            shape = (-1, *[1] * (node.weight.ndim - 1))
            weight = self._op("Mul", weight, self._constant(_float32(scale.reshape(shape))))
        inputs = [self._cast(x, wide=False), weight]
        if bool(offset.any()):
            inputs.append(self._constant(_float32(offset.expand(len(node.weight)))))
        if node.is_linear:
            return self._op("Gemm", *inputs, transB=1)
        sides = list(node.weight.shape[2:])
        return self._op(
            "Conv",
            *inputs,
            kernel_shape=sides,
            strides=[node.stride] * 2,
            pads=[node.padding] * 4,
            group=node.groups,
        )

    def _accumulate_wide(self, node: IntegerSynapse, source: str, bits: int) -> str:
        one, none = torch.ones(1), torch.zeros(1)
        if not bits:
            return self._cast(self._accumulate(node, source, one, none), wide=True)
        share = self._op("Mul", source, self._number(2.0**-bits, like=source))
        quotient = self._op("Floor", share)
        scaled = self._op("Mul", quotient, self._number(2.0**bits, like=source))
        remainder = self._op("Sub", source, scaled)
        high, low = (
            self._cast(self._accumulate(node, part, one, none), wide=True)
            for part in (quotient, remainder)
        )
        return self._op("Add", self._op("Mul", high, self._number(2.0**bits, like=high)), low)

    def _neuron(self, node: IntegerNeuron, current: str) -> str:
        if node.rounding is not None:
            if node.inputs[0] not in self.folded:
                current = self._cast(current, wide=False)
                form, rank = node.rounding, self._rank(node)
                current = self._affine(current, form.gain, form.offset, rank)
            rounded = self._op("Round", current)
            return self._op("Clip", rounded, self._number(0.0), self._number(node.levels))
        wide = potential_of(node, self.reaches) >= EXACT_IN_FLOAT32
        pixels = self.reaches[node.inputs[0]].pixels
        return self._compare(node, self._cast(current, wide=wide), pixels)

    def _compare(self, node: IntegerNeuron, current: str, pixels: int) -> str:
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
                potential = self._op("Add", self._leak(node, membrane), potential)
            reached = [
                self._op(
                    "GreaterOrEqual",
                    potential,
                    self._channelwise(node.thresholds[:, level] * pixels, potential, rank),
                )
                for level in range(node.levels)
            ]
            count = self._cast(reached[0], wide=False)
            for level in reached[1:]:
                count = self._op("Add", count, self._cast(level, wide=False))
            counts.append(count)
            if node.leak.kind != "none" and position + 1 < node.steps:
                membrane = self._reset(node, potential, reached[0], count, pixels)
        return counts[0] if len(counts) == 1 else self._op("Concat", *counts, axis=0)

    def _reset(
        self, node: IntegerNeuron, potential: str, fired: str, count: str, pixels: int
    ) -> str:
        if node.reset == "hard":
            return self._op("Where", fired, self._number(0.0, like=potential), potential)
        count = self._cast(count, wide=self.types[potential] is np.float64)
        step = self._channelwise(node.step * pixels, potential, self._rank(node))
        return self._op("Sub", potential, self._op("Mul", count, step))

    def _leak(self, node: IntegerNeuron, membrane: str) -> str:
        if node.leak.kind == "all":
            return membrane
        share = self._number(2.0**-node.leak.shift, like=membrane)
        shifted = self._op("Floor", self._op("Mul", membrane, share))
        return shifted if node.leak.kind == "share" else self._op("Sub", membrane, shifted)

    def _attention(self, node: IntegerAttention, inputs: list[str]) -> str:
        reach = self.reaches[node.inputs[0]]
        channels = reach.interval.low.numel()
        by_head = self._constant(np.array([0, node.heads, channels // node.heads, -1]))
        query, key, value = (self._op("Reshape", x, by_head) for x in inputs)
        transposed = self._op("Transpose", key, perm=[0, 1, 3, 2])
        context = self._op("MatMul", value, transposed)
        shape = self._constant(np.array([0, channels, *reach.size]))
        return self._op("Reshape", self._op("MatMul", context, query), shape)

    def _affine(self, x: str, scale: Tensor, offset: Tensor, rank: int) -> str:
        if bool((scale != 1).any()):
            x = self._op("Mul", x, self._channelwise(scale, x, rank))
        if bool(offset.any()):
            x = self._op("Add", x, self._channelwise(offset, x, rank))
        return x

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{self.layer}/{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name, **attributes))
        like = self.types[inputs[1 if kind == "Where" else 0]]
        self.types[name] = np.bool_ if kind == "GreaterOrEqual" else like
        return name

    def _split(self, x: str, parts: int) -> list[str]:
        names = [f"{self.layer}/step{part}" for part in range(parts)]
        node = self.onnx.helper.make_node(
            "Split", [x], names, f"{self.layer}/Split", axis=0, num_outputs=parts
        )
        self.nodes.append(node)
        self.types.update(dict.fromkeys(names, self.types[x]))
        return names

    def _cast(self, x: str, *, wide: bool) -> str:
        kind = np.float64 if wide else np.float32
        if self.types[x] is kind:
            return x
        types = self.onnx.TensorProto
        name = self._op("Cast", x, to=types.DOUBLE if wide else types.FLOAT)
        self.types[name] = kind
        return name

    def _constant(self, values: _Array) -> str:
        key = (str(values.dtype), values.shape, values.tobytes())
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.constants[key] = name
            self.types[name] = values.dtype.type
            self.initialisers.append(self.onnx.numpy_helper.from_array(values, name))
        return self.constants[key]

    def _number(self, value: float, like: str = "image") -> str:
        return self._constant(np.array(value, self.types[like]))

    def _channelwise(self, values: Tensor, like: str, rank: int) -> str:
        """Values [C] or [1], shaped for tensors [N, C, ...] of a rank and in a tensor's type."""
        shaped: _Array = values.reshape(-1, *[1] * (rank - 2)).numpy()
        return self._constant(shaped.astype(self.types[like]))

    def _rank(self, node: IntegerNode) -> int:
        return 2 + len(self.reaches[node.name].size)

    def _channels(self, name: str) -> int:
        return self.reaches[name].interval.low.numel()


def _float32(values: Tensor) -> _Array:
    array: _Array = values.to(torch.float32).contiguous().numpy()
    return array
