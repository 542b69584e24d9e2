"""Exports: the integer network as a file for another runtime, checked in that runtime."""

from __future__ import annotations

import importlib
import tempfile
import warnings
from pathlib import Path

from spikesight.deployment.export.exactness import ExportError, refuse_difference
from spikesight.deployment.export.self_test import SelfTest
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.errors import MissingPackageError, UserError
from spikesight.files.replacing import put_in_place
from spikesight.graph import integer_vocabulary as integer

_PACKAGES = {
    ".onnx": ("onnx", "onnxruntime"),
    ".xml": ("openvino",),
    ".nir": ("nir",),
}
EXPORT_ENDINGS = tuple(_PACKAGES)
"""What files of other runtimes end in."""

_THREADS = (None, 1)


def export(
    graph: integer.Graph, path: Path, size: tuple[int, int], *, frames: bool = False
) -> Path:
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
        UserError: If the suffix is unknown or the size does not fit the network.
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
            put_in_place(written, path.parent / written.name)
    return path


def _write_onnx(
    graph: integer.Graph, path: Path, size: tuple[int, int], frames: bool
) -> list[Path]:
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
    graph: integer.Graph, path: Path, size: tuple[int, int], frames: bool
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
    graph: integer.Graph, path: Path, size: tuple[int, int], frames: bool, *, fast: bool
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


def _write_nir(graph: integer.Graph, path: Path, size: tuple[int, int], frames: bool) -> list[Path]:
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
