"""The comment with which a C99 file begins: what an engineer must know to use it."""

from __future__ import annotations

import textwrap

from spikesight.deployment.digest import digest_of
from spikesight.deployment.export.c99.context import Context
from spikesight.deployment.export.exactness import output_names
from spikesight.deployment.export.preparation import Preparation
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import scale_at

_COLUMNS = 100


def header_comment(
    graph: integer.Graph,
    context: Context,
    stem: str,
    name: str,
    *,
    frames: bool,
    said: Preparation | None,
) -> str:
    """What the file says of itself.

    Args:
        graph: The network.
        context: What was written.
        stem: The file's name without ".c".
        name: What its functions begin with.
        frames: Whether inputs are frames.
        said: How inputs are prepared and what classes are called, if that is known.
    """
    image = graph.input
    layer = context.layers[image.name]
    steps = f"[{image.steps}]" if frames else ""
    paragraphs = [
        ("network", f"{digest_of(graph)}, T = {image.steps}, D = {_levels(graph)}"),
        (
            "input",
            f"{layer.type.c_name} {steps}{layer.size}: {'time step, ' if frames else ''}row, "
            f"column, channel. Each integer is clamp(round(x * 2^{image.shift}), {image.low}, "
            f"{image.high}) of the normalised x, half to even."
            + ("" if frames or image.steps == 1 else " It is shown at every time step."),
        ),
        *_preparation(said),
        *_logits(graph, context),
        (
            "constants",
            f"{_bytes(context, 'weights_'):,} bytes of weights, "
            f"{_bytes(context, '') - _bytes(context, 'weights_'):,} of thresholds and others",
        ),
        ("variables", _variables(context)),
        (
            "arithmetic",
            "integers alone; no sum, in whatever order, leaves 32 bits for any input: proved from "
            "the weights. Shifts of negative integers are written so that C99 defines them. "
            "Variables are static: one call at a time.",
        ),
        (
            "use",
            f"compile this file and #define SPK_DECLARATIONS before including it elsewhere, "
            "which declares the functions alone. With SPK_OBSERVE defined it calls "
            f"{name}_observe with every integer.",
        ),
        (
            "proof",
            f"gcc -std=c99 -O2 -DSPK_MAIN {stem}.c -o check && ./check {stem}.golden compares "
            "every layer with its golden vectors, NNN_name.hex: one line per pixel, its channels "
            "in two's complement, as $readmemh reads them, for every input, time step, row and "
            "column.",
        ),
    ]
    lines = [f"{stem}.c: an integer spiking network as C99, written by spikesight", ""]
    for title, text in paragraphs:
        lines += textwrap.wrap(
            text,
            _COLUMNS - 3,
            initial_indent=f"{title:<12}",
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        )
    return "/*\n" + "\n".join(f" * {line}".rstrip() for line in lines) + "\n */\n"


def _levels(graph: integer.Graph) -> str:
    return ", ".join(str(levels) for levels in sorted({node.levels for node in graph.neurons}))


def _bytes(context: Context, start: str) -> int:
    return sum(table.bytes for table in context.tables if table.name.startswith(start))


def _variables(context: Context) -> str:
    membranes = sum(one.bytes * layer.elements for layer, one in context.membranes)
    widest = 4 * max(layer.channels for layer in context.layers.values())
    parts = [f"{context.memory.bytes + widest:,} bytes of values"]
    if membranes:
        parts.append(f"{membranes:,} of membranes")
    return ", ".join(parts) + ", input and logits not counted"


def _logits(graph: integer.Graph, context: Context) -> list[tuple[str, str]]:
    found, start = [], 0
    size = context.layers[graph.input.name]
    for title, node in zip(output_names(graph), graph.outputs, strict=True):
        layer = context.layers[node.name]
        one = len(graph.outputs) == 1
        scale = scale_at(graph, (size.height, size.width)) if one else node.scale
        place = "" if one else f" at {start}"
        found.append((title, f"int32_t {layer.size}{place}; times {scale:.9g} they are real"))
        start += layer.elements
    return found


def _preparation(said: Preparation | None) -> list[tuple[str, str]]:
    if said is None:
        return []
    mean, std = list(said.mean), list(said.std)
    found = [("", f"x = (byte / 255 - mean) / std with mean {mean} and std {std}.")]
    if said.classes:
        found.append(("classes", ", ".join(said.classes)))
    return found
