"""Tensors in safetensors files, as model folders hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spikesight.errors import FileError
from spikesight.files.names import show
from spikesight.files.opening import open_regular

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_LARGEST = 2.0**64
COPY_AGAIN = "copy it again, or pass another folder"


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file with the rights that the umask leaves.

    Args:
        path: The file; its folder must exist.
        tensors: Tensors by name, each with memory of its own.
        metadata: What the file says of itself.
    """
    path.touch()
    rights = path.stat().st_mode
    save_file(dict(tensors), path, metadata)  # gives the file to its owner alone
    path.chmod(rights)


def read_tensors(path: Path, *, finite: bool = True) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file, on the CPU.

    Args:
        path: The file.
        finite: Whether NaN and infinity are refused.

    Raises:
        FileError: If it is missing or damaged, or holds NaN, infinity or a number that is all but
            infinite.
    """
    open_regular(path).close()
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        # Torch's own, of types of numbers that it does not know.
        raise FileError(f"{show(path)} is damaged ({error}); {COPY_AGAIN}") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype not in _FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise FileError(
                f"{show(path)}: {name} holds {kind} numbers, which no model here has; {COPY_AGAIN}"
            )
        if finite and not can_compute(tensor):
            raise FileError(
                f"{show(path)}: {name} holds NaN, infinity or a number beyond {_LARGEST:.1e}, with "
                f"which nothing can be computed; {COPY_AGAIN}, such as an earlier checkpoint"
            )
    return tensors


def can_compute(tensor: Tensor) -> bool:
    """Whether a tensor holds no NaN, infinity or number that is all but infinite."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
        return True
    low, high = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).aminmax()
    # As numbers of Python, since a half would turn the limit into infinity; both false of NaN.
    return float(low) >= -_LARGEST and float(high) <= _LARGEST


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a safetensors file; the tensors are not read.

    Raises:
        FileError: If it is missing or damaged.
    """
    open_regular(path).close()
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise FileError(f"{show(path)} is damaged ({error}); {COPY_AGAIN}") from error
