"""Exports: the integer network as a file for another runtime, checked in that runtime."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from spikesight.deployment.description import Tensors, described
from spikesight.deployment.export.exactness import ExportError, refuse_difference
from spikesight.deployment.export.preparation import Preparation, normalised
from spikesight.deployment.export.self_test import SelfTest
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.errors import UserError, missing_package
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

_Writer = Callable[[integer.Graph, Path, "Request"], list[Path]]
SIDECAR = ".json"
"""What is put behind a file's name for the card beside it."""
_THREADS = (None, 1)
_COMPARED_INPUTS = 6
_SHIPPED_INPUTS = (0, 3)
"""Golden vectors, of the self-test's: noise over the whole range, and its extremes in patches."""


@dataclass(frozen=True)
class Request:
    """What is to be written of a network.

    Attributes:
        size: Height and width of the inputs.
        frames: Whether the file takes frames instead of images.
        card: How inputs are prepared and what classes are called, as run.json says it.
        bytes_table: What the network sees of each byte of each channel [C, 256], if the file reads
            photos.
    """

    size: tuple[int, int]
    frames: bool = False
    card: str | None = None
    bytes_table: Tensor | None = None

    def test_inputs(self, graph: integer.Graph) -> tuple[Tensor, Tensor]:
        """The inputs of the file's self-test, and the normalised ones that they stand for."""
        table = self.bytes_table
        photos = table is not None
        x = SelfTest.unanswered(graph, self.size, frames=self.frames, photos=photos).inputs()
        return x, x if table is None else normalised(x, table, graph.input)


def export(
    graph: integer.Graph,
    path: Path,
    size: tuple[int, int],
    *,
    frames: bool = False,
    photo_input: bool = False,
    card: str | None = None,
) -> Path:
    """Writes a network for another runtime and compares the two on the file's self-test.

    Nothing is written unless every count and every logit agrees, in the form that observes counts
    and in the file as it ships: with one thread and with all, with a free batch and with a fixed
    one. Where OpenVINO's int8 kernels do not agree, the file asks for none, and a warning says so.
    A C file is compiled for that; without a compiler a warning says that it was not compared.
    Beside the file of a network with a card, PATH.json says what `described` says, and checksums.

    Args:
        graph: The network.
        path: A file ending in .onnx, .xml (OpenVINO, with its .bin beside it), .nir or .c (C99,
            with the folder .golden of golden vectors beside it).
        size: Height and width of the inputs.
        frames: Take frames [B, T, C, H, W] instead of images [B, C, H, W].
        photo_input: Take photos, uint8 [B, H, W, C], and normalise them in the file; ONNX and
            OpenVINO.
        card: How inputs are prepared and what classes are called, as run.json says it; the file
            carries it, in C as comments.

    Returns:
        The path.

    Raises:
        ExportError: If the runtime cannot be exact; names the layer and the reason.
        MissingPackageError: If the runtime's packages are not installed.
        UserError: If the suffix is unknown, the size does not fit the network, or the file cannot
            take photos.
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
            raise missing_package(f"exporting to {suffix}", package, "deploy") from error
    table = _bytes_table(graph, path, card, frames=frames) if photo_input else None
    request = Request(size, frames, card, table)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        files = _WRITERS[suffix](graph, Path(folder) / path.name, request)
        if card is not None:
            sidecar = Path(folder) / f"{path.name}{SIDECAR}"
            said = described(card, graph, _tensors(graph, suffix, request))
            sidecar.write_text(_beside(said, files), encoding="utf-8")
            files.append(sidecar)
        for written in files:
            place = path.parent / written.name
            if written.is_dir():
                _make_room(place)
            put_in_place(written, place)
    return path


def _bytes_table(graph: integer.Graph, path: Path, card: str | None, *, frames: bool) -> Tensor:
    """What the network sees of each byte, where a file can read photos."""
    if path.suffix not in (".onnx", ".xml"):
        raise UserError(
            f"photo_input is for .onnx and .xml and not for {path.suffix}"
            + (", which has a function for a photo's bytes anyway" if path.suffix == ".c" else "")
            + "; leave it out"
        )
    if frames:
        raise UserError("frames are counts and photos are bytes; pass frames or photo_input")
    said = Preparation.read(card)
    table = None if said is None else said.integers_of_bytes(graph.input)
    if table is None:
        raise UserError(
            "the network does not say by which mean and std photos are normalised, and so cannot "
            "take them as they are; leave photo_input out, or deploy from a run's folder"
        )
    return table


def _tensors(graph: integer.Graph, suffix: str, request: Request) -> Tensors:
    size, frames = request.size, request.frames
    if suffix == ".nir":
        return Tensors.integers(size)
    if suffix == ".c":
        from spikesight.deployment.export.c99.layers import layers_of

        dtype = layers_of(graph, size)[graph.input.name].type.c_name.removesuffix("_t")
        return Tensors(size, frames, dtype, "HWC", "integers")
    return Tensors(size, frames) if request.bytes_table is None else Tensors.photos(size)


def _beside(card: str, files: Iterable[Path]) -> str:
    """The card beside an export, with the SHA-256 of each of its files."""
    content = json.loads(card)
    content["files"] = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()
    }
    return json.dumps(content, indent=2) + "\n"


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


def _write_onnx(graph: integer.Graph, path: Path, request: Request) -> list[Path]:
    import onnx

    from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx

    size, frames = request.size, request.frames
    table = request.bytes_table
    model = to_onnx(graph, size, frames=frames, bytes_table=table, card=request.card)
    x, meant = request.test_inputs(graph)
    observing = OnnxRuntime(to_onnx(graph, size, observe=True, frames=frames, bytes_table=table))
    refuse_difference(graph, meant, "onnxruntime", *observing.observe(x))
    onnx.save(model, str(path))
    for threads in _THREADS:
        OnnxRuntime(path, threads, fall_back=False)(x)
    return [path]


def _write_openvino(graph: integer.Graph, path: Path, request: Request) -> list[Path]:
    try:
        _write_openvino_form(graph, path, request, fast=True)
    except ExportError as error:
        _write_openvino_form(graph, path, request, fast=False)
        warnings.warn(
            f"{path.name} is written for float32, which is exact and slower: {error}", stacklevel=4
        )
    return [path.with_suffix(".bin"), path]


def _write_openvino_form(graph: integer.Graph, path: Path, request: Request, *, fast: bool) -> None:
    import openvino

    from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino

    form: dict[str, Any] = {
        "frames": request.frames,
        "fast": fast,
        "bytes_table": request.bytes_table,
    }
    x, meant = request.test_inputs(graph)
    observing = OpenVinoRuntime(to_openvino(graph, request.size, observe=True, **form))
    refuse_difference(graph, meant, "OpenVINO", *observing.observe(x))
    # Compressing to float16 would round the offsets.
    model = to_openvino(graph, request.size, card=request.card, **form)
    openvino.save_model(model, path, compress_to_fp16=False)
    for threads in _THREADS:
        OpenVinoRuntime(path, threads, fall_back=False)(x)
    OpenVinoRuntime(path, shape=(1, *x.shape[1:]), fall_back=False)


def _write_nir(graph: integer.Graph, path: Path, request: Request) -> list[Path]:
    import nir

    from spikesight.deployment.export.nir import from_nir, to_nir

    network, unsaid = to_nir(graph, request.size, request.card)
    if unsaid:
        warnings.warn(
            "NIR's own equations come close to these nodes but do not equal them; their exact "
            f"rules are in the file's metadata: {'; '.join(unsaid)}",
            stacklevel=3,
        )
    nir.write(path, network)
    x, _ = request.test_inputs(graph)
    refuse_difference(
        graph, x, "the NIR file", *IntegerExecutor(from_nir(nir.read(path))).observe(x)
    )
    return [path]


def _write_c99(graph: integer.Graph, path: Path, request: Request) -> list[Path]:
    from spikesight.deployment.export.c99.compiled import find_compiler, refuse_wrong_file
    from spikesight.deployment.export.c99.golden import write_golden
    from spikesight.deployment.export.c99.layers import layers_of
    from spikesight.deployment.export.c99.source import to_c99

    layers = layers_of(graph, request.size)
    text = to_c99(graph, layers, path.stem, frames=request.frames, card=request.card)
    path.write_text(text, encoding="utf-8", newline="\n")
    golden, check = path.with_suffix(".golden"), path.with_suffix(".all")
    for folder in (golden, check):
        folder.mkdir()
    x = request.test_inputs(graph)[0][:_COMPARED_INPUTS]
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


_WRITERS: dict[str, _Writer] = {
    ".onnx": _write_onnx,
    ".xml": _write_openvino,
    ".nir": _write_nir,
    ".c": _write_c99,
}
