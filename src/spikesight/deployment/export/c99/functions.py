"""The functions of a C99 file, one per stage: a loop over the pixels of a map."""

from __future__ import annotations

import re
import textwrap

from spikesight.deployment.export.c99.context import Context, NodeText, pixel_of
from spikesight.deployment.export.c99.layers import Layer
from spikesight.deployment.export.c99.nodes import write_node
from spikesight.deployment.export.c99.stages import Stage
from spikesight.graph import integer_vocabulary as integer

_COLUMNS = 100


def write_function(stage: Stage, context: Context, offsets: dict[str, int]) -> tuple[str, str]:
    """The function of a stage and the statement that calls it.

    Args:
        stage: The nodes that share the loop.
        context: What has been written so far.
        offsets: Where each output begins in the logits, by name.
    """
    inside, texts = None, []
    for node in stage:
        texts.append(write_node(node, context, inside))
        inside = node.name
    layers = [context.layers[node.name] for node in stage]
    last, pixels = layers[-1], layers[-1]
    constants = [line for text in texts for line in text.constants]
    constants += _output_places(last, offsets)
    body = _statements(stage, texts, layers, context)
    lines = constants + [line for text in texts for line in text.before]
    lines += _loop(pixels, body)
    reads_input = bool(re.search(r"\binput\b", "\n".join(lines)))
    parameters, arguments = [], []
    if reads_input:
        image = context.layers[next(iter(context.layers))]
        parameters.append(f"const {image.type.c_name} *input")
        arguments.append("input")
    if isinstance(last.node, integer.Output):
        parameters.append("int32_t *logits")
        arguments.append("logits")
    name = f"stage_{layers[0].index}"
    comment = _comment(layers, texts)
    head = f"static void {name}({', '.join(parameters) or 'void'})"
    inner = "\n".join(wrapped(line) for line in lines)
    return f"{comment}\n{head}\n{{\n{textwrap.indent(inner, '    ')}\n}}\n", (
        f"{name}({', '.join(arguments)});"
    )


def _output_places(last: Layer, offsets: dict[str, int]) -> list[str]:
    if not isinstance(last.node, integer.Output):
        return []
    offset = offsets[last.node.name]
    place = f"logits + {offset}" if offset else "logits"
    return [f"int32_t *output_{last.index} = {place};"]


def _statements(
    stage: Stage, texts: list[NodeText], layers: list[Layer], context: Context
) -> list[str]:
    statements: list[str] = []
    for text, layer in zip(texts, layers, strict=True):
        statements += text.statements
        if not isinstance(layer.node, integer.Output):
            first = "0" if layer.pixels == 1 else f"{layer.channels} * pixel"
            statements.append(f"observe({layer.index}, {first}, {layer.channels}, pixel_values);")
    last = layers[-1]
    if not isinstance(last.node, integer.Output):
        kernel = context.kernels.use("write", TARGET=last.type)
        statements.append(f"{kernel}({last.channels}, pixel_values, {pixel_of(last)});")
    return statements


def _loop(layer: Layer, body: list[str]) -> list[str]:
    """Statements for every pixel, with the names `y`, `x` and `pixel` as they need them."""
    text = "\n".join(body)
    used = {name: bool(re.search(rf"\b{name}\b", text)) for name in ("x", "y", "pixel")}
    if layer.pixels == 1:
        named = [name for name, needed in used.items() if needed]
        return [*([f"const int32_t {' = 0, '.join(named)} = 0;"] if named else []), *body]
    if not used["y"] and not used["x"]:
        return [
            f"for (int32_t pixel = 0; pixel < {layer.pixels}; ++pixel) {{",
            *(f"    {line}" for line in body),
            "}",
        ]
    pixel = f"        const int32_t pixel = {layer.width} * y + x;"
    return [
        f"for (int32_t y = 0; y < {layer.height}; ++y) {{",
        f"    for (int32_t x = 0; x < {layer.width}; ++x) {{",
        *([pixel] if used["pixel"] else []),
        *(f"        {line}" for line in body),
        "    }",
        "}",
    ]


def _comment(layers: list[Layer], texts: list[NodeText]) -> str:
    lines = [
        f"{layer.index:>4}  {layer.label}: {text.meaning}, {layer.size}"
        for layer, text in zip(layers, texts, strict=True)
    ]
    return "/*\n" + "\n".join(lines) + "\n */"


def wrapped(statement: str) -> str:
    """A statement in lines that are not too long, the later ones indented."""
    indent = " " * (len(statement) - len(statement.lstrip()))
    return textwrap.fill(
        statement.strip(),
        _COLUMNS - 4,
        initial_indent=indent,
        subsequent_indent=indent + "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
