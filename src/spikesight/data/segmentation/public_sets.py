"""ADE20K, Cityscapes and Pascal VOC in the layouts in which they are published."""

from __future__ import annotations

from pathlib import Path

from spikesight.data.errors import DataError
from spikesight.data.segmentation.class_names import (
    ADE20K_NAMES,
    CITYSCAPES,
    CITYSCAPES_IDS,
    VOC_NAMES,
)
from spikesight.data.segmentation.files import LabelIds, PairedFiles, pair
from spikesight.data.segmentation.scene import VOID, ClassTable, table_of, voc_colour
from spikesight.files.names import check_inside
from spikesight.files.opening import read_text

_ADE20K_PARTS = {"train": "training", "val": "validation"}
_CITYSCAPES_LABELS = 34


def read_ade20k(path: Path, part: str) -> PairedFiles:
    """Reads ADEChallengeData2016: `images/training`, `annotations/training` and so on.

    Masks hold 1 to 150; 0 is void (`reduce_zero_label`).

    Args:
        path: Folder ADEChallengeData2016.
        part: "train" or "val".

    Raises:
        DataError: Files are missing.
    """
    folder = _part(path, part, _ADE20K_PARTS)
    ids = {0: VOID} | {number + 1: number for number in range(len(ADE20K_NAMES))}
    return PairedFiles(
        pair(path / "images" / folder, path / "annotations" / folder),
        table_of(ADE20K_NAMES),
        LabelIds(ids, "ADE20K (0 is void, 1 to 150 are classes)"),
        f"{path}/images/{folder}",
    )


def read_cityscapes(path: Path, part: str) -> PairedFiles:
    """Reads `leftImg8bit/PART/CITY/*_leftImg8bit.png` and `gtFine/PART/CITY/*_labelIds.png`.

    Label ids become the 19 train ids; all other ids are void.

    Args:
        path: Folder with leftImg8bit and gtFine.
        part: "train", "val" or "test".

    Raises:
        DataError: Files are missing.
    """
    pairs = pair(
        path / "leftImg8bit" / part,
        path / "gtFine" / part,
        photo_end="_leftImg8bit",
        mask_ends=("_gtFine_labelIds",),
    )
    ids = dict.fromkeys(range(_CITYSCAPES_LABELS), VOID)
    ids |= {number: train for train, number in enumerate(CITYSCAPES_IDS)}
    return PairedFiles(
        pairs,
        CITYSCAPES,
        LabelIds(ids, "Cityscapes' label ids 0 to 33 (masks must be *_labelIds.png)"),
        f"{path}/leftImg8bit/{part}",
    )


def read_voc(path: Path, part: str, train_list: str) -> PairedFiles:
    """Reads VOC2012: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/*.txt`.

    255 in a mask is void. Photos whose mask is not in SegmentationClass are looked up in
    SegmentationClassAug, where the extended annotations usually lie.

    Args:
        path: Folder VOC2012.
        part: "train" or "val".
        train_list: Name of the list of training photos, such as train, trainval or trainaug.

    Raises:
        DataError: Files are missing.
    """
    chosen = _part(path, part, {"train": train_list, "val": "val"})
    listing = path / "ImageSets" / "Segmentation" / f"{chosen}.txt"
    if not listing.is_file():
        raise DataError(f"{listing}: there is no such list; correct scenes.path or train_list")
    pairs = []
    for name in read_text(listing, error=DataError).split():
        check_inside(name, str(listing), DataError)
        photo = path / "JPEGImages" / f"{name}.jpg"
        candidates = [path / f"SegmentationClass{kind}" / f"{name}.png" for kind in ("", "Aug")]
        mask = next((file for file in candidates if file.is_file()), None)
        if mask is None or not photo.is_file():
            lost = candidates[0] if mask is None else photo
            raise DataError(
                f"{lost}: {listing} names it but it is missing; add it or remove the line"
            )
        pairs.append((photo, mask))
    if not pairs:
        raise DataError(f"{listing}: names no photo; correct it")
    colours = tuple(voc_colour(number) for number in range(len(VOC_NAMES)))
    ids = {number: number for number in range(len(VOC_NAMES))} | {255: VOID}
    return PairedFiles(
        pairs,
        ClassTable(VOC_NAMES, colours),
        LabelIds(ids, "VOC (0 to 20, 255 is void)"),
        str(listing),
    )


def _part(path: Path, part: str, parts: dict[str, str]) -> str:
    if part not in parts:
        raise DataError(f"{path}: keeps no masks for {part}; it has {' and '.join(parts)}")
    return parts[part]
