"""Masks of objects as files hold them: polygons, run lengths, or a number in a label picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.data.errors import DataError
from spikesight.data.segmentation.files import read_index_mask
from spikesight.files.names import show
from spikesight.objects import Objects

_LEAST_COORDINATES = 6


@dataclass(frozen=True)
class Polygons:
    """An object's outlines.

    Attributes:
        outlines: Each float32 [2 * P], x and y of P corners.
        relative: Whether they are shares of the photo's width and height.
    """

    outlines: tuple[NDArray[np.float32], ...]
    relative: bool = False


@dataclass(frozen=True)
class RunLengths:
    """COCO's run lengths, column by column.

    Attributes:
        size: Height and width.
        counts: Lengths of runs without and with the object in turns, or the same compressed.
    """

    size: tuple[int, int]
    counts: tuple[int, ...] | str


@dataclass(frozen=True)
class LabelNumber:
    """The pixels that have a number in a picture of labels.

    Attributes:
        file: The picture.
        number: The number.
    """

    file: Path
    number: int


StoredMask = Polygons | RunLengths | LabelNumber


def decode_masks(
    objects: Objects, stored: Sequence[StoredMask | None], size: tuple[int, int], photo: Path
) -> Objects:
    """Gives objects their masks; one without a mask becomes a crowd that fills its box.

    Args:
        objects: Of a photo.
        stored: Their masks as they are stored.
        size: Height and width of the photo.
        photo: The photo, for messages.

    Raises:
        DataError: A mask is damaged or of another size.
    """
    masks = np.zeros((len(objects), *size), np.bool_)
    crowd = objects.crowd.clone()
    pictures: dict[Path, NDArray[np.int32]] = {}
    for place, mask in enumerate(stored):
        if mask is None:
            left, top, right, bottom = objects.boxes[place].round().int().tolist()
            masks[place, max(top, 0) : bottom, max(left, 0) : right] = True
            crowd[place] = True
        elif isinstance(mask, LabelNumber):
            if mask.file not in pictures:
                pictures[mask.file] = _label_picture(mask.file, size, photo)
            masks[place] = pictures[mask.file] == mask.number
        else:
            masks[place] = _decode(mask, size, f"{show(photo)}: object {place}")
    return Objects(objects.boxes, objects.classes, crowd, torch.from_numpy(masks))


def _label_picture(file: Path, size: tuple[int, int], photo: Path) -> NDArray[np.int32]:
    labels = read_index_mask(file)
    if labels.shape != size:
        raise DataError(
            f"{show(file)}: has {labels.shape[1]}x{labels.shape[0]} pixels but {show(photo)} "
            f"{size[1]}x{size[0]}; replace one of them"
        )
    return labels


def _decode(mask: Polygons | RunLengths, size: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """One mask, [H, W]."""
    from faster_coco_eval.core import mask as coco_masks

    height, width = size
    if isinstance(mask, Polygons):
        scale = (width, height) if mask.relative else (1, 1)
        outlines = []
        for outline in mask.outlines:
            corners = outline.reshape(-1, 2).astype(np.float64) * scale
            corners = np.nan_to_num(corners).clip(0, (width, height))
            outlines.append(corners.ravel().tolist())
        parts: Any = coco_masks.frPyObjects(outlines, height, width)
        runs: Any = coco_masks.merge(parts)
    elif mask.size != size:
        raise DataError(
            f"{name}: its mask has {mask.size[1]}x{mask.size[0]} pixels and the photo "
            f"{width}x{height}; correct the annotations"
        )
    elif isinstance(mask.counts, str):
        runs = {"size": list(size), "counts": mask.counts}
    else:
        if min(mask.counts, default=0) < 0 or sum(mask.counts) != height * width:
            raise DataError(
                f"{name}: the run lengths of its mask do not add up to {height}x{width} pixels; "
                "correct the annotations"
            )
        runs = coco_masks.frPyObjects(
            {"size": list(size), "counts": list(mask.counts)}, height, width
        )
    try:
        decoded: NDArray[np.bool_] = coco_masks.decode(runs).astype(np.bool_)
    except (ValueError, RuntimeError, TypeError) as error:
        raise DataError(
            f"{name}: its mask's run lengths are damaged ({error}); correct the annotations"
        ) from error
    return decoded


def polygons(outlines: Sequence[Sequence[float]], relative: bool = False) -> Polygons | None:
    """Outlines of at least three corners each; None if not one is left.

    Raises:
        ValueError: One has half a corner.
    """
    if any(len(outline) % 2 for outline in outlines):
        raise ValueError("an outline has an odd number of coordinates")
    usable = [outline for outline in outlines if len(outline) >= _LEAST_COORDINATES]
    if not usable:
        return None
    return Polygons(tuple(np.array(outline, np.float32) for outline in usable), relative)
