"""What the authors' modules returned once: inputs, random weights, outputs and gradients.

All cases lie in ../shared/oracle beside a checkout of this project's own; those of moderate size
are here too (`python -m tests.oracles.publish` writes them), so that parity runs everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

PUBLISHED = Path(__file__).parent
SHARED = Path(__file__).parents[3] / "shared" / "oracle"
NOT_HERE = "../shared/oracle is not here"
_VALUES = "values"


def read(family: str, case: str) -> tuple[dict[str, Any], bool]:
    """An oracle by its names, and whether it is one of the published.

    Raises:
        FileNotFoundError: If it is neither beside the checkout nor published.
    """
    for place in (SHARED / family / name for name in (case, f"{case}.pt", f"{case}.npz")):
        if place.exists():
            return _read(place), False
    return unpacked(np.load(PUBLISHED / family / f"{case}.npz")), True


def _read(place: Path) -> Any:
    if place.is_dir():
        return {file.stem: _read(file) for file in place.iterdir()}
    if place.suffix == ".json":
        return json.loads(place.read_text(encoding="utf-8"))
    if place.suffix == ".pt":
        return torch.load(place, weights_only=True)
    found: dict[str, Any] = {}
    for name, array in np.load(place).items():
        group, _, inner = name.partition("::")
        if inner:
            found.setdefault(group, {})[inner] = torch.from_numpy(np.asarray(array))
        else:
            found[group] = json.loads(str(array))
    return found


def packed(oracle: dict[str, Any]) -> dict[str, Any]:
    """Arrays for `np.savez_compressed`; float64 is float32 where that holds every number."""
    arrays: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, leaf in _leaves(oracle):
        if isinstance(leaf, tuple):
            leaf = torch.stack(leaf)
        if isinstance(leaf, Tensor):
            exact = leaf.dtype == torch.float64 and torch.equal(leaf, leaf.float().double())
            arrays[name] = (leaf.float() if exact else leaf).numpy()
            values[name] = str(leaf.dtype).removeprefix("torch.")
        else:
            values[name] = [leaf]
    return {**arrays, _VALUES: json.dumps(values)}


def unpacked(arrays: Any) -> dict[str, Any]:
    """The oracle that was packed."""
    oracle: dict[str, Any] = {}
    for name, value in json.loads(str(arrays[_VALUES])).items():
        *groups, last = name.split("::")
        place = oracle
        for group in groups:
            place = place.setdefault(group, {})
        if isinstance(value, list):
            place[last] = value[0]
        else:
            place[last] = torch.from_numpy(arrays[name]).to(getattr(torch, value))
    return oracle


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}::{key}" if name else key)
    else:
        yield name, value
