"""Exports: the integer network as a file for another runtime, checked in that runtime."""

from __future__ import annotations

import importlib
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from spikesight.deployment.export.self_test import SelfTest
from spikesight.deployment.runtime.integers import Counts, IntegerExecutor
from spikesight.errors import MissingPackageError, UserError
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


_THREADS = (None, 1)


class ExportError(UserError):
    """A network has no exact form in another runtime; says which layer and why."""


def export(graph: IntegerGraph, path: Path, size: tuple[int, int], *, frames: bool = False) -> Path:
    """Writes a network for another runtime and compares the two on the file's self-test.

    Nothing is written unless every count and every logit agrees, in the form that observes counts
    and in the file as it ships: with one thread and with all, with a free batch and with a fixed
    one. Where OpenVINO's int8 kernels do not agree, the file asks for none, and a warning says so.

    Args:
        graph: The network.
        path: A file ending in .onnx, .xml (OpenVINO, with its .bin beside it) or .nir.
        size: Height and width of the inputs.
        frames: Take frames [B, T, C, H, W] instead of images [B, C, H, W].

    Returns:
        The path.

    Raises:
        ExportError: If the runtime cannot be exact; names the layer and the reason.
        MissingPackageError: If the runtime's packages are not installed.
        ValueError: If the suffix is unknown or the size does not fit the network.
    """
    suffix = path.suffix
    if suffix not in _PACKAGES:
        raise UserError(
            f"cannot export to {path.name!r}; pass a path ending in {', '.join(_PACKAGES)}"
        )
    for package in _PACKAGES[suffix]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingPackageError(
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
        raise UserError(
            f"size {size[0]}x{size[1]} is not divisible by the network's stride {stride}; "
            "export a multiple of it"
        )
    if size[0] > largest[0] or size[1] > largest[1]:
        raise UserError(
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

    from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx

    model = to_onnx(graph, size, frames=frames)
    x = SelfTest.of(graph, size, frames=frames).inputs()
    observing = OnnxRuntime(to_onnx(graph, size, observe=True, frames=frames))
    refuse_difference(graph, x, "onnxruntime", *observing.observe(x))
    onnx.save(model, str(path))
    for threads in _THREADS:
        OnnxRuntime(path, threads, fall_back=False)(x)
    return [path]


def _write_openvino(
    graph: IntegerGraph, path: Path, size: tuple[int, int], frames: bool
) -> list[Path]:
    try:
        _write_openvino_form(graph, path, size, frames, fast=True)
    except ExportError as error:
        _write_openvino_form(graph, path, size, frames, fast=False)
        warnings.warn(
            f"{path.name} is written for float32, which is exact and slower: {error}", stacklevel=4
        )
    return [path.with_suffix(".bin"), path]


def _write_openvino_form(
    graph: IntegerGraph, path: Path, size: tuple[int, int], frames: bool, *, fast: bool
) -> None:
    import openvino

    from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino

    x = SelfTest.of(graph, size, frames=frames).inputs()
    observing = OpenVinoRuntime(to_openvino(graph, size, observe=True, frames=frames, fast=fast))
    refuse_difference(graph, x, "OpenVINO", *observing.observe(x))
    # Compressing to float16 would round the offsets.
    model = to_openvino(graph, size, frames=frames, fast=fast)
    openvino.save_model(model, path, compress_to_fp16=False)
    for threads in _THREADS:
        OpenVinoRuntime(path, threads, fall_back=False)(x)
    OpenVinoRuntime(path, shape=(1, *x.shape[1:]), fall_back=False)


def _write_nir(graph: IntegerGraph, path: Path, size: tuple[int, int], frames: bool) -> list[Path]:
    import nir

    from spikesight.deployment.export.nir import from_nir, to_nir

    network, unsaid = to_nir(graph, size)
    if unsaid:
        warnings.warn(
            "NIR's own equations come close to these nodes but do not equal them; their exact "
            f"rules are in the file's metadata: {'; '.join(unsaid)}",
            stacklevel=3,
        )
    nir.write(path, network)
    x = SelfTest.of(graph, size, frames=frames).inputs()
    refuse_difference(
        graph, x, "the NIR file", *IntegerExecutor(from_nir(nir.read(path))).observe(x)
    )
    return [path]
