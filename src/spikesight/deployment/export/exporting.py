"""Exports: the integer network as a file for another runtime, checked in that runtime."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import warnings
from collections.abc import Callable
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
    ".c": (),
}
EXPORT_ENDINGS = tuple(_PACKAGES)
"""What files of other runtimes end in."""

_Writer = Callable[[integer.Graph, Path, tuple[int, int], bool], list[Path]]
_THREADS = (None, 1)
_COMPARED_INPUTS = 6
_SHIPPED_INPUTS = (0, 3)
"""Golden vectors, of the self-test's: noise over the whole range, and its extremes in patches."""


def export(
    graph: integer.Graph,
    path: Path,
    size: tuple[int, int],
    *,
    frames: bool = False,
    card: str | None = None,
) -> Path:
    """Writes a network for another runtime and compares the two on the file's self-test.

    Nothing is written unless every count and every logit agrees, in the form that observes counts
    and in the file as it ships: with one thread and with all, with a free batch and with a fixed
    one. Where OpenVINO's int8 kernels do not agree, the file asks for none, and a warning says so.
    A C file is compiled for that; without a compiler a warning says that it was not compared.

    Args:
        graph: The network.
        path: A file ending in .onnx, .xml (OpenVINO, with its .bin beside it), .nir or .c (C99,
            with the folder .golden of golden vectors beside it).
        size: Height and width of the inputs.
        frames: Take frames [B, T, C, H, W] instead of images [B, C, H, W].
        card: How inputs are prepared and what classes are called, as run.json says it; comments
            in C say it too.

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
    writers: dict[str, _Writer] = {
        ".onnx": _write_onnx,
        ".xml": _write_openvino,
        ".nir": _write_nir,
        ".c": _write_c99(card),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        for written in writers[suffix](graph, Path(folder) / path.name, size, frames):
            place = path.parent / written.name
            if written.is_dir():
                _make_room(place)
            put_in_place(written, place)
    return path


def _make_room(folder: Path) -> None:
    """Removes a folder of golden vectors, and nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir() or any(file.suffix != ".hex" for file in folder.iterdir()):
        raise UserError(
            f"{folder} holds other files than golden vectors, whose place it is; move them, or "
            "pass another output"
        )
    shutil.rmtree(folder)


def _write_onnx(
    graph: integer.Graph, path: Path, size: tuple[int, int], frames: bool
) -> list[Path]:
    import onnx

    from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx

    model = to_onnx(graph, size, frames=frames)
    x = SelfTest.unanswered(graph, size, frames=frames).inputs()
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

    x = SelfTest.unanswered(graph, size, frames=frames).inputs()
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
    x = SelfTest.unanswered(graph, size, frames=frames).inputs()
    refuse_difference(
        graph, x, "the NIR file", *IntegerExecutor(from_nir(nir.read(path))).observe(x)
    )
    return [path]


def _write_c99(card: str | None) -> _Writer:
    def write(graph: integer.Graph, path: Path, size: tuple[int, int], frames: bool) -> list[Path]:
        from spikesight.deployment.export.c99.compiled import find_compiler, refuse_wrong_file
        from spikesight.deployment.export.c99.golden import write_golden
        from spikesight.deployment.export.c99.layers import layers_of
        from spikesight.deployment.export.c99.source import to_c99

        layers = layers_of(graph, size)
        text = to_c99(graph, layers, path.stem, frames=frames, card=card)
        path.write_text(text, encoding="utf-8", newline="\n")
        golden, check = path.with_suffix(".golden"), path.with_suffix(".all")
        for folder in (golden, check):
            folder.mkdir()
        x = SelfTest.unanswered(graph, size, frames=frames).inputs()[:_COMPARED_INPUTS]
        write_golden(graph, layers, x, {golden: _SHIPPED_INPUTS, check: range(len(x))})
        compiler = find_compiler()
        if compiler is None:
            warnings.warn(
                f"there is no C compiler here, so {path.name} was not compared with its golden "
                f"vectors; do it where one is: gcc -std=c99 -DSPK_MAIN {path.name} -o check && "
                f"./check {golden.name}",
                stacklevel=4,
            )
        else:
            refuse_wrong_file(compiler, path, check)
        return [golden, path]

    return write
