"""What the nodes of one C99 file share: layers, memory, kernels, constant arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from spikesight.deployment.export.c99.buffers import Memory
from spikesight.deployment.export.c99.integer_types import INTEGER_TYPES, IntegerType
from spikesight.deployment.export.c99.kernels import Kernels
from spikesight.deployment.export.c99.layers import Layer, Layers
from spikesight.deployment.export.c99.tables import Table
from spikesight.graph import integer_vocabulary as integer


@dataclass
class NodeText:
    """What a node contributes to the function of its stage.

    Attributes:
        meaning: What the function's comment says of it.
        statements: Statements for one pixel, which leave its channels in `pixel_values`.
        constants: Declarations at the function's start.
        before: Statements before the loop over pixels.
    """

    meaning: str
    statements: list[str]
    constants: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)


@dataclass
class Context:
    """What has been written so far.

    Attributes:
        layers: The network's layers.
        memory: Where values lie.
        kernels: Those used.
        tables: Constant arrays used.
        membranes: The layers that have one, with its type.
    """

    layers: Layers
    memory: Memory
    kernels: Kernels = field(default_factory=Kernels)
    tables: list[Table] = field(default_factory=list)
    membranes: list[tuple[Layer, IntegerType]] = field(default_factory=list)

    def table(
        self,
        name: str,
        values: Tensor,
        meaning: str,
        among: tuple[IntegerType, ...] = INTEGER_TYPES,
    ) -> Table:
        """Takes in a constant array; see `Table.of`."""
        self.tables.append(Table.of(name, values, meaning, among))
        return self.tables[-1]

    def sources(self, node: integer.Node) -> list[Layer]:
        """The layers that a node reads."""
        return [self.layers[name] for name in node.inputs]

    def read(self, source: Layer, inside: str | None) -> list[str]:
        """Takes a pixel of a value, unless it is in `pixel_values` already.

        Args:
            source: Whose value.
            inside: The node whose integers are in `pixel_values`, if any.
        """
        if source.node.name == inside:
            return []
        kernel = self.kernels.use("read", SOURCE=source.type)
        return [f"{kernel}({source.channels}, {pixel_of(source)}, pixel_values);"]


def value_of(layer: Layer) -> str:
    """The C name of a layer's integers."""
    return "input" if isinstance(layer.node, integer.Input) else f"value_{layer.index}"


def pixel_of(layer: Layer, pixel: str = "pixel") -> str:
    """Where the channels of a pixel lie, in C; of a layer of one pixel that one."""
    if layer.pixels == 1:
        return value_of(layer)
    return f"{value_of(layer)} + {layer.channels} * {pixel}"


def structure(kind: str, name: str, **fields: int | str) -> str:
    """A constant structure in C."""
    inside = ", ".join(f".{field} = {value}" for field, value in fields.items())
    return f"static const spk_{kind} {name} = {{{inside}}};"
