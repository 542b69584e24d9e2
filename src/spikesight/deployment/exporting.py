"""Exports: the integer network as a file for another runtime, checked in that runtime."""

from __future__ import annotations

import importlib
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesight.deployment.integer_execution import Counts, IntegerExecutor
from spikesight.graph.integer_vocabulary import (
    IntegerGraph,
    IntegerNeuron,
    IntegerNode,
    IntegerSynapse,
    Interval,
)
from spikesight.passes.ranges import EXACT_IN_FLOAT32, Reach, accumulator, prove_ranges

_PACKAGES = {
    ".onnx": ("onnx", "onnxruntime"),
    ".xml": ("openvino",),
    ".nir": ("nir",),
}
EXPORT_ENDINGS = tuple(_PACKAGES)
"""What files of other runtimes end in."""


class ExportError(ValueError):
    """A network has no exact form in another runtime; says which layer and why."""


def export(graph: IntegerGraph, path: Path, size: tuple[int, int], *, frames: bool = False) -> Path:
    """Writes a network for another runtime and compares the two on random inputs.

    Nothing is written unless every count and every logit agrees.

    Args:
        graph: The network.
        path: A file ending in .onnx, .xml (OpenVINO, with its .bin beside it) or .nir.
        size: Height and width of the inputs.
        frames: Take frames [B, T, C, H, W] instead of images [B, C, H, W].

    Returns:
        The path.

    Raises:
        ExportError: If the runtime cannot be exact; names the layer and the reason.
        ImportError: If the runtime's packages are not installed.
        ValueError: If the suffix is unknown or the size does not fit the network.
    """
    suffix = path.suffix
    if suffix not in _PACKAGES:
        raise ValueError(
            f"cannot export to {path.name!r}; pass a path ending in {', '.join(_PACKAGES)}"
        )
    for package in _PACKAGES[suffix]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"exporting to {suffix} needs the package {package}; pip install spikesight[deploy]"
            ) from error
    write = {".onnx": _write_onnx, ".xml": _write_openvino, ".nir": _write_nir}[suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        for written in write(graph, Path(folder) / path.name, size, frames):
            os.replace(written, path.parent / written.name)
    return path


def prove_at(graph: IntegerGraph, size: tuple[int, int]) -> dict[str, Reach]:
    """Bounds every value of a network for inputs of one size.

    Args:
        graph: The network.
        size: Height and width of the inputs.

    Returns:
        As `prove_ranges` does.

    Raises:
        ValueError: If the network does not take this size.
    """
    stride, largest = graph.input.stride, graph.max_size
    if min(size) < 1 or size[0] % stride or size[1] % stride:
        raise ValueError(
            f"size {size[0]}x{size[1]} is not divisible by the network's stride {stride}; "
            "export a multiple of it"
        )
    if size[0] > largest[0] or size[1] > largest[1]:
        raise ValueError(
            f"size {size[0]}x{size[1]} is larger than the {largest[0]}x{largest[1]} that the "
            "ranges are proved for; deploy with a larger max_size"
        )
    return prove_ranges(replace(graph, max_size=size))


def refuse_segmenter(graph: IntegerGraph, runtime: str, reason: str) -> None:
    """Raises ExportError for a network with nodes of segmenters; names the first one.

    Args:
        graph: The network.
        runtime: Name of what it was to be written for.
        reason: Why that has no exact form of it.
    """
    if (node := graph.segmenter_node) is not None:
        raise ExportError(
            f"{node.name} is a segmenter's: {runtime} {reason}; export to .onnx, or run the "
            "deployed network in PyTorch"
        )


def split_of(node: IntegerSynapse, source: Interval) -> int:
    """Bits at which to split a synapse's input so that float32 accumulates each part exactly.

    Args:
        node: The synapse.
        source: What its input can reach.

    Returns:
        0 if the input need not be split; s if both its quotient and its remainder by 2^s can be
        accumulated.

    Raises:
        ExportError: If no split suffices.
    """
    if accumulator(node, source).magnitude < EXACT_IN_FLOAT32:
        return 0
    bits = source.magnitude.bit_length() // 2
    remainder = Interval(
        torch.zeros_like(source.low), torch.full_like(source.high, 2**bits - 1), 2**bits - 1
    )
    low, high = source.low >> bits, source.high >> bits
    quotient = Interval(low, high, (source.magnitude >> bits) + 1)
    for part in (quotient, remainder):
        reach = accumulator(node, part)
        if reach.magnitude >= EXACT_IN_FLOAT32:
            raise ExportError(
                f"{node.name} accumulates {reach.bits} bits from each half of its input, more "
                "than float32 holds; deploy with fewer weight_bits"
            )
    return bits


def folded_neurons(graph: IntegerGraph) -> dict[str, IntegerNeuron]:
    """Neurons whose gain and offset can enter the synapse before them, by that synapse's name."""
    readers: dict[str, list[IntegerNode]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    folded: dict[str, IntegerNeuron] = {}
    for name, nodes in readers.items():
        synapse, (reader, *others) = graph.by_name[name], nodes
        if (
            isinstance(synapse, IntegerSynapse)
            and not bool(synapse.shift.any())
            and not bool(synapse.bias.any())
            and isinstance(reader, IntegerNeuron)
            and reader.rounding is not None
            and not others
        ):
            folded[name] = reader
    return folded


def random_images(graph: IntegerGraph, size: tuple[int, int], *, frames: bool = False) -> Tensor:
    """Three seeded inputs of noise, fine to coarse, that fill the range of the image.

    Args:
        graph: The network that will read them.
        size: Height and width in pixels.
        frames: Make frames [3, T, C, H, W] instead of images [3, C, H, W].
    """
    image = graph.input
    count = image.steps if frames else 1
    generator = torch.Generator().manual_seed(0)
    peak = 1.1 * image.high * 2.0**-image.shift
    grains = []
    for cells in (1, 4, 8):
        coarse = (max(size[0] // cells, 1), max(size[1] // cells, 1))
        noise = torch.rand(count, image.channels, *coarse, generator=generator) * 2 - 1
        grains.append(F.interpolate(noise, size, mode="bilinear") * peak)
    x = torch.stack(grains)
    return x if frames else x[:, 0]


def refuse_difference(
    graph: IntegerGraph, x: Tensor, runtime: str, counts: Counts, logits: Tensor
) -> None:
    """Raises ExportError at the first layer in which a runtime differs from the integer network.

    Args:
        graph: The network.
        x: What the runtime read.
        runtime: Its name.
        counts: The runtime's counts [T*B, ...] per neuron; those missing are not compared.
        logits: The runtime's logits [B, K].
    """
    expected, expected_logits = IntegerExecutor(graph).observe(x)
    for name, own in expected.items():
        differing = int((counts[name].to(own) != own).sum()) if name in counts else 0
        if differing:
            raise ExportError(
                f"{runtime} computes {differing} of {own.numel()} counts of {name} differently; "
                "the export is not exact on this machine and was not written"
            )
    if not torch.equal(logits.to(expected_logits), expected_logits):
        raise ExportError(
            f"{runtime} computes other logits at {graph.output.name}; the export is not exact on "
            "this machine and was not written"
        )


def _write_onnx(graph: IntegerGraph, path: Path, size: tuple[int, int], frames: bool) -> list[Path]:
    import onnx

    from spikesight.deployment.onnx_export import OnnxRuntime, to_onnx

    x = random_images(graph, size, frames=frames)
    observing = OnnxRuntime(to_onnx(graph, size, observe=True, frames=frames))
    refuse_difference(graph, x, "onnxruntime", *observing.observe(x))
    onnx.save(to_onnx(graph, size, frames=frames), str(path))
    refuse_difference(graph, x, "onnxruntime", {}, OnnxRuntime(path)(x))
    return [path]


def _write_openvino(
    graph: IntegerGraph, path: Path, size: tuple[int, int], frames: bool
) -> list[Path]:
    import openvino

    from spikesight.deployment.openvino_export import OpenVinoRuntime, to_openvino

    x = random_images(graph, size, frames=frames)
    observing = OpenVinoRuntime(to_openvino(graph, size, observe=True, frames=frames))
    refuse_difference(graph, x, "OpenVINO", *observing.observe(x))
    # Compressing to float16 would round the offsets.
    openvino.save_model(to_openvino(graph, size, frames=frames), path, compress_to_fp16=False)
    refuse_difference(graph, x, "OpenVINO", {}, OpenVinoRuntime(path)(x))
    return [path.with_suffix(".bin"), path]


def _write_nir(graph: IntegerGraph, path: Path, size: tuple[int, int], frames: bool) -> list[Path]:
    import nir

    from spikesight.deployment.nir_export import from_nir, to_nir

    network, unsaid = to_nir(graph, size)
    if unsaid:
        warnings.warn(
            "NIR's own equations come close to these nodes but do not equal them; their exact "
            f"rules are in the file's metadata: {'; '.join(unsaid)}",
            stacklevel=3,
        )
    nir.write(path, network)
    x = random_images(graph, size, frames=frames)
    refuse_difference(
        graph, x, "the NIR file", *IntegerExecutor(from_nir(nir.read(path))).observe(x)
    )
    return [path]
