"""Golden vectors: every layer's integers on some inputs, a text file of hexadecimal digits each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikesight.deployment.digest import digest_of
from spikesight.deployment.export.c99.layers import Layer, Layers
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.graph import integer_vocabulary as integer


def golden_name(layer: Layer) -> str:
    """The file of a layer's golden vectors."""
    return f"{layer.index:03}_{layer.label[:80]}.hex"


def golden_file(layer: Layer) -> str:
    """What the C program is told of a layer's file."""
    if isinstance(layer.node, integer.Embedding):
        return "    {NULL, 0, 0}"
    return f'    {{"{golden_name(layer)}", {layer.type.bits}, {int(layer.type.signed)}}}'


def write_golden(
    graph: integer.Graph, layers: Layers, x: Tensor, folders: Mapping[Path, Sequence[int]]
) -> None:
    """Writes the integers that the network computes on some inputs.

    A file has one line for each pixel, which holds its channels: two's complement in as many
    hexadecimal digits as the layer's type has, as Verilog's $readmemh reads it. Lines follow one
    another by column, row, time step and input; an output, being a sum over time, has no steps.

    Args:
        graph: The network.
        layers: Its layers.
        x: Normalised inputs [N, C, H, W] or [N, T, C, H, W].
        folders: Where to write, and the integers of which inputs; folders must exist.
    """
    network, steps = digest_of(graph), graph.input.steps

    def record(node: integer.Node, output: Tensor) -> None:
        layer = layers[node.name]
        if isinstance(node, integer.Embedding):
            return
        integers = _channels_last(output.cpu(), len(x))
        if isinstance(node, integer.Input) and x.ndim == 4:
            integers = integers[:, :1]
        elif isinstance(node, integer.Position):
            integers = integers.expand(len(x), steps, -1, -1)
        for folder, chosen in folders.items():
            text = _text(layer, integers[list(chosen)], network)
            (folder / golden_name(layer)).write_text(text, encoding="ascii", newline="\n")

    IntegerExecutor(graph).run(x, record)


def _channels_last(output: Tensor, inputs: int) -> Tensor:
    """What a node gives [T*N, C, H, W], [T*N, C] or, summed over time, [N, ...] as [N, T, P, C]."""
    if output.ndim == 4:
        output = output.permute(0, 2, 3, 1)
    rows = output.reshape(len(output), -1, output.shape[-1])
    by_step: Tensor = rows.unflatten(0, (-1, min(inputs, len(rows))))
    return by_step.transpose(0, 1)


def _text(layer: Layer, integers: Tensor, network: str) -> str:
    inputs, steps = integers.shape[:2]
    shape = f"{inputs} inputs x {steps} time steps of {layer.type.c_name} {layer.size}"
    digits = layer.type.bytes
    values = integers.reshape(-1, integers.shape[-1]).to(torch.int64).numpy()
    unsigned = (values & ((1 << layer.type.bits) - 1)).astype(f">u{digits}")
    lines = [row.tobytes().hex(" ", digits) for row in np.ascontiguousarray(unsigned)]
    head = f"// layer {layer.index} of network {network}: {layer.label}, {shape}\n"
    return head + "\n".join(lines) + "\n"
