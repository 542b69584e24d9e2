"""The vocabulary of spiking networks: a small, frozen set of node types."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from spikesight.attention.rearranging import Rearrangement
from spikesight.graph import operations
from spikesight.graph.operations import Elementwise, Network, Operation, Shape
from spikesight.neurons.dynamics import Dynamics
from spikesight.presentation import check_input

VOCABULARY_VERSION = 2


@dataclass(frozen=True)
class Affine:
    """One affine factor of a synapse: y = weight * pad(x) + bias.

    A batch normalisation is the depthwise 1x1 factor with its gain as weight.

    Attributes:
        weight: Convolution kernel [C_out, C_in / groups, k_h, k_w] or matrix [C_out, C_in].
        bias: [C_out], or None.
        stride: Step of the kernel in pixels.
        padding: Border in pixels.
        groups: Groups of the convolution.
        border: Value [C_in] of the padding; None pads with zero.
        step: [C_out], not negative, where training quantised the weights: they are whole multiples
            of it. None where it did not.
    """

    weight: Tensor
    bias: Tensor | None = None
    stride: int = 1
    padding: int = 0
    groups: int = 1
    border: Tensor | None = None
    step: Tensor | None = None

    @property
    def is_linear(self) -> bool:
        """Whether the factor is a matrix and not a convolution."""
        return self.weight.ndim == 2

    @property
    def is_pointwise(self) -> bool:
        """Whether the factor is a dense 1x1 convolution without padding."""
        return (
            not self.is_linear
            and self.weight.shape[-2:] == (1, 1)
            and (self.groups, self.stride, self.padding) == (1, 1, 0)
        )

    @property
    def is_depthwise(self) -> bool:
        """Whether the factor maps each channel to itself alone."""
        return not self.is_linear and self.groups == self.weight.shape[0] == self.in_channels

    @property
    def is_diagonal(self) -> bool:
        """Whether the factor scales and shifts each channel, as a normalisation does."""
        return (
            self.is_depthwise
            and self.weight.shape[-2:] == (1, 1)
            and (self.stride, self.padding) == (1, 0)
        )

    @property
    def is_finite(self) -> bool:
        """Whether every weight and bias is a finite number."""
        parts = [part for part in (self.weight, self.bias) if part is not None]
        return all(bool(part.isfinite().all()) for part in parts)

    @property
    def bits(self) -> int | None:
        """Bits that hold the values of every channel; None where the weights are not quantised."""
        if self.step is None:
            return None
        column = torch.where(self.step > 0, self.step, 1.0).view(-1, *[1] * (self.weight.ndim - 1))
        integers = (self.weight / column).round()
        return max(1, math.ceil(math.log2(int(integers.max() - integers.min()) + 1)))

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.weight.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.weight.shape[0]


@dataclass(frozen=True)
class Input(operations.AnyInput):
    """The image or event frames, presented at every time step."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises UserError when the network cannot take an input of this shape."""
        check_input(shape, self.steps, self.channels, self.stride)


@dataclass(frozen=True)
class Synapse(Operation):
    """Spikes to current: the product of its affine factors, applied first to last.

    Attributes:
        factors: At least one factor. Only the first reads spikes; a second one reads real values.
    """

    factors: tuple[Affine, ...]

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        return self.factor_shapes(*inputs)[-1]

    def factor_shapes(self, source: Shape) -> list[Shape]:
        """The shape of what each factor gives; errors as of `infer_shape`."""
        shapes = [source]
        for factor in self.factors:
            form = (factor.weight, factor.stride, factor.padding, factor.groups)
            shapes.append(self.weigh(shapes[-1], *form))
        return shapes[1:]


@dataclass(frozen=True)
class Neuron(Elementwise):
    """Current to spikes.

    Attributes:
        dynamics: The neuron's equations; None is the ANN twin's ReLU.
    """

    dynamics: Dynamics | None


@dataclass(frozen=True)
class Add(operations.AnyAdd):
    """Sum of two currents: a membrane shortcut."""


@dataclass(frozen=True)
class AttentionProduct(operations.AnyAttention):
    """Q (K^T V) * scale per head, inputs in the order query, key, value.

    Attributes:
        scale: Factor of the result.
        mean: Whether the sum over the keys is a mean.
    """

    scale: float
    mean: bool = False


@dataclass(frozen=True)
class Gate(operations.AnyGate):
    """Product of a map and of what gates it: between spikes an AND."""


@dataclass(frozen=True)
class SpikeSum(operations.AnySpikeSum):
    """Sum of spikes over tokens, or over the channels of each head.

    Attributes:
        scale: Factor of the result.
    """

    scale: float = 1.0


@dataclass(frozen=True)
class CurrentProduct(operations.AnyCurrentProduct):
    """Sums of a current's elements where there are spikes, per head, over sqrt(n f).

    Attributes:
        rate: What f is, [heads].
        fixed_summands: What n is; None for the number of elements that are summed.
        scale: Factor of the result.
    """

    rate: Tensor
    fixed_summands: int | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Pool(operations.AnyPool):
    """Mean over the pixels: [N, C, H, W] to [N, C]."""


@dataclass(frozen=True)
class MaxPool(operations.AnyMaxPool):
    """Maximum over a window of pixels; the border does not take part."""


@dataclass(frozen=True)
class Resize(operations.AnyResize):
    """Bilinear interpolation, corners not aligned, inputs in the order map, map of the new size.

    Attributes:
        shifts: Whether it doubles by shifts and additions alone.
    """

    shifts: bool = False


@dataclass(frozen=True)
class Sample(operations.AnySample):
    """Deformable sampling, inputs in the order value, offset, weight.

    Attributes:
        scale: Factor of the result.
        single_precision_grid: Whether pixel positions are float32 fractions, as the authors'.
        offset_bits: Bits after the binary point of an offset in pixels; None for real-valued ones.
    """

    scale: float = 1.0
    single_precision_grid: bool = False
    offset_bits: int | None = None


@dataclass(frozen=True)
class MaskProduct(operations.AnyMaskProduct):
    """Masks [N, Q, H, W] of embeddings [N, C, 1, Q] and features [N, C, H, W], in this order.

    Attributes:
        scale: Factor of the result.
    """

    scale: float = 1.0


@dataclass(frozen=True)
class Embedding(operations.AnyEmbedding):
    """Learned currents, once per sample of the node that it reads."""


@dataclass(frozen=True)
class Position(operations.AnyPosition):
    """Sines and cosines of rows and columns, for the size of the map that it reads."""


@dataclass(frozen=True)
class Rearrange(Operation):
    """A permutation of each sample's elements.

    Attributes:
        kind: Which one.
    """

    kind: Rearrangement

    def infer_shape(self, *inputs: Shape) -> Shape:
        """See `Operation`."""
        (source,) = inputs
        self.require(source.size != (), "it reads no map")
        if self.kind != "swap_channels_and_width":
            return source
        height, width = source.size
        return replace(source, channels=width, size=(height, source.channels))


@dataclass(frozen=True)
class Output(Elementwise):
    """One of the network's outputs, averaged over time.

    Attributes:
        steps: Time steps T.
        of_queries: Whether [N, K, 1, Q] becomes [B, Q, K].
    """

    steps: int
    of_queries: bool = False


Node = (
    Input
    | Synapse
    | Neuron
    | Add
    | AttentionProduct
    | Gate
    | SpikeSum
    | CurrentProduct
    | Pool
    | MaxPool
    | Resize
    | Sample
    | MaskProduct
    | Embedding
    | Position
    | Rearrange
    | Output
)
"""Every node type: what dispatches on them ends in `assert_never`, so that mypy names it."""


@dataclass(frozen=True)
class Graph(Network[Node]):
    """A network as nodes of this vocabulary.

    Attributes:
        version: Version of the vocabulary.
    """

    version: int = VOCABULARY_VERSION

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in seen]
            assert not missing, f"{node.name} reads {missing} before they exist"
            assert node.name not in seen, f"two nodes are named {node.name}"
            seen.add(node.name)

    @property
    def input(self) -> Input:
        """The input node."""
        return next(node for node in self.nodes if isinstance(node, Input))

    @property
    def outputs(self) -> list[Output]:
        """The output nodes, first to last."""
        return [node for node in self.nodes if isinstance(node, Output)]

    @property
    def neurons(self) -> list[Neuron]:
        """All neurons, first to last."""
        return [node for node in self.nodes if isinstance(node, Neuron)]

    def lands_on_neurons(self, name: str) -> bool:
        """Whether neurons alone read a value, if only after a maximum over pixels."""
        readers = self.consumers[name]
        return bool(readers) and all(
            isinstance(reader, Neuron)
            or (isinstance(reader, MaxPool) and self.lands_on_neurons(reader.name))
            for reader in readers
        )

    def to(self, target: torch.dtype | torch.device | str) -> Graph:
        """The same graph with its tensors converted, as `Tensor.to`."""
        return replace(self, nodes=_convert(self.nodes, target))


def _convert(value: Any, target: Any) -> Any:
    """The same with every tensor converted, however deep in nodes and their factors it is."""
    if isinstance(value, Tensor):
        return value.to(target)
    if isinstance(value, tuple):
        return tuple(_convert(part, target) for part in value)
    if isinstance(value, Operation | Affine):
        changed = {f.name: _convert(getattr(value, f.name), target) for f in fields(value)}
        return replace(value, **changed)
    return value
