"""Files and folders that are replaced whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from spikesight.errors import FileError
from spikesight.files.documents import read_json, shortened
from spikesight.files.replacing import explained, flush
from spikesight.files.tensors import read_tensors, write_tensors
from spikesight.training.runs.shards import is_shared, read_shards, write_shards

_REFERENCE = "__tensor__"
_START_AGAIN = "start again from another checkpoint"
_DEEPEST = 200


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when the with block succeeds.

    A folder cannot be replaced in one step everywhere, so the old one steps aside first. A crash
    leaves `folder` as it was, or as it should be, or (for an instant) moved aside complete, which
    `recover_folder` undoes. An error in the with block leaves it as it was.

    Args:
        folder: The folder to replace; its parent must exist.

    Raises:
        FileError: If it cannot be written, such as on a full disk.
    """
    new, old = _siblings(folder)
    with explained(folder):
        recover_folder(folder)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            yield new
            for path in (*new.rglob("*"), new):
                flush(path)
        except Exception:
            shutil.rmtree(new, ignore_errors=True)
            raise
        _exchange(folder, new, old)


def _exchange(folder: Path, new: Path, old: Path) -> None:
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def new_sibling(folder: Path) -> Path:
    """The folder that `replaced_folder` yields."""
    return _siblings(folder)[0]


def recover_folder(folder: Path) -> Path:
    """Brings a folder back that a crash in `replaced_folder` left aside.

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


def write_state(folder: Path, name: str, state: dict[str, Any], *, main: bool = True) -> None:
    """Writes nested dictionaries, lists, numbers, texts and tensors without pickle.

    Args:
        folder: Where `name`.safetensors (the tensors) and `name`.json (all else, with references
            to the tensors) go; tensors of which every process holds a share, into a folder `name`.
        name: Stem of both files.
        state: What to write; keys that are whole numbers come back as such.
        main: Whether this process writes what all of them have; where tensors are shared, all call
            this together.
    """
    tensors: dict[str, Tensor] = {}
    shared: dict[str, Tensor] = {}

    def split(value: Any, place: str) -> Any:
        if isinstance(value, Tensor):
            if is_shared(value):
                shared[place] = value.detach()
            else:
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
    if main:
        write_tensors(folder / f"{name}.safetensors", tensors)
        (folder / f"{name}.json").write_text(json.dumps(skeleton), encoding="utf-8")
    if shared:
        write_shards(folder / name, shared)


def read_state(folder: Path, name: str) -> dict[str, Any]:
    """Reads what `write_state` wrote, tensors on the CPU.

    Raises:
        FileNotFoundError: If one of the files is missing.
        FileError: If the files are damaged or do not belong together.
    """
    tensors_path, skeleton_path = folder / f"{name}.safetensors", folder / f"{name}.json"
    for path in (tensors_path, skeleton_path):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; pass a last/ folder of a training run")
    skeleton = read_json(skeleton_path, Any, remedy=_START_AGAIN, finite=False, deepest=_DEEPEST)
    tensors = read_tensors(tensors_path, finite=False)
    if (folder / name).is_dir():
        tensors |= read_shards(folder / name, _START_AGAIN)
    left = set(tensors)

    def join(value: Any) -> Any:
        match value:
            case {"__tensor__": str(place), **others} if place in tensors and not others:
                left.discard(place)
                return tensors[place]
            case ["dict", list(items)] if all(map(_is_pair, items)):
                return {key: join(item) for key, item in items}
            case ["tuple", list(items)]:
                return tuple(map(join, items))
            case ["list", list(items)]:
                return list(map(join, items))
            case None | bool() | int() | float() | str():
                return value
        raise FileError(
            f"{skeleton_path} cannot be read (it does not say how {shortened(repr(value))} belongs "
            f"to {tensors_path.name}); {_START_AGAIN}"
        )

    state = join(skeleton)
    if not isinstance(state, dict):
        raise FileError(f"{skeleton_path} cannot be read (it has no fields); {_START_AGAIN}")
    if left:
        raise FileError(
            f"{tensors_path}: {min(left)} is not in {skeleton_path.name}; {_START_AGAIN}"
        )
    return state


def _is_pair(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str | int)
