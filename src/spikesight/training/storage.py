"""Files and folders that are replaced whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

_REFERENCE = "__tensor__"


def write_text(path: Path, text: str) -> None:
    """Replaces a file by new text; a crash leaves the old file or the new one.

    Args:
        path: File; its folder must exist.
        text: The whole content.
    """
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when the with block succeeds.

    A folder cannot be replaced in one step everywhere, so the old one steps aside first. A crash
    leaves `folder` as it was, or as it should be, or (for an instant) moved aside complete, which
    `recover_folder` undoes. An error in the with block leaves it as it was.

    Args:
        folder: The folder to replace; its parent must exist.
    """
    new, old = _siblings(folder)
    recover_folder(folder)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
    except Exception:
        shutil.rmtree(new, ignore_errors=True)
        raise
    for path in new.rglob("*"):
        if path.is_file():
            _flush(path)
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> Path:
    """Brings a folder back that a crash in `replaced_folder` left aside.

    Args:
        folder: The folder that was being replaced.

    Returns:
        The folder itself, whether or not it exists.
    """
    _, old = _siblings(folder)
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.replace(folder)
    return folder


def _siblings(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_state(folder: Path, name: str, state: dict[str, Any]) -> None:
    """Writes nested dictionaries, lists, numbers, texts and tensors without pickle.

    Args:
        folder: Where `name`.safetensors (the tensors) and `name`.json (all else, with references
            to the tensors) go.
        name: Stem of both files.
        state: What to write; keys that are whole numbers come back as such.
    """
    tensors: dict[str, Tensor] = {}

    def split(value: Any, place: str) -> Any:
        if isinstance(value, Tensor):
            tensors[place] = value.detach().cpu().contiguous().clone()
            return {_REFERENCE: place}
        if isinstance(value, dict):
            return [
                "dict",
                [
                    [key, split(item, f"{place}/{key}" if place else str(key))]
                    for key, item in value.items()
                ],
            ]
        if isinstance(value, list | tuple):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return [kind, [split(item, f"{place}/{i}") for i, item in enumerate(value)]]
        assert value is None or isinstance(value, bool | int | float | str), (place, type(value))
        return value

    skeleton = split(state, "")
    save_file(tensors, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(skeleton), encoding="utf-8")


def read_state(folder: Path, name: str) -> dict[str, Any]:
    """Reads what `write_state` wrote, tensors on the CPU.

    Args:
        folder: Where the two files lie.
        name: Stem of both files.

    Raises:
        FileNotFoundError: If one of the files is missing.
        ValueError: If the files are damaged or do not belong together.
    """
    tensors_path, skeleton_path = folder / f"{name}.safetensors", folder / f"{name}.json"
    for path in (tensors_path, skeleton_path):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; pass a last/ folder of a training run")

    def join(value: Any) -> Any:
        if isinstance(value, dict):
            return tensors[value[_REFERENCE]]
        if isinstance(value, list):
            kind, items = value
            if kind == "dict":
                return {key: join(item) for key, item in items}
            return tuple(map(join, items)) if kind == "tuple" else [join(item) for item in items]
        return value

    try:
        skeleton = json.loads(skeleton_path.read_text(encoding="utf-8"))
        with safe_open(tensors_path, framework="pt") as file:
            tensors: dict[str, torch.Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        state = join(skeleton)
    except Exception as error:
        raise ValueError(
            f"{skeleton_path} and {tensors_path.name} cannot be read ({error}); "
            "start again from another checkpoint"
        ) from error
    assert isinstance(state, dict)
    return state
