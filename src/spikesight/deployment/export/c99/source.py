"""A network as one self-contained C99 file."""

from __future__ import annotations

import re
from importlib.resources import files
from string import Template

from spikesight.deployment.export.c99.buffers import plan_memory
from spikesight.deployment.export.c99.context import Context, value_of
from spikesight.deployment.export.c99.functions import write_function
from spikesight.deployment.export.c99.golden import golden_file
from spikesight.deployment.export.c99.header import header_comment
from spikesight.deployment.export.c99.layers import Layers
from spikesight.deployment.export.c99.segmenter_nodes import embedding_table
from spikesight.deployment.export.c99.stages import stages_of
from spikesight.deployment.export.preparation import Preparation
from spikesight.graph import integer_vocabulary as integer


def function_prefix(stem: str) -> str:
    """What the functions of a file of this name begin with.

    Args:
        stem: The file's name without ".c".
    """
    name = re.sub(r"\W", "_", stem, flags=re.ASCII).lower()
    return name if name[:1].isalpha() else f"net_{name}"


def to_c99(
    graph: integer.Graph,
    layers: Layers,
    stem: str = "net",
    *,
    frames: bool = False,
    card: str | None = None,
) -> str:
    """The C99 text of a network.

    Args:
        graph: The network.
        layers: Its layers for inputs of one size.
        stem: The file's name without ".c"; its functions begin with it.
        frames: Whether inputs are frames [T][H][W][C] instead of images [H][W][C].
        card: How inputs are prepared and what classes are called, as run.json says it.

    Raises:
        ExportError: If 32 bits do not hold a step of its arithmetic; names the node.
    """
    stages = stages_of(graph, layers)
    memory = plan_memory(stages, layers)
    context = Context(layers, memory)
    offsets = output_offsets(graph, layers)
    written = [write_function(stage, context, offsets) for stage in stages]
    embeddings = [
        embedding_table(layer.node, layer)
        for layer in layers.values()
        if isinstance(layer.node, integer.Embedding)
    ]
    context.tables += embeddings
    name = function_prefix(stem)
    image = next(iter(layers.values()))
    words = {
        "name": name,
        "NAME": name.upper(),
        "inputs": str(image.elements * (graph.input.steps if frames else 1)),
        "input_shape": (f"[{graph.input.steps}]" if frames else "") + image.size,
        "input_type": image.type.c_name,
        "channels": str(image.channels),
        "logits": str(sum(layers[node.name].elements for node in graph.outputs)),
        "steps": str(graph.input.steps),
        "layers": str(len(layers)),
        "frame": "a frame " + image.size if frames else "the image",
        "frame_name": "frame" if frames else "image",
        "files": ",\n".join(map(golden_file, layers.values())) + ",",
    }
    said = Preparation.read(card)
    integers = None if said is None or frames else said.integers_of_bytes(graph.input)
    if integers is not None:
        meaning = "what the network sees of each byte of a photo, [channel][256]"
        context.table("integers_of_bytes", integers, meaning, (image.type,))
    parts = [
        header_comment(graph, context, stem, name, frames=frames, said=said),
        _frame("declarations", words),
        "" if integers is None else _frame("declaration_of_preparation", words),
        _frame("declarations_of_steps", words) if graph.input.steps > 1 else "",
        _frame("declaration_of_observer", words),
        _frame("kernels", words),
        context.kernels.text,
        "\n/* ---- constants, defined at the end of this file ---- */\n\n",
        "\n".join(table.declaration for table in context.tables) + "\n",
        "\n/* ---- variables ---- */\n\n",
        _variables(context),
        "\n/* ---- layers ---- */\n\n",
        _frame("observe", words) + "\n",
        "\n".join(function for function, _ in written) + "\n",
        _runs(graph, context, [call for _, call in written], offsets, words, frames=frames),
        "" if integers is None else _frame("preparation", words),
        "\n/* ---- a program that compares this file with its golden vectors ---- */\n\n",
        _frame("main", words),
        "\n/* ---- constants ---- */\n\n",
        "\n".join(table.definition for table in context.tables),
        "\n#endif\n",
    ]
    return "".join(parts)


def output_offsets(graph: integer.Graph, layers: Layers) -> dict[str, int]:
    """Where each output begins in the logits, by name."""
    offsets, end = {}, 0
    for node in graph.outputs:
        offsets[node.name] = end
        end += layers[node.name].elements
    return offsets


def _frame(name: str, words: dict[str, str]) -> str:
    text = (files(__package__) / "frame" / f"{name}.c").read_text(encoding="utf-8")
    return Template(text).substitute(words)


def _variables(context: Context) -> str:
    """Arrays of values, names for their parts, and membranes."""
    lines = ["/* The channels of one pixel. */"]
    widest = max(layer.channels for layer in context.layers.values())
    lines += [f"static int32_t pixel_values[{widest}];", ""]
    arrays = context.memory.arrays
    if arrays:
        lines.append("/* Values share memory with others that are needed at another time. */")
    lines += [f"static {one.c_name} memory_{one.suffix}[{arrays[one]}];" for one in arrays]
    places = [
        (value_of(context.layers[name]), buffer, context.layers[name])
        for name, buffer in context.memory.of_values.items()
    ] + [
        (f"context_{context.layers[name].index}", buffer, context.layers[name])
        for name, buffer in context.memory.of_contexts.items()
    ]
    lines += [
        f"static {buffer.type.c_name} *const {name} = memory_{buffer.type.suffix} + "
        f"{buffer.offset}; /* {layer.label} */"
        for name, buffer, layer in places
    ]
    if context.membranes:
        lines += ["", "/* Membranes, [y][x][channel]. */"]
    lines += [
        f"static {one.c_name} membrane_{layer.index}[{layer.elements}]; /* {layer.label} */"
        for layer, one in context.membranes
    ]
    return "\n".join(lines) + "\n"


def _runs(
    graph: integer.Graph,
    context: Context,
    calls: list[str],
    offsets: dict[str, int],
    words: dict[str, str],
    *,
    frames: bool,
) -> str:
    """The functions that run a time step and all of them."""
    name, kind = words["name"], words["input_type"]
    several = graph.input.steps > 1
    image = next(iter(context.layers.values()))
    step_head = f"{name}_step" if several else "run_layers"
    storage = "" if several else "static "
    text = ""
    if several:
        text += f"void {name}_reset(void)\n{{\n"
        for layer, _ in context.membranes:
            text += f"    memset(membrane_{layer.index}, 0, sizeof membrane_{layer.index});\n"
        text += "}\n\n"
    text += f"{storage}void {step_head}(const {kind} *input, int32_t *logits)\n{{\n"
    text += "".join(f"    {call}\n" for call in calls) + "}\n\n"
    text += f"void {name}_run(const {kind} *input, int32_t *logits)\n{{\n"
    text += f"    memset(logits, 0, {words['NAME']}_LOGITS * sizeof *logits);\n"
    if several:
        source = f"input + {image.elements} * step" if frames else "input"
        text += f"    {name}_reset();\n"
        text += f"    for (int32_t step = 0; step < {words['NAME']}_STEPS; ++step) {{\n"
        text += f"        {name}_step({source}, logits);\n    }}\n"
    else:
        text += "    run_layers(input, logits);\n"
    for node in graph.outputs:
        layer = context.layers[node.name]
        place = f"logits + {offsets[node.name]}"
        text += f"    observe({layer.index}, 0, {layer.elements}, {place});\n"
    return text + "}\n"
