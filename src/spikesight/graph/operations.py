"""What the nodes of both vocabularies have in common: what they read and the shape they give."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

from torch import Tensor

from spikesight.attention.current_product import WeightedAxis
from spikesight.attention.gate import SummedAxis, gate_fits
from spikesight.errors import UserError


class ShapeError(UserError):
    """The inputs of a node do not fit together; the message names the node."""


@dataclass(frozen=True)
class Shape:
    """The shape of a value, per sample and time step.

    Attributes:
        channels: Its channels.
        size: Height and width of a map, or () of a vector.
        fixed: Whether the size is the same for every image, as that of queries [C, 1, Q].
    """

    channels: int
    size: tuple[int, ...] = ()
    fixed: bool = False

    @property
    def pixels(self) -> int:
        """Pixels of a map; 1 of a vector."""
        return math.prod(self.size)

    @property
    def elements(self) -> int:
        """How many numbers it is."""
        return self.channels * self.pixels


@dataclass(frozen=True)
class Operation(ABC):
    """One operation.

    Attributes:
        name: Unique name: the module's path in the model where there is one.
        inputs: Names of the nodes that it reads.
    """

    name: str
    inputs: tuple[str, ...]

    @abstractmethod
    def infer_shape(self, *inputs: Shape) -> Shape:
        """The shape of what it gives.

        Args:
            inputs: The shapes of what it reads, in its order; of an input node, the image's.

        Raises:
            ShapeError: If it cannot read such values.
        """

    def require(self, holds: bool, problem: str) -> None:
        """Raises ShapeError with the node's name and the problem unless something holds."""
        if not holds:
            raise ShapeError(f"{self.name!r}: {problem}")

    def slide(
        self, size: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int
    ) -> tuple[int, ...]:
        """The size of the map that a kernel or window gives on one of another size."""
        sides = zip(size, kernel, strict=True)
        given = tuple((side + 2 * padding - k) // stride + 1 for side, k in sides)
        self.require(min(given, default=1) >= 1, f"it gives a map of {given} pixels")
        return given

    def weigh(
        self, source: Shape, weight: Tensor, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Shape:
        """The shape of a value's product with a kernel or matrix [C_out, C_in / groups, ...]."""
        outputs, inputs_of_group, *kernel = weight.shape
        self.require(source.channels % groups == 0, "groups do not divide its inputs")
        self.require(outputs % groups == 0, "groups do not divide its outputs")
        expected = source.channels // groups
        fits = inputs_of_group == expected
        self.require(fits, f"weight has {inputs_of_group} inputs of {expected}")
        fits = len(kernel) == len(source.size)
        self.require(fits, "a map needs a kernel and a vector a matrix")
        size = self.slide(source.size, tuple(kernel), stride, padding)
        return Shape(outputs, size, source.fixed)


@dataclass(frozen=True)
class Elementwise(Operation):
    """An operation that gives a value of the shape of the only one that it reads."""

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        (source,) = inputs
        return source


@dataclass(frozen=True)
class AnyInput(Operation):
    """The image or event frames, presented at every time step.

    Attributes:
        steps: Time steps T.
        channels: Channels of the input.
        stride: What height and width must be divisible by.
    """

    steps: int
    channels: int
    stride: int

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        (image,) = inputs
        fits = image.channels == self.channels
        self.require(fits, f"an image of {image.channels} channels, not {self.channels}")
        return image


@dataclass(frozen=True)
class AnyAdd(Operation):
    """Sum of two values; one embedding may be added to every pixel."""

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        first, second = inputs
        if first == second:
            return first
        for value, other in ((first, second), (second, first)):
            if value.size and other == Shape(value.channels, (1, 1), fixed=True):
                return value
        self.require(False, f"its inputs are {first} and {second}")
        raise AssertionError


@dataclass(frozen=True)
class AnyAttention(Operation):
    """Q (K^T V) per head, inputs in the order query, key, value.

    Values may have other channels than queries and keys; the result has theirs.

    Attributes:
        heads: Number of heads.
    """

    heads: int

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        query, key, value = inputs
        same = key == replace(value, channels=key.channels) and query.channels == key.channels
        self.require(same, f"its inputs are {list(inputs)}")
        self.require(() not in (query.size, key.size), "it reads no map")
        divided = query.channels % self.heads == value.channels % self.heads == 0
        self.require(divided, "heads do not divide the channels")
        return replace(query, channels=value.channels)


@dataclass(frozen=True)
class AnyGate(Operation):
    """Product, element by element, of a map and of what gates it, inputs in this order.

    The gate has the map's size or one pixel, and a divisor of its channels, each for as many
    channels that follow one another.
    """

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        gated, by = inputs
        fits = gate_fits(gated.channels, gated.size, by.channels, by.size)
        same = by.size == (1, 1) or by.fixed == gated.fixed
        self.require(fits and same, f"its inputs are {list(inputs)}")
        return gated


@dataclass(frozen=True)
class AnySpikeSum(Operation):
    """Sum over the tokens of each channel, [N, C, 1, 1], or over the channels of each head.

    Attributes:
        over: What is summed.
        heads: Number of heads, over channels: [N, heads, H, W].
    """

    over: SummedAxis
    heads: int = 1

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        (source,) = inputs
        self.require(source.size != (), "it reads no map")
        if self.over == "tokens":
            self.require(self.heads == 1, "it has heads, over which it does not sum")
            return Shape(source.channels, (1, 1), fixed=True)
        self.require(source.channels % self.heads == 0, "heads do not divide the channels")
        return replace(source, channels=self.heads)


@dataclass(frozen=True)
class AnyCurrentProduct(Operation):
    """Sums of a current's elements where there are spikes, per head, inputs in this order.

    Over the channels of each head, Y^T S: of a current [N, C, h, w] and spikes [N, C, H, W] the map
    [N, heads * M, H, W], with a channel for each of the M = h * w keys of a head. Over the keys,
    Y A: of such a current and spikes [N, heads * M, H, W] the map [N, C, H, W].

    Attributes:
        over: What is summed.
        heads: Number of heads.
    """

    over: WeightedAxis
    heads: int

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        current, spikes = inputs
        self.require(() not in (current.size, spikes.size), "it reads no map")
        self.require(current.channels % self.heads == 0, "heads do not divide the channels")
        of_keys = self.heads * current.pixels
        read, given = current.channels, of_keys
        if self.over == "keys":
            read, given = given, read
        self.require(spikes.channels == read, f"its inputs are {list(inputs)}")
        return replace(spikes, channels=given)

    def summands(self, current: Shape) -> int:
        """How many elements of a current each sum has."""
        return current.channels // self.heads if self.over == "channels" else current.pixels

    def sums(self, current: Shape) -> int:
        """How many sums each spike takes part in."""
        return current.pixels if self.over == "channels" else current.channels // self.heads


@dataclass(frozen=True)
class AnyPool(Operation):
    """Over all pixels: [N, C, H, W] to [N, C]."""

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        (source,) = inputs
        self.require(source.size != (), "it reads no map")
        return Shape(source.channels)


@dataclass(frozen=True)
class AnyMaxPool(Operation):
    """Maximum over a window of pixels; the border does not take part.

    Attributes:
        kernel: Side of the window in pixels.
        stride: Step of the window in pixels.
        padding: Border in pixels, at most half the kernel.
    """

    kernel: int
    stride: int
    padding: int

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        (source,) = inputs
        self.require(source.size != (), "it reads no map")
        self.require(2 * self.padding <= self.kernel, "its padding exceeds half its kernel")
        size = self.slide(source.size, (self.kernel, self.kernel), self.stride, self.padding)
        return replace(source, size=size)


@dataclass(frozen=True)
class AnyEmbedding(Operation):
    """Learned currents, once per sample of the node that it reads.

    Attributes:
        value: [1, C, 1, Q]; whole numbers in an integer network.
    """

    value: Tensor

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        samples, channels, rows, queries = self.value.shape
        self.require((samples, rows) == (1, 1), f"its value is {list(self.value.shape)}")
        return Shape(channels, (1, queries), fixed=True)


@dataclass(frozen=True)
class AnyPosition(Operation):
    """Sines and cosines of rows and columns, for the size of the map that it reads.

    Attributes:
        channels: Channels C.
    """

    channels: int

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        (source,) = inputs
        self.require(self.channels % 4 == 0, "four do not divide the channels")
        self.require(source.size != (), "it reads no map")
        return replace(source, channels=self.channels)


@dataclass(frozen=True)
class AnyResize(Operation):
    """Interpolation, inputs in the order map, map of the new size."""

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        source, like = inputs
        self.require(() not in (source.size, like.size), "it reads no map")
        return replace(like, channels=source.channels)


@dataclass(frozen=True)
class AnySample(Operation):
    """Deformable sampling, inputs in the order value, offset, weight.

    Attributes:
        groups: Groups of channels with positions of their own.
        side: Side of the kernel of sampled points.
    """

    groups: int
    side: int

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        value, offset, weight = inputs
        self.require(value.size != (), "it reads no map")
        points = self.groups * self.side**2
        same = len({(shape.size, shape.fixed) for shape in inputs}) == 1
        same &= (offset.channels, weight.channels) == (2 * points, points)
        self.require(same, f"its inputs are {list(inputs)}")
        self.require(value.channels % self.groups == 0, "groups do not divide the channels")
        return value


@dataclass(frozen=True)
class AnyMaskProduct(Operation):
    """Masks [N, Q, H, W] of embeddings [N, C, 1, Q] and features [N, C, H, W], in this order.

    Attributes:
        inhibitory: So many of the last channels are subtracted.
    """

    inhibitory: int = 0

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        embedding, features = inputs
        self.require(embedding.fixed and embedding.size[:1] == (1,), "it reads no queries")
        same = embedding.channels == features.channels and features.size != ()
        self.require(same, f"its inputs are {list(inputs)}")
        fits = self.inhibitory <= features.channels
        self.require(fits, "more channels inhibit than there are")
        return replace(features, channels=embedding.size[1])


NodeT = TypeVar("NodeT", bound=Operation)


@dataclass(frozen=True)
class Network(Generic[NodeT]):
    """Nodes in an order in which each follows what it reads.

    Attributes:
        nodes: The nodes.
    """

    nodes: tuple[NodeT, ...]

    @cached_property
    def by_name(self) -> dict[str, NodeT]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, tuple[NodeT, ...]]:
        """For each node, the nodes that read it."""
        readers: dict[str, list[NodeT]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    def shapes(self, size: tuple[int, int]) -> dict[str, Shape]:
        """The shapes of all values, by the nodes' names.

        Args:
            size: Height and width of the image.

        Raises:
            ShapeError: If nodes do not fit together.
        """
        shapes: dict[str, Shape] = {}
        image = next(node for node in self.nodes if isinstance(node, AnyInput))
        for node in self.nodes:
            inputs = [shapes[name] for name in node.inputs] or [Shape(image.channels, size)]
            shapes[node.name] = node.infer_shape(*inputs)
        return shapes
