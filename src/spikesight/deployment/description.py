"""What a network's files say of it: the card of its model, with a section about the network.

The card is the content of run.json: the task, how inputs are prepared, what classes are called,
the licence. The section "network" says what the integers are: the version that wrote them, their
digest, T, D, the tensors that a file takes and gives, and the scale of each.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from spikesight.deployment.digest import full_digest_of
from spikesight.deployment.export.exactness import output_names
from spikesight.files.documents import parse_json
from spikesight.files.tensors import COPY_AGAIN
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import scale_at

NETWORK = "network"
"""The section's name in the card."""
CARD_KEY = "card"
"""What the card is called among a file's metadata."""


@dataclass(frozen=True)
class Tensors:
    """How a file of another runtime takes its input.

    Attributes:
        size: Height and width.
        frames: Whether it takes T frames instead of one image for all time steps.
        dtype: Type of its numbers.
        layout: Order of the axes besides frames: "NCHW", "NHWC", "CHW" or "HWC".
        values: "normalised", "bytes" of a photo, or the "integers" of `grid`.
    """

    size: tuple[int, int]
    frames: bool = False
    dtype: str = "float32"
    layout: Literal["NCHW", "NHWC", "CHW", "HWC"] = "NCHW"
    values: Literal["normalised", "bytes", "integers"] = "normalised"

    @classmethod
    def photos(cls, size: tuple[int, int]) -> Tensors:
        """Of a file that reads photos as they are."""
        return cls(size, dtype="uint8", layout="NHWC", values="bytes")

    @classmethod
    def integers(cls, size: tuple[int, int]) -> Tensors:
        """Of a file that reads one image, rounded already."""
        return cls(size, layout="CHW", values="integers")

    @property
    def _axes(self) -> str:
        if not self.frames:
            return self.layout
        return f"NT{self.layout[1:]}" if self.layout[0] == "N" else f"T{self.layout}"

    def shape(self, image: integer.Input) -> list[int | None]:
        """Sizes of the axes; None of the batch, which is free."""
        sides = {"T": image.steps, "C": image.channels, "H": self.size[0], "W": self.size[1]}
        return [sides.get(axis) for axis in self._axes]

    def facts(self, image: integer.Input) -> dict[str, Any]:
        """Name, type, layout and shape, and the integers that the network makes of normalised x."""
        return {
            "name": "image",
            "dtype": self.dtype,
            "layout": self._axes,
            "shape": self.shape(image),
            "values": self.values,
            "grid": f"clamp(round(x * 2^{image.shift}), {image.low}, {image.high}), half to even",
        }


def described(card: str | None, graph: integer.Graph, tensors: Tensors | None = None) -> str:
    """A card with what it has to say of a network.

    Args:
        card: The content of run.json, if it is known.
        graph: The network.
        tensors: What a file of another runtime takes; None of a .spk file.

    Returns:
        JSON on one line, in ASCII.

    Raises:
        UserError: If the card is no JSON, which a stranger's file may have.
    """
    content: dict[str, Any] = {}
    if card is not None:
        content = parse_json(card, dict[str, Any], "the network's card", remedy=COPY_AGAIN)
    content[NETWORK] = _facts(graph, tensors)
    return json.dumps(content)


def scales_of(graph: integer.Graph, size: tuple[int, int]) -> dict[str, float]:
    """Real value of one unit of each output by its name, for inputs of a height and width."""
    names = output_names(graph)
    if len(names) == 1:
        return {names[0]: scale_at(graph, size)}
    return {name: node.scale for name, node in zip(names, graph.outputs, strict=True)}


def scale_texts(graph: integer.Graph, size: tuple[int, int]) -> dict[str, str]:
    """The scales as a file's own metadata say them: "scale", or "NAME.scale" of several outputs."""
    scales = scales_of(graph, size)
    return {
        "scale" if len(scales) == 1 else f"{name}.scale": repr(scale)
        for name, scale in scales.items()
    }


def _facts(graph: integer.Graph, tensors: Tensors | None) -> dict[str, Any]:
    image, size = graph.input, graph.max_size if tensors is None else tensors.size
    facts: dict[str, Any] = {
        "spikesight": importlib.import_module("spikesight").__version__,
        "sha256": full_digest_of(graph),
        "T": image.steps,
        "D": sorted({neuron.levels for neuron in graph.neurons}),
        "stride": image.stride,
    }
    if tensors is None:
        facts["max_size"] = list(size)
    else:
        facts["input"] = tensors.facts(image)
    facts["outputs"] = [
        {"name": name, "dtype": "int32", "scale": scale}
        for name, scale in scales_of(graph, size).items()
    ]
    return facts
