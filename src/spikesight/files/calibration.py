"""calibration.safetensors: what was measured of real inputs with the weights beside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from spikesight.errors import FileError
from spikesight.files.limits import CALIBRATION_BYTES
from spikesight.files.names import show
from spikesight.files.opening import open_regular
from spikesight.files.replacing import replaced_file
from spikesight.files.tensors import read_tensors, write_tensors

CALIBRATION = "calibration.safetensors"
REMEDY = "remove it, or calibrate by --photos=FOLDER"
_WEIGHTS = "weights"


def write_measured(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes the file beside a folder's weights, whole or not at all.

    Args:
        folder: Folder with model.safetensors.
        tensors: What was measured with those weights, each with memory of its own.
    """
    with replaced_file(folder / CALIBRATION) as new:
        write_tensors(new, tensors, {_WEIGHTS: _digest(folder)})


def read_measured(folder: Path) -> dict[str, Tensor] | None:
    """Reads the file beside a folder's weights; None where there is none.

    Raises:
        FileError: If it is damaged, too large or was measured with other weights; names the field.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return None
    name = show(path)
    with open_regular(path) as file:
        CALIBRATION_BYTES.check(os.fstat(file.fileno()).st_size, name)
    tensors = read_tensors(path)
    if _weights_of(path) != _digest(folder):
        raise FileError(f"{name}: {_WEIGHTS}: it was measured with other weights; {REMEDY}")
    return tensors


def _weights_of(path: Path) -> str | None:
    try:
        with safe_open(path, framework="pt") as file:
            said: str | None = (file.metadata() or {}).get(_WEIGHTS)
            return said
    except (SafetensorError, OSError) as error:
        raise FileError(f"{show(path)} is damaged ({error}); {REMEDY}") from error


def _digest(folder: Path) -> str:
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
