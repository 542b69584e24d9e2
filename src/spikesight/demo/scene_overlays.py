"""What is in a scene, drawn over it so that an object has one colour in every picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikesight.data.segmentation import VOID, ClassTable, Truth
from spikesight.reports.boxes import Colour, class_colour
from spikesight.reports.overlays import draw_overlay

_UNKNOWN: Colour = (170, 170, 170)


@dataclass(frozen=True)
class SceneOverlay:
    """What is in a scene, drawn over it.

    Attributes:
        picture: uint8 [3, H, W].
        objects: Names with colours of the things in it, each pair once, by name.
    """

    picture: Tensor
    objects: Sequence[tuple[str, Colour]]


def overlay_of(image: Tensor, found: Truth, true: Truth, table: ClassTable) -> SceneOverlay:
    """The things of a scene in colour; the ground stays as it is.

    Args:
        image: uint8 [3, H, W].
        found: What is drawn: the true segments, or some that were found.
        true: The true segments. Each has a colour, and what was found has that of the true object
            that it shares most pixels with; grey where it meets none.
        table: The classes.
    """
    things = torch.isin(found.class_map(), torch.tensor(table.things))
    shown = found.with_map(found.segment_map.masked_fill(~things, VOID))
    numbers = [int(n) for n in shown.segment_map.unique() if n != VOID]
    colours = _colours(true, table)
    owners = {n: _owner(shown.segment_map == n, true, colours) for n in numbers}
    chosen = {n: _UNKNOWN if owner is None else colours[owner] for n, owner in owners.items()}
    painted = ClassTable(
        tuple(str(n) for n in range(len(shown.segment_classes))),
        tuple(chosen.get(n, _UNKNOWN) for n in range(len(shown.segment_classes))),
        tuple(numbers),
    )
    each = Truth(shown.segment_map, torch.arange(len(painted)), shown.crowd)
    picture = draw_overlay(image, each, painted, legend="none")
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    named = {(table.names[int(shown.segment_classes[n])], chosen[n]): None for n in numbers}
    return SceneOverlay(pixels, sorted(named, key=lambda pair: pair[0]))


def parted(classes: Tensor, table: ClassTable) -> Truth:
    """A map of classes as segments: pixels of one class that hang together are one.

    Args:
        classes: int64 [H, W].
        table: The classes.
    """
    from scipy import ndimage

    label: Any = ndimage.label  # type: ignore[attr-defined]

    segments = torch.full_like(classes, VOID, dtype=torch.int32)
    found: list[int] = []
    for number in table.things:
        pieces, count = label((classes == number).numpy())
        inside = torch.from_numpy(pieces) > 0
        segments[inside] = torch.from_numpy(pieces).int()[inside] + len(found) - 1
        found += [number] * count
    return Truth(segments, torch.tensor(found, dtype=torch.int64), torch.zeros(len(found)).bool())


def _colours(true: Truth, table: ClassTable) -> dict[int, Colour]:
    """A colour for every true object that can be seen."""
    seen = [int(n) for n in true.segment_map.unique() if n != VOID]
    things = [n for n in seen if int(true.segment_classes[n]) in table.things]
    return {n: class_colour(place) for place, n in enumerate(things)}


def _owner(mask: Tensor, true: Truth, colours: dict[int, Colour]) -> int | None:
    """The true object that shares most pixels with a mask."""
    shared = {n: int((mask & (true.segment_map == n)).sum()) for n in colours}
    best = max(shared, key=lambda n: shared[n], default=None)
    return best if best is not None and shared[best] else None
