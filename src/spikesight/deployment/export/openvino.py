"""The integer network as an OpenVINO model, which its CPU plugin runs in int8.

Float32 is the only type in which the plugin is exact as written: it computes many int32 operations
in float32 and knows no float64. So every number is an integer, or an integer times a power of two,
below 2^24; where the ranges exceed that, two float32 digits hold it. Whoever loads the file must
compile it with ``INFERENCE_PRECISION_HINT=f32``: bfloat16 would round.
"""

from __future__ import annotations

import functools
from typing import Any, assert_never

import numpy as np
import torch
from torch import Tensor

from spikesight.deployment.description import CARD_KEY, Tensors, described, scale_texts
from spikesight.deployment.export.exactness import (
    ExportError,
    folded_neurons,
    output_names,
    prove_at,
    refuse_segmenter,
    split_of,
)
from spikesight.deployment.export.openvino_arithmetic import (
    DIGIT,
    Arithmetic,
    Float,
    Pair,
    Value,
    integers,
)
from spikesight.deployment.export.openvino_int8 import Int8Products
from spikesight.deployment.export.openvino_runtime import INFO, OpenVinoRuntime
from spikesight.deployment.export.self_test import KEY, SelfTest
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.fixed_point import are_powers_of_two
from spikesight.passes.ranges import EXACT_IN_FLOAT32, potential_of

__all__ = ["OpenVinoRuntime", "to_openvino"]

_UNWRITTEN = (integer.Embedding, integer.Position, integer.Sample, integer.MaskProduct)
_ONE, _ZERO = torch.ones(1), torch.zeros(1)


def to_openvino(
    graph: integer.Graph,
    size: tuple[int, int],
    *,
    observe: bool = False,
    frames: bool = False,
    fast: bool = True,
    bytes_table: Tensor | None = None,
    card: str | None = None,
) -> Any:
    """Writes a network as an `openvino.Model`, with what it reads and returns as of `to_onnx`.

    Arguments and errors are those of `to_onnx`, with one more; `OpenVinoRuntime` runs the
    self-test. Segmenters of queries, and those that sample, have no form.

    Args:
        graph: The network.
        size: As of `to_onnx`.
        observe: Likewise.
        frames: Likewise.
        fast: Quantise counts and weights where the plugin has int8 kernels. Without it all
            products are float32, which every device computes alike.
        bytes_table: As of `to_onnx`.
        card: Likewise; it lies in rt_info.
    """
    lowering = _Lowering(graph, size, frames=frames, fast=fast, bytes_table=bytes_table)
    return lowering.run(observe=observe, card=card)


class _Lowering:
    def __init__(
        self,
        graph: integer.Graph,
        size: tuple[int, int],
        *,
        frames: bool,
        fast: bool,
        bytes_table: Tensor | None,
    ) -> None:
        self.exact = Arithmetic()
        self.op = self.exact.op
        self.graph = graph
        self.size = size
        self.frames = frames
        self.tensors = Tensors(size, frames) if bytes_table is None else Tensors.photos(size)
        self.bytes_table = bytes_table
        self.fast = fast
        refuse_segmenter(
            next((node for node in graph.nodes if isinstance(node, _UNWRITTEN)), None),
            "OpenVINO's CPU plugin",
            "computes in float32 alone, and sampling in pairs of its digits is not written",
        )
        self.reaches = prove_at(graph, size)
        self.int8 = Int8Products(graph, self.reaches)
        self.folded = folded_neurons(graph)
        self.values: dict[str, Value] = {}

    def run(self, *, observe: bool, card: str | None) -> Any:
        import openvino

        shape = [-1, *self.tensors.shape(self.graph.input)[1:]]
        kind = np.float32 if self.bytes_table is None else np.uint8
        image = self.op.parameter(shape, kind, name="image")
        image.output(0).set_names({"image"})
        for node in self.graph.nodes:
            value = self._lower(node, [self.values[name] for name in node.inputs] or [image])
            reach = self.reaches[node.name].interval
            if isinstance(value, Pair) and _largest(reach) < EXACT_IN_FLOAT32:
                value = self.exact.number(value)
            if not isinstance(value, Pair):
                value.set_friendly_name(node.name)
            self.values[node.name] = value
        names = output_names(self.graph)
        sources = dict(zip(names, (node.name for node in self.graph.outputs), strict=True))
        if observe:
            sources |= {neuron.name: neuron.name for neuron in self.graph.neurons}
        results = []
        for name, source in sources.items():
            results.append(self.op.result(self.values[source]))
            results[-1].output(0).set_names({name})
        model = openvino.Model(results, [image], "spikesight")
        carried = scale_texts(self.graph, self.size)
        carried[CARD_KEY] = described(card, self.graph, self.tensors)
        if not observe:
            test = SelfTest.of(
                self.graph, self.size, frames=self.frames, bytes_table=self.bytes_table
            )
            carried[KEY] = test.text()
        for key, text in carried.items():
            model.set_rt_info(text, [INFO, key])
        return model

    def _lower(self, node: integer.Node, inputs: list[Value]) -> Value:
        match node:
            case integer.Input():
                return self._input(node, inputs[0])
            case integer.Synapse():
                return self._synapse(node, inputs[0])
            case integer.Neuron():
                return self._neuron(node, inputs[0])
            case integer.Add():
                first = self.exact.pair(inputs[0]) if self._exceeds(node) else inputs[0]
                total = self.exact.sum(first, inputs[1])
                return self._quantised(total, 0, 255) if self.int8.peak(node.name) else total
            case integer.Gate():
                gated = self._gate(node, inputs)
                return self._quantised(gated, 0, 255) if self.int8.peak(node.name) else gated
            case integer.SpikeSum():
                return self._spike_sum(node, inputs[0])
            case integer.CurrentProduct():
                return self._current_product(node, inputs)
            case integer.Attention():
                return self._attention(node, inputs)
            case integer.Pool():
                return self._pool(node, inputs[0])
            case integer.MaxPool():
                return self._max_pool(node, inputs[0])
            case integer.Resize():
                return self._resize(node, inputs[0])
            case integer.Output():
                return self._output(node, inputs[0])
        assert not isinstance(node, _UNWRITTEN)
        assert_never(node)

    def _input(self, node: integer.Input, image: Float) -> Float:
        if self.frames:
            image = self.op.transpose(image, integers(1, 0, 2, 3, 4))
            image = self.op.reshape(image, integers(-1, node.channels, *self.size), False)
        if self.bytes_table is not None:
            x = self._look_up(image, self.bytes_table)
        else:
            x = self.exact.shifted_left(image, torch.tensor(node.shift))
            x = self.op.clamp(self.op.round(x, "half_to_even"), node.low, node.high)
        readers = self.graph.consumers[node.name]
        if all(
            isinstance(reader, integer.Synapse) and self._multiplies_int8(reader)
            for reader in readers
        ):
            x = self._quantised(x, node.low, node.high)
        return x if self.frames or node.steps == 1 else self.op.concat([x] * node.steps, 0)

    def _look_up(self, photo: Any, table: Tensor) -> Float:
        """The integers of bytes [batch, H, W, C], by channel: no arithmetic, no rounding."""
        channels = np.arange(len(table), dtype=np.int32).reshape(1, -1, 1, 1)
        value = self.op.transpose(self.op.convert(photo, "i32"), integers(0, 3, 1, 2))
        place = self.op.add(value, self.op.constant(table.shape[1] * channels))
        values = self.exact.constant(table.flatten())
        return self.op.gather(values, place, integers(0))

    def _synapse(self, node: integer.Synapse, source: Value) -> Value:
        neuron = self.folded.get(node.name)
        if neuron is not None and neuron.rounding is not None:
            return self._accumulate(node, source, neuron.rounding.gain, neuron.rounding.offset)
        bits = split_of(node, self.reaches[node.inputs[0]].interval)
        left, right = node.shift.long().clamp(min=0), (-node.shift.long()).clamp(min=0)
        if not bits and not self._exceeds(node):
            scale, offset = torch.exp2(node.shift.double()), node.bias * torch.exp2(-right.double())
            if self._rounds_like_floor(node, right):
                # Of a whole multiple of 2^-right; convolutions take a rounding in, but no floor.
                offset = offset - 0.5 + torch.exp2(-right.double() - 1)
                return self._rounded(self._accumulate(node, source, scale, offset))
            total = self._accumulate(node, source, scale, offset)
            return self.op.floor(total) if bool(right.any()) else total
        total = self._accumulate_in_parts(node, self._float(node, source), torch.tensor(bits))
        left, right, bias = (self._shaped(values, node) for values in (left, right, node.bias))
        total = self.exact.plus(self.exact.shifted_left(total, left), bias.long())
        return self.exact.shifted_right(total, right)

    def _accumulate_in_parts(self, node: integer.Synapse, source: Float, bits: Tensor) -> Value:
        if not bool(bits):
            return self.exact.pair(self._accumulate(node, source))
        quotient = self.exact.shifted_right(source, bits)
        remainder = self.exact.difference(source, self.exact.shifted_left(quotient, bits))
        high = self.exact.pair(self._accumulate(node, quotient, short=False))
        low = self._accumulate(node, remainder, short=False)
        return self.exact.sum(self.exact.shifted_left(high, bits), low)

    def _accumulate(
        self,
        node: integer.Synapse,
        source: Value,
        scale: Tensor = _ONE,
        offset: Tensor = _ZERO,
        *,
        short: bool = True,
    ) -> Float:
        """Scale and offset enter kernel and bias; float32 holds their products.

        Args:
            node: The synapse.
            source: Its input.
            scale: Of each output channel.
            offset: Of each output channel.
            short: Whether the input is the node's own and not a part of it.
        """
        weight, x = node.weight, self._float(node, source)
        scale = scale.double().expand(len(weight)).reshape(-1, *[1] * (weight.ndim - 1))
        if node.groups > 1:
            weight, scale = (v.unflatten(0, (node.groups, -1)) for v in (weight, scale))
        if short and self._multiplies_int8(node):
            short_weight = self.op.constant(weight.to(torch.int8).contiguous().numpy())
            kernel = self.op.multiply(
                self.op.convert(short_weight, "f32"), self.exact.constant(scale)
            )
        else:
            kernel = self.exact.constant(weight.double() * scale)
        if node.is_linear:
            total = self._linear(x, kernel)
        else:
            convolve = self.op.convolution if node.groups == 1 else self.op.group_convolution
            pads, stride = [node.padding] * 2, node.stride
            if stride > 1 and node.weight.shape[-1] == 1 and not node.padding:
                # With two threads OpenVINO 2026.4 now and then reads wrong pixels at such a stride.
                x, stride = self._every(x, stride), 1
            total = convolve(x, kernel, [stride] * 2, pads, pads, [1, 1])
        if bool(offset.any()):
            return self.exact.plus(total, self._shaped(offset, node))
        # OpenVINO 2026.4 lets an int8 convolution swallow a multiplication after it even where
        # others read the convolution too. An operator between them forbids that.
        return total if node.name in self.folded else self._rounded(total)

    def _every(self, x: Float, stride: int) -> Float:
        """The pixels that a kernel of one pixel reads."""
        ends, whole = integers(0, 0, 0, 0), [1, 1, 1, 1]
        steps = integers(1, 1, stride, stride)
        return self.op.strided_slice(x, ends, ends, steps, whole, whole)

    def _linear(self, x: Float, kernel: Float) -> Float:
        """As a convolution of one pixel, whose int8 kernel is the faster one."""
        sides = integers(2, 3)
        pixel = self.op.unsqueeze(x, sides)
        total = self.op.convolution(
            pixel, self.op.unsqueeze(kernel, sides), [1, 1], [0, 0], [0, 0], [1, 1]
        )
        return self.op.squeeze(total, sides)

    def _rounds_like_floor(self, node: integer.Synapse, right: Tensor) -> bool:
        magnitude = self.reaches[node.name].interval.magnitude
        return bool(right.any()) and 2 * magnitude + (2 << int(right.max())) < EXACT_IN_FLOAT32

    def _rounded(self, x: Float) -> Float:
        return self.op.round(x, "half_to_even")

    def _neuron(self, node: integer.Neuron, current: Value) -> Float:
        # The plugin multiplies unsigned by signed bytes.
        ends = (-128, 127) if self.int8.are_keys(node) else (0, 255)
        is_folded = node.inputs[0] in self.folded
        # OpenVINO 2026.4 adds a constant divided by the gain before it multiplies.
        if node.rounding is not None and (is_folded or are_powers_of_two(node.rounding.gain)):
            if not is_folded:
                gain = self.exact.constant(self._shaped(node.rounding.gain, node))
                current = self.op.multiply(self._float(node, current), gain)
                current = self.exact.plus(current, self._shaped(node.rounding.offset, node))
            count = self.op.clamp(current, 0.0, float(node.levels))
            # A mark alone rounds what a convolution gives, unless it is that of signed bytes, which
            # shifts first, or a sum reads it: where a convolution takes in the mark, a sum and the
            # sum's mark, OpenVINO 2026.4 rounds the sum alone, and a tie turns the other way.
            readers = self.graph.consumers[node.name]
            is_added = any(isinstance(reader, integer.Add | integer.Gate) for reader in readers)
            if is_folded and not ends[0] and not is_added:
                return self._quantised(count, *ends)
        else:
            if potential_of(node, self.reaches) >= EXACT_IN_FLOAT32:
                current = self.exact.pair(current)
            counts = self._compare(node, current, self.reaches[node.inputs[0]].pixels)
            count = counts[0] if len(counts) == 1 else self.op.concat(counts, 0)
        # Without a rounding between them a mark takes in constants of channels, and OpenVINO 2026.4
        # then reads those of other channels where the batch is free.
        return self._quantised(self._rounded(count), *ends)

    def _compare(self, node: integer.Neuron, current: Value, pixels: int) -> list[Float]:
        """Unrolls the time steps of a membrane."""
        shift = torch.tensor(node.shift)
        bias = self._shaped(node.bias * pixels, node)
        counts: list[Float] = []
        membrane: Value | None = None
        for x in self.exact.split(current, node.steps) if node.steps > 1 else [current]:
            potential = self.exact.plus(self.exact.shifted_left(x, shift), bias)
            if membrane is not None:
                potential = self.exact.sum(membrane, potential)
            thresholds = [
                self._shaped(node.thresholds[:, level] * pixels, node)
                for level in range(node.levels)
            ]
            reached = [self.exact.reached(potential, threshold) for threshold in thresholds]
            counts.append(functools.reduce(self.op.add, reached))
            membrane = self._left(node, potential, counts[-1], pixels)
        return counts

    def _left(
        self, node: integer.Neuron, potential: Value, count: Float, pixels: int
    ) -> Value | None:
        """What reset and leak leave for the next time step."""
        if node.leak.kind == "none":
            return None
        if node.reset == "hard":
            silent = self.op.subtract(self.exact.constant(1.0), self.op.clamp(count, 0.0, 1.0))
            membrane = self.exact.masked(potential, silent)
        else:
            step = self._shaped(node.step * pixels, node)
            membrane = self.exact.minus(potential, count, step)
        if node.leak.kind == "all":
            return membrane
        shifted = self.exact.shifted_right(membrane, torch.tensor(node.leak.shift))
        return shifted if node.leak.kind == "share" else self.exact.difference(membrane, shifted)

    def _gate(self, node: integer.Gate, inputs: list[Value]) -> Float:
        gated, by = (self.reaches[name].shape for name in node.inputs)
        x, gate = inputs
        if by.channels in (1, gated.channels):
            return self.op.multiply(x, gate)
        x = self.op.reshape(x, integers(0, by.channels, -1, *gated.size), True)
        gate = self.op.reshape(gate, integers(0, by.channels, 1, *by.size), True)
        product = self.op.multiply(x, gate)
        return self.op.reshape(product, integers(0, gated.channels, *gated.size), True)

    def _spike_sum(self, node: integer.SpikeSum, x: Float) -> Float:
        reach = self.reaches[node.name]
        if self._exceeds(node):
            raise self._too_wide(node, reach.interval.bits)
        if node.over == "tokens":
            return self.op.reduce_sum(x, integers(2, 3), True)
        by_head = self.op.reshape(x, integers(0, node.heads, -1, *reach.shape.size), True)
        return self.op.reduce_sum(by_head, integers(2), False)

    def _attention(self, node: integer.Attention, inputs: list[Value]) -> Value:
        reaches = [self.reaches[name] for name in node.inputs]
        (queries, _, values), heads = (reach.interval.low.numel() for reach in reaches), node.heads
        query, key, value = (
            self.op.reshape(
                x,
                integers(0, heads, reach.interval.low.numel() // heads, reach.shape.pixels),
                True,
            )
            for x, reach in zip(inputs, reaches, strict=True)
        )
        context: Value = self.op.matmul(value, key, False, True)
        maps = integers(0, values, *reaches[0].shape.size)

        def attend(part: Float) -> Float:
            return self.op.reshape(self.op.matmul(part, query, False, False), maps, True)

        if not self._exceeds(node):
            return attend(context)
        highest = [int(reach.interval.high.max()) for reach in reaches]
        reach = highest[1] * highest[2] * reaches[1].shape.pixels
        bits = reach.bit_length() // 2
        largest = highest[0] * queries // heads * (reach >> bits)
        if max(reach, largest) >= EXACT_IN_FLOAT32:
            raise self._too_wide(node, self.reaches[node.name].interval.bits)
        split = torch.tensor(bits)
        quotient = self.exact.shifted_right(context, split)
        remainder = self.exact.difference(context, self.exact.shifted_left(quotient, split))
        high = self.exact.shifted_left(self.exact.pair(attend(quotient)), split)
        return self.exact.sum(high, attend(remainder))

    def _current_product(self, node: integer.CurrentProduct, inputs: list[Value]) -> Value:
        reach, heads = self.reaches[node.name], node.heads
        current, spikes = (self.reaches[name] for name in node.inputs)
        y, s = (
            self.op.reshape(
                self._float(node, value),
                integers(0, heads, read.shape.channels // heads, read.shape.pixels),
                True,
            )
            for value, read in zip(inputs, (current, spikes), strict=True)
        )
        maps = integers(0, reach.shape.channels, *reach.shape.size)

        def summed(part: Float) -> Float:
            product = self.op.matmul(part, s, node.over == "channels", False)
            return self.op.reshape(product, maps, True)

        if not self._exceeds(node):
            return summed(y)
        bits = current.interval.magnitude.bit_length() // 2
        largest = max(1 << bits, (current.interval.magnitude >> bits) + 1)
        largest *= int(spikes.interval.high.max()) * node.summands(current.shape)
        if largest >= EXACT_IN_FLOAT32:
            raise self._too_wide(node, reach.interval.bits)
        split = torch.tensor(bits)
        quotient = self.exact.shifted_right(y, split)
        remainder = self.exact.difference(y, self.exact.shifted_left(quotient, split))
        high = self.exact.shifted_left(self.exact.pair(summed(quotient)), split)
        return self.exact.sum(high, summed(remainder))

    def _pool(self, node: integer.Pool, source: Value) -> Value:
        reach = self.reaches[node.name]
        pooled = self.exact.pair(source) if self._exceeds(node) else source
        if isinstance(pooled, Pair) and reach.pixels > DIGIT:
            raise self._too_wide(node, reach.interval.bits)
        return self.exact.pooled(pooled)

    def _max_pool(self, node: integer.MaxPool, source: Value) -> Float:
        from openvino import opset1

        window, sides = [node.kernel] * 2, [node.padding] * 2
        x = self._float(node, source)
        return opset1.max_pool(x, [node.stride] * 2, sides, sides, window, "floor")

    def _resize(self, node: integer.Resize, source: Value) -> Value:
        reach = self.reaches[node.inputs[0]]
        if reach.shape.size == self.reaches[node.name].shape.size:
            return source
        if 16 * reach.interval.magnitude + 8 >= EXACT_IN_FLOAT32:
            source = self.exact.pair(source)
        total = self.exact.sixteen_times_doubled(source, reach.shape.channels, reach.shape.size)
        return self.exact.shifted_right(self.exact.plus(total, torch.tensor([8])), torch.tensor(4))

    def _output(self, node: integer.Output, source: Value) -> Float:
        if self._exceeds(node):
            raise self._too_wide(node, self.reaches[node.name].interval.bits)
        total = self._float(node, source)
        if node.steps > 1:
            total = functools.reduce(self.op.add, self.exact.split(total, node.steps))
        return self.op.convert(total, "i32")

    def _quantised(self, x: Float, low: int, high: int) -> Float:
        """Marks integers of 8 bits; x is clamped already, and halves round to even."""
        if not self.fast:
            return self.op.round(x, "half_to_even")
        ends = [self.exact.constant(float(end)) for end in (low, high)]
        return self.op.fake_quantize(x, *ends, *ends, 256)

    def _multiplies_int8(self, node: integer.Synapse) -> bool:
        return self.fast and self.int8.of_synapse(node)

    def _exceeds(self, node: integer.Node) -> bool:
        return self.reaches[node.name].interval.magnitude >= EXACT_IN_FLOAT32

    def _float(self, node: integer.Node, value: Value) -> Float:
        if isinstance(value, Pair):
            raise self._too_wide(node, self.reaches[node.inputs[0]].interval.bits)
        return value

    def _too_wide(self, node: integer.Node, bits: int) -> ExportError:
        return ExportError(
            f"{node.name} needs {bits} bits, more than OpenVINO's float32 holds; export to .onnx, "
            "or a smaller size"
        )

    def _shaped(self, values: Tensor, node: integer.Node) -> Tensor:
        """Values [C] or [1], shaped for the output of a node."""
        return values.reshape(-1, *[1] * len(self.reaches[node.name].shape.size))


def _largest(reach: integer.Interval) -> int:
    return int(torch.maximum(reach.low.abs(), reach.high.abs()).max())
