"""The vocabulary of integer networks: what is left of a spiking network when it is deployed.

Every value is an integer and every rule below is exact; the integers are the definition of the
deployed network. A value's real meaning is ``integer * scale``, but no operation needs the scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from spikesight.errors import UserError
from spikesight.graph import operations
from spikesight.graph.counts import Counts
from spikesight.graph.operations import Elementwise, Network, Operation, Shape, ShapeError

INTEGER_VOCABULARY_VERSION = 2

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The nodes and the graph as they were called before, which was with Integer in front."""
        if not name.startswith("Integer"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name.removeprefix("Integer")]


@dataclass(frozen=True)
class Input(operations.AnyInput):
    """The normalised image or frames, as integers: clamp(round(x * 2^shift), low, high).

    x is float32; half rounds to even. What follows is presented at every time step.

    Attributes:
        shift: Bits after the binary point.
        low: Smallest integer.
        high: Largest integer.
    """

    shift: int
    low: int
    high: int


@dataclass(frozen=True)
class Synapse(Operation):
    """Accumulates weights: ((sum of weight * x) << left) + bias) >> right, floor.

    One step per time step: bias and shift come once after the sum over the kernel and, in a spike
    simulation, over the sub-steps.

    Attributes:
        weight: Kernel [C_out, C_in / groups, k_h, k_w] or matrix [C_out, C_in], int8.
        bits: Bits of a weight, 2 to 8.
        stride: Step of the kernel in pixels.
        padding: Border of zeros in pixels.
        groups: Groups of the convolution.
        shift: [C_out], int64: left shift where positive, right shift where negative.
        bias: [C_out], int64, on the finer of the accumulator's grid and the output's; a right
            shift's half unit is part of it.
    """

    weight: Tensor
    bits: int
    stride: int
    padding: int
    groups: int
    shift: Tensor
    bias: Tensor

    @property
    def is_linear(self) -> bool:
        """Whether the synapse is a matrix and not a convolution."""
        return self.weight.ndim == 2

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        (source,) = inputs
        return self.weigh(source, self.weight, self.stride, self.padding, self.groups)


@dataclass(frozen=True)
class Leak:
    """What a membrane keeps from one time step to the next.

    Attributes:
        kind: "none" forgets everything, "all" keeps everything, "share" keeps V >> shift and
            "rest" keeps V - (V >> shift); shifts round down.
        shift: Bits.
    """

    kind: Literal["none", "all", "share", "rest"]
    shift: int = 0


@dataclass(frozen=True)
class Rounding:
    """A multiplication that gives a neuron's counts too: n = clamp(round(gain * X + offset), 0, D).

    Half rounds to even. Gains and offsets are so short that float32 computes this without any
    rounding error, whatever the order of operations; runtimes without per-channel comparisons use
    it. It serves T = 1 alone.

    Attributes:
        gain: [C] or [1], float32.
        offset: [C] or [1], float32.
    """

    gain: Tensor
    offset: Tensor


@dataclass(frozen=True)
class Neuron(Elementwise):
    """Compares the membrane with thresholds.

    Per time step, with current X and membrane V (0 at rest)::

        U = leak(V) + (X << shift) + bias
        n = the number of thresholds that U reaches (U >= threshold), 0..D
        V = U - step * n (soft), or U where n == 0 and 0 elsewhere (hard)

    Attributes:
        steps: Time steps T.
        levels: Largest count D.
        thresholds: [C, D] or [1, D] for all channels alike, int64, ascending along D.
        step: [C] or [1], int64: membrane removed per spike.
        bias: [C] or [1], int64, per time step.
        shift: Bits by which the membrane's grid is finer than the current's.
        leak: What remains of the membrane.
        reset: "soft" or "hard".
        per_pixel: Whether the current is a sum over pixels; thresholds, step and bias are then
            those of one pixel and count as often as the sum has pixels.
        rounding: An equal form for runtimes; None where float32 cannot hold it.
    """

    steps: int
    levels: int
    thresholds: Tensor
    step: Tensor
    bias: Tensor
    shift: int
    leak: Leak
    reset: Literal["soft", "hard"]
    per_pixel: bool
    rounding: Rounding | None = None


@dataclass(frozen=True)
class Add(operations.AnyAdd):
    """Sum of two currents on the same grid, or of two counts: the spikes of both."""


@dataclass(frozen=True)
class Gate(operations.AnyGate):
    """Product of counts of a map and of counts that gate it.

    As spikes it is each sub-step of one AND each sub-step of the other.
    """


@dataclass(frozen=True)
class SpikeSum(operations.AnySpikeSum):
    """Number of spikes over tokens, or over the channels of each head."""


@dataclass(frozen=True)
class CurrentProduct(operations.AnyCurrentProduct):
    """Sums of a current's integers where there are spikes, as often as they fire, per head.

    Its factor lies in thresholds, which are those of one number of keys.

    Attributes:
        keys: Number of keys M, the pixels of the current.
    """

    keys: int

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        keys = inputs[0].pixels
        self.require(keys == self.keys, f"it has {keys} keys where thresholds are for {self.keys}")
        return super().infer_shape(*inputs)


@dataclass(frozen=True)
class Attention(operations.AnyAttention):
    """Q (K^T V) per head, inputs in the order query, key, value; its factor lies in thresholds.

    Attributes:
        mean: Whether the sum over the keys stands for a mean; the neuron that reads it then counts
            the keys' pixels.
    """

    mean: bool = False


@dataclass(frozen=True)
class Pool(operations.AnyPool):
    """Sum over the pixels: [N, C, H, W] to [N, C]."""


@dataclass(frozen=True)
class MaxPool(operations.AnyMaxPool):
    """Maximum over a window of pixels; the border does not take part.

    Over counts of a neuron it is the maximum of their spikes in each sub-step; over currents it is
    taken once per time step, of what the sub-steps accumulated.
    """


@dataclass(frozen=True)
class Embedding(operations.AnyEmbedding):
    """Learned currents, once per sample of the node that it reads."""


@dataclass(frozen=True)
class Position(operations.AnyPosition):
    """round(p * 2^shift) of the sines and cosines p of rows and columns, half to even.

    In float64, whose errors are too small to turn one of these integers.

    Attributes:
        shift: Bits after the binary point.
    """

    shift: int


@dataclass(frozen=True)
class Resize(operations.AnyResize):
    """A map at twice its size, or as it is where the other map read has the same size.

    (9a + 3b + 3c + d + 8) >> 4 of the nearest pixel, its neighbours and the diagonal one.
    """

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        source, like = inputs
        doubled = source.size == like.size or tuple(2 * s for s in source.size) == like.size
        self.require(doubled, f"it resizes {source.size} to {like.size}")
        return super().infer_shape(*inputs)


@dataclass(frozen=True)
class Sample(operations.AnySample):
    """Sum over points of counts times values between pixels, inputs value, offset, weight.

    Positions are rounded to 2^-position_bits pixels, half up. An interpolated value is
    (sum of weight * pixel) / 4^position_bits, rounded half up.

    Attributes:
        offset_shift: Bits after the binary point of an offset in pixels.
        position_bits: Bits after the binary point of a position in pixels.
    """

    offset_shift: int
    position_bits: int


@dataclass(frozen=True)
class MaskProduct(operations.AnyMaskProduct):
    """Masks [N, Q, H, W] of counts [N, C, 1, Q] and features [N, C, H, W], in this order."""


@dataclass(frozen=True)
class Output(Elementwise):
    """Sum of an output over time.

    Attributes:
        steps: Time steps T.
        scale: Real value of one unit, the mean over time included, and over pixels where the
            logits are a sum over pixels: those of the largest input.
        of_queries: Whether [N, K, 1, Q] becomes [B, Q, K].
    """

    steps: int
    scale: float
    of_queries: bool = False


Node = (
    Input
    | Synapse
    | Neuron
    | Add
    | Gate
    | SpikeSum
    | CurrentProduct
    | Attention
    | Pool
    | MaxPool
    | Embedding
    | Position
    | Resize
    | Sample
    | MaskProduct
    | Output
)

SEGMENTER_NODES = (
    Embedding,
    Position,
    Resize,
    Sample,
    MaskProduct,
)
"""Nodes that a segmenter has beside a classifier's."""


@dataclass(frozen=True)
class Interval:
    """The integers that a value can reach, proved from the weights.

    Attributes:
        low: Smallest per channel, [C] int64.
        high: Largest per channel, [C] int64.
        magnitude: Bound of every partial sum in any order, and of the result.
    """

    low: Tensor
    high: Tensor
    magnitude: int

    @property
    def bits(self) -> int:
        """Bits of a signed integer that holds every partial sum."""
        return self.magnitude.bit_length() + 1


@dataclass(frozen=True)
class Reach:
    """What is known of a value.

    Attributes:
        interval: The integers that it can reach.
        shape: Its shape at the largest input.
        pixels: Pixels that it is the sum of.
        accumulated: Of a synapse, what its bare sum of weights times inputs can reach.
    """

    interval: Interval
    shape: Shape
    pixels: int = 1
    accumulated: Interval | None = None


@dataclass(frozen=True)
class Graph(Network[Node]):
    """A deployed network.

    Attributes:
        max_size: Largest input, (height, width) in pixels, for which the ranges hold.
    """

    max_size: tuple[int, int]

    @property
    def version(self) -> int:
        """The least version of the vocabulary that has all its nodes."""
        newer = any(isinstance(node, Gate | SpikeSum | CurrentProduct) for node in self.nodes)
        return INTEGER_VOCABULARY_VERSION if newer else 1

    @cached_property
    def proved(self) -> dict[str, Reach]:
        """What its values reach; empty until a pass has proved it."""
        return {}

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """The values that are counts of spikes: of neurons, their maxima, sums and products."""
        found: dict[str, Counts] = {}
        for node in self.nodes:
            sources = [found[name] for name in node.inputs if name in found]
            match node:
                case Neuron(levels=levels):
                    found[node.name] = Counts(levels, 1.0, ordered=True)
                case MaxPool() if sources:
                    found[node.name] = sources[0]
                case Add() if len(sources) == 2:
                    found[node.name] = sources[0] + sources[1]
                case Gate() if len(sources) == 2:
                    found[node.name] = sources[0] * sources[1]
        return found

    def check_size(self, height: int, width: int) -> None:
        """Raises UserError when inputs are larger than the ranges are proved for.

        Or where they have another number of keys than the product of a current is made for.
        """
        highest, widest = self.max_size
        if height > highest or width > widest:
            raise UserError(
                f"an input of {height}x{width} pixels is larger than the {highest}x{widest} that "
                "the network's ranges are proved for; deploy again with a larger max_size, "
                f"such as ({height}, {width}): --max-size=[{height},{width}]"
            )
        if any(isinstance(node, CurrentProduct) for node in self.nodes):
            self._check_keys(height, width)

    def _check_keys(self, height: int, width: int) -> None:
        try:
            self.shapes((height, width))
        except ShapeError as error:
            raise UserError(
                f"an input of {height}x{width} pixels has other keys than the {self.max_size[0]}x"
                f"{self.max_size[1]} that the thresholds behind its attention are for ({error}); "
                "pass inputs of that size, or deploy again with an example of this one"
            ) from None

    @cached_property
    def input(self) -> Input:
        """The input node."""
        (first,) = (node for node in self.nodes if isinstance(node, Input))
        return first

    @property
    def output(self) -> Output:
        """The output node; of several the last."""
        return self.outputs[-1]

    @property
    def outputs(self) -> list[Output]:
        """The output nodes, first to last."""
        return [node for node in self.nodes if isinstance(node, Output)]

    @property
    def segmenter_node(self) -> Node | None:
        """The first node that only segmenters have; None in a classifier."""
        for node in self.nodes:
            mean = isinstance(node, Attention) and node.mean
            if mean or isinstance(node, SEGMENTER_NODES):
                return node
        return None

    @property
    def neurons(self) -> list[Neuron]:
        """All neurons, first to last."""
        return [node for node in self.nodes if isinstance(node, Neuron)]
