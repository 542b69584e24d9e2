"""What a stranger's export says of itself, read within limits and without running it."""

from __future__ import annotations

import os
from pathlib import Path

from spikesight.deployment.description import CARD_KEY
from spikesight.deployment.export.openvino_runtime import INFO
from spikesight.errors import FileError, missing_package
from spikesight.files.limits import DOCUMENT_BYTES, EXPORT_BYTES
from spikesight.files.names import show
from spikesight.files.opening import open_regular, read_bytes
from spikesight.files.xml_documents import read_xml

RUNNABLE_ENDINGS = (".onnx", ".xml")
"""Exports that have a runtime in Python."""
_AGAIN = "export it again"


def read_export_card(path: Path) -> str | None:
    """The card that an ONNX or OpenVINO file carries.

    Args:
        path: The file.

    Returns:
        Its text; None if the file was written without.

    Raises:
        FileError: If the file is damaged, too large or no such file.
        MissingPackageError: If reading it needs a package that is not installed.
    """
    check_export(path)
    text = _onnx_card(path) if path.suffix == ".onnx" else _openvino_card(path)
    if text is not None:
        DOCUMENT_BYTES.check(len(text), f"{show(path)}: {CARD_KEY}")
    return text


def check_export(path: Path) -> None:
    """Refuses what is no regular file or too large, before a runtime reads it.

    Raises:
        FileError: If it is.
    """
    parts = [path] if path.suffix == ".onnx" else [path, path.with_suffix(".bin")]
    for part in parts:
        with open_regular(part) as file:
            EXPORT_BYTES.check(os.fstat(file.fileno()).st_size, show(part))


def _onnx_card(path: Path) -> str | None:
    try:
        import onnx
    except ImportError as error:
        raise missing_package(f"reading {show(path)}", "onnx", "deploy") from error
    model, content = onnx.ModelProto(), read_bytes(path, EXPORT_BYTES)
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's DecodeError, which comes without types
        raise FileError(f"{show(path)}: is no ONNX model ({error}); {_AGAIN}") from error
    found = [entry.value for entry in model.metadata_props if entry.key == CARD_KEY]
    return found[0] if found else None


def _openvino_card(path: Path) -> str | None:
    root = read_xml(path, remedy=_AGAIN, limit=DOCUMENT_BYTES)
    if root.tag != "net":
        raise FileError(f"{show(path)}: is no OpenVINO model; {_AGAIN}")
    place = root.find(f"rt_info/{INFO}/{CARD_KEY}")
    return None if place is None else place.get("value")
