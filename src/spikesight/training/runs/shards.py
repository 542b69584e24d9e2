"""Files of tensors of which every process holds a share: each writes its own, anyone reads all."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikesight.errors import FileError


def is_shared(tensor: Tensor) -> bool:
    """Whether every process holds a share of it alone."""
    return hasattr(tensor, "full_tensor")  # a DTensor, which not every PyTorch knows


def write_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Writes every process's share, as safetensors; all processes call it together.

    Args:
        folder: Where the files go.
        tensors: Sharded tensors under the same names in every process.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    save(tensors, storage_writer=writer)


def read_shards(folder: Path, remedy: str) -> dict[str, Tensor]:
    """Reads what any number of processes wrote, whole and on the CPU.

    Args:
        folder: Where the files are.
        remedy: What to do about damaged ones.

    Raises:
        FileError: If they are damaged.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    try:
        reader: Any = HuggingFaceStorageReader(str(folder))
        known = reader.read_metadata().state_dict_metadata
        tensors = {
            name: torch.empty(found.size, dtype=found.properties.dtype)
            for name, found in known.items()
        }
        with warnings.catch_warnings():  # that no process group is there
            warnings.simplefilter("ignore", UserWarning)
            load(tensors, storage_reader=reader, no_dist=True)
    except Exception as error:  # of many kinds, from headers, sizes and places
        raise FileError(f"{folder} cannot be read ({error}); {remedy}") from error
    return tensors
