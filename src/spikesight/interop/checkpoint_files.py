"""Authors' checkpoint files: their tensors, whatever lies around them, without running any code."""

from __future__ import annotations

import sys
import warnings
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikesight.errors import FileError
from spikesight.files.names import show
from spikesight.files.tensors import read_tensors

# Under which names training scripts save the weights, the most usual first; moving averages last.
_ENTRIES = (
    *("model", "state_dict", "model_state_dict", "model_state", "net", "network", "module"),
    *("model_ema", "state_dict_ema", "model_ema_state_dict", "ema_state_dict", "ema"),
)
# What wrappers put before every name: DataParallel and AveragedModel, torch.compile, Lightning.
_PREFIXES = ("module.", "_orig_mod.", "model.", "ema_model.")
_DEEPEST = 4
# Counters that wrappers keep beside the weights.
_COUNTERS = frozenset({"n_averaged", "steps", "num_updates", "decay"})
# Of the standard library what settings are made of; anything else in a checkpoint is no setting.
_HARMLESS_MODULES = frozenset(
    {"argparse", "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "types"}
)
_HARMLESS = frozenset({"_codecs.encode", "copyreg._reconstructor", "functools.partial"})
_HARMLESS_TYPES = frozenset(
    {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list"}
    | {"object", "range", "set", "slice", "str", "tuple"}
)


class _StandIn(dict[Any, Any]):
    """Takes the place of an object beside the weights: it takes everything and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Forgets the object's state."""


def read_checkpoint(path: Path, entry: str | None = None) -> dict[str, Tensor]:
    """Reads the weights in a .pth, .pt, .ckpt or .safetensors file.

    Around the weights there may be entries such as "model" or "state_dict", also one in the other,
    and names may begin with "module." or "_orig_mod.". Objects beside them (settings, NumPy
    numbers, a log of the training) are passed over: none of their code is looked up or run.

    Args:
        path: The file.
        entry: Name of the entry that holds the weights, such as "model_ema"; that of the usual
            names if omitted.

    Returns:
        Names to tensors, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        FileError: If it cannot be read, or holds no weights; names the entry and the remedy.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {show(path)}; correct the path")
    tensors = path.suffix.lower() == ".safetensors"
    content: object = read_tensors(path) if tensors else _unpickled(path)
    if entry is not None:
        content = _entry(content, entry, path)
    weights = _unwrapped(content)
    if not weights:
        entries = ", ".join(show(str(name)) for name in list(_mapping(content))[:8])
        named = f" (its entries are {entries})" if entries else ""
        raise FileError(
            f"{show(path)} holds no state dict{named}; pass a .pth file of one, or --entry=NAME"
        )
    return _without_prefixes(weights)


def _unpickled(path: Path) -> object:
    try:
        others = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # no archive of torch.save; torch.load says more
        others = []
    for name in others:
        if _may_run(name):
            raise FileError(
                f"{show(path)} holds {show(name)}, which could run code when it is read, so it was "
                "not read; pass a file of the weights alone"
            )
    try:
        stand_ins: list[Any] = [(_stand_in(name), name) for name in others]
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:  # also a damaged archive, whose places lie outside of it
        raise FileError(f"{show(path)} cannot be read ({error}); copy it again") from error
    except Exception as error:
        beside = f"; beside the weights it holds {', '.join(map(show, others))}" if others else ""
        raise FileError(
            f"{show(path)} cannot be read without executing code{beside}; pass a .pth file of a "
            "state dict"
        ) from error
    return content


def _may_run(name: str) -> bool:
    """Whether a name is of the standard library and not one of those that settings are made of."""
    path, _, attribute = name.rpartition(".")
    module = IMPORT_MAPPING.get(path, path)  # pickles have the names of Python 2
    if module == "builtins":
        return attribute not in _HARMLESS_TYPES
    top = module.partition(".")[0]
    harmless = top in _HARMLESS_MODULES or f"{module}.{attribute}" in _HARMLESS
    return top in sys.stdlib_module_names and not harmless


def _stand_in(name: str) -> type[_StandIn]:
    """A class of its own for each name: torch keeps one name per class."""
    return type(name.rpartition(".")[2], (_StandIn,), {})


def _mapping(content: object) -> Mapping[Any, Any]:
    """The content if it has names; nothing of what stands in for an object."""
    return content if isinstance(content, Mapping) and not isinstance(content, _StandIn) else {}


def _entry(content: object, entry: str, path: Path) -> object:
    entries = _mapping(content)
    if _unwrapped(entries.get(entry)):
        return entries[entry]
    names = [show(str(name)) for name, value in entries.items() if _unwrapped(value)]
    raise FileError(
        f"{show(path)} has no entry {entry!r} of weights; pass one of {', '.join(names) or 'none'}"
    )


def _unwrapped(content: object, depth: int = 0) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the first usual entry that has one."""
    entries = _mapping(content)
    for entry in _ENTRIES if depth < _DEEPEST else ():
        inside = _unwrapped(entries[entry], depth + 1) if entry in entries else {}
        if inside:
            return inside
    return {str(n): v.detach() for n, v in entries.items() if isinstance(v, Tensor)}


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    while True:
        kept = {n: v for n, v in weights.items() if n not in _COUNTERS}
        prefix = next((p for p in _PREFIXES if kept and all(n.startswith(p) for n in kept)), None)
        if prefix is None:
            return weights
        weights = {name.removeprefix(prefix): tensor for name, tensor in kept.items()}
