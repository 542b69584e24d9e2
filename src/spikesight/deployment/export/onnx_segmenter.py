"""The nodes that only segmenters have, in ONNX's standard operators.

Interpolation is written out in slices, gathers, multiplications and additions of integers: `Resize`
and `GridSample` leave it to the runtime how they round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spikesight.deployment.runtime.segmenter import SegmenterNode, position
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import EXACT_IN_FLOAT32

if TYPE_CHECKING:
    from spikesight.deployment.export.onnx import Lowering


def lower_segmenter_node(
    lowering: Lowering, node: SegmenterNode, inputs: list[str], *, wide: bool
) -> str:
    """Writes a node.

    Args:
        lowering: Writes operators.
        node: The node.
        inputs: Names of the tensors that it reads.
        wide: Whether its inputs or output exceed float32.

    Returns:
        Name of its output.
    """
    match node:
        case integer.Embedding(value=value):
            return _for_each_sample(lowering, value.double().numpy(), inputs[0], wide=wide)
        case integer.Position():
            height, width = lowering.reaches[node.name].shape.size
            values = position(node, height, width).numpy()
            return _for_each_sample(lowering, values, inputs[0], wide=wide)
        case integer.Resize():
            return _resize(lowering, node, inputs[0])
        case integer.Sample():
            return _sample(lowering, node, inputs, wide=wide)
        case integer.MaskProduct():
            return _mask_product(lowering, node, inputs, wide=wide)


def _for_each_sample(
    lowering: Lowering,
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    like: str,
    *,
    wide: bool,
) -> str:
    """Constants [1, ...] once per sample of another tensor."""
    constant = lowering.constant(values if wide else values.astype(np.float32))
    samples = lowering.typed("Shape", np.int64, like, start=0, end=1)
    shape = lowering.op("Concat", samples, lowering.constant(np.array(values.shape[1:])), axis=0)
    return lowering.op("Expand", constant, shape)


def _resize(lowering: Lowering, node: integer.Resize, x: str) -> str:
    source, size = lowering.reaches[node.inputs[0]], lowering.reaches[node.name].shape.size
    if source.shape.size == size:
        return x
    x = lowering.cast(x, wide=16 * source.interval.magnitude + 8 >= EXACT_IN_FLOAT32)
    (height, width), channels = source.shape.size, source.interval.low.numel()
    x = _four_times_doubled(lowering, x, 3, width, (channels, height, 2 * width))
    x = _four_times_doubled(lowering, x, 2, height, (channels, 2 * height, 2 * width))
    x = lowering.op("Add", x, lowering.number(8.0, like=x))
    return lowering.op("Floor", lowering.op("Mul", x, lowering.number(1 / 16, like=x)))


def _four_times_doubled(
    lowering: Lowering, x: str, axis: int, length: int, shape: tuple[int, int, int]
) -> str:
    """A pixel is once its neighbour and thrice the nearest; the border stands beside itself."""
    op, ints = lowering.op, lowering.integers

    def part(start: int, end: int) -> str:
        return op("Slice", x, ints(start), ints(end), ints(axis))

    before = after = x
    if length > 1:
        before = op("Concat", part(0, 1), part(0, length - 1), axis=axis)
        after = op("Concat", part(1, length), part(length - 1, length), axis=axis)
    thrice = op("Add", x, op("Mul", x, lowering.number(2.0, like=x)))
    pair = [op("Add", before, thrice), op("Add", thrice, after)]
    beside = op("Concat", *(op("Unsqueeze", p, ints(axis + 1)) for p in pair), axis=axis + 1)
    return op("Reshape", beside, ints(0, *shape))


def _sample(lowering: Lowering, node: integer.Sample, inputs: list[str], *, wide: bool) -> str:
    op, ints = lowering.op, lowering.integers
    value_reach, offset_reach, _ = (lowering.reaches[name] for name in node.inputs)
    groups, points, bits = node.groups, node.side**2, node.position_bits
    channels = value_reach.interval.low.numel() // groups
    height, width = value_reach.shape.size
    largest = max(
        (value_reach.interval.magnitude + 1) << (2 * bits),
        offset_reach.interval.magnitude << 1,
        (height + width + node.side) << (bits + 1),
        height * width,
    )
    wide = wide or largest >= EXACT_IN_FLOAT32
    value, offset, weight = (lowering.cast(x, wide=wide) for x in inputs)

    def number(real: float) -> str:
        return lowering.number(real, like=value)

    moved = op("Mul", offset, number(2.0 ** (bits - node.offset_shift)))
    moved = op("Floor", op("Add", moved, number(0.5)))
    moved = op("Reshape", moved, ints(0, groups, points, 2, height, width))
    steps = np.arange(node.side) - node.side // 2
    own = {
        3: np.repeat(steps, node.side)[:, None, None] + np.arange(width),
        2: np.tile(steps, node.side)[:, None, None] + np.arange(height)[:, None],
    }
    corners: dict[int, list[tuple[str, str]]] = {}
    inner: dict[str, str] = {}
    for axis, side in ((2, height), (3, width)):
        move = op("Gather", moved, lowering.constant(np.array(3 - axis)), axis=3)
        place = op(
            "Add", move, lowering.constant((own[axis] << bits).astype(lowering.types[value]))
        )
        first = op("Floor", op("Mul", place, number(2.0**-bits)))
        share = op("Sub", place, op("Mul", first, number(2.0**bits)))
        second = op("Add", first, number(1.0))
        corners[axis] = [(first, op("Sub", number(2.0**bits), share)), (second, share)]
        for corner in (first, second):
            inner[corner] = op("Clip", corner, number(0.0), number(side - 1.0))
    by_group = op("Reshape", value, ints(0, groups, channels, height * width))
    samples = lowering.typed("Shape", np.int64, by_group, start=0, end=3)
    shape = op("Concat", samples, ints(points * height * width), axis=0)
    total: str | None = None
    for row, row_weight in corners[2]:
        for column, column_weight in corners[3]:
            # Outside of the map values are zero.
            inside = op("And", op("Equal", row, inner[row]), op("Equal", column, inner[column]))
            factor = op(
                "Mul", op("Mul", row_weight, column_weight), lowering.cast(inside, wide=wide)
            )
            index = op("Add", op("Mul", inner[row], number(width)), inner[column])
            index = lowering.typed("Cast", np.int64, index, to=lowering.onnx.TensorProto.INT64)
            index = op("Reshape", index, ints(0, groups, 1, points * height * width))
            picked = op("GatherElements", by_group, op("Expand", index, shape), axis=3)
            picked = op("Reshape", picked, ints(0, 0, 0, points, height, width))
            part = op("Mul", picked, op("Unsqueeze", factor, ints(2)))
            total = part if total is None else op("Add", total, part)
    assert total is not None
    total = op("Add", total, number(2.0 ** (2 * bits - 1)))
    between = op("Floor", op("Mul", total, number(2.0 ** (-2 * bits))))
    counts = op("Reshape", weight, ints(0, groups, 1, points, height, width))
    summed = op("ReduceSum", op("Mul", between, counts), ints(3), keepdims=0)
    return op("Reshape", summed, ints(0, groups * channels, height, width))


def _mask_product(
    lowering: Lowering, node: integer.MaskProduct, inputs: list[str], *, wide: bool
) -> str:
    op, ints = lowering.op, lowering.integers
    embedding, features = (lowering.cast(x, wide=wide) for x in inputs)
    queries, reach = lowering.reaches[node.inputs[0]], lowering.reaches[node.inputs[1]]
    channels = reach.interval.low.numel()
    rows = op("Reshape", embedding, ints(0, channels, queries.shape.size[1]))
    if node.inhibitory:
        signs = np.ones((1, channels, 1), lowering.types[rows])
        signs[:, channels - node.inhibitory :] = -1
        rows = op("Mul", rows, lowering.constant(signs))
    pixels = op("Reshape", features, ints(0, channels, reach.shape.pixels))
    masks = op("MatMul", op("Transpose", rows, perm=[0, 2, 1]), pixels)
    return op("Reshape", masks, ints(0, queries.shape.size[1], *reach.shape.size))
