"""ADE20K, Cityscapes, Pascal VOC and Oxford-IIIT Pet in the layouts in which they are published."""

from __future__ import annotations

from pathlib import Path

import torch

from spikesight.data.errors import DataError
from spikesight.data.segmentation.class_names import (
    ADE20K_NAMES,
    CITYSCAPES,
    CITYSCAPES_IDS,
    OXFORD_PET_NAMES,
    VOC_NAMES,
)
from spikesight.data.segmentation.files import LabelIds, PairedFiles, pair
from spikesight.data.segmentation.scene import VOID, ClassTable, table_of, voc_colour
from spikesight.data.stratification import split_stratified
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
    pairs = []
    for name in _read_list(listing).split():
        check_inside(name, str(listing), DataError)
        photo = path / "JPEGImages" / f"{name}.jpg"
        candidates = [path / f"SegmentationClass{kind}" / f"{name}.png" for kind in ("", "Aug")]
        mask = next((file for file in candidates if file.is_file()), candidates[0])
        pairs.append(_listed(photo, mask, listing))
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


def read_oxford_pet(
    path: Path, part: str, train_list: str, validation_fraction: float, split_seed: int
) -> PairedFiles:
    """Reads Oxford-IIIT Pet: `images`, `annotations/trimaps`, `annotations/*.txt`.

    A trimap holds 1 (pet), 2 (background) and 3 (not classified, a border around each pet), which
    is void. The set has no list of validation photos, so a share of each breed's training photos
    validates, chosen by the lines of the list and the seed.

    Args:
        path: Folder with images and annotations.
        part: "train" or "val", which divide the list of training photos, or "test".
        train_list: Name of that list; the published one is trainval.
        validation_fraction: Share of each breed that validates.
        split_seed: Seed of that choice.

    Raises:
        DataError: Files are missing, or one of the two parts would be empty.
    """
    listing = path / "annotations" / f"{'test' if part == 'test' else train_list}.txt"
    pairs, breeds = [], []
    for line in sorted({*_read_list(listing).split("\n")}):
        if not line.strip() or line.startswith("#"):
            continue
        name, *numbers = line.split()
        check_inside(name, str(listing), DataError)
        photo = path / "images" / f"{name}.jpg"
        pairs.append(_listed(photo, path / "annotations" / "trimaps" / f"{name}.png", listing))
        breeds.append(numbers[0] if numbers else "")
    if pairs and part != "test":
        numbers = sorted(set(breeds))
        labels = torch.tensor([numbers.index(breed) for breed in breeds], dtype=torch.int64)
        chosen = split_stratified(labels, validation_fraction, split_seed)[part == "val"]
        pairs = [pairs[place] for place in chosen.tolist()]
    if not pairs:
        raise DataError(
            f"{listing}: leaves no photo for {part}; correct it or scenes.validation_fraction"
        )
    return PairedFiles(
        pairs,
        table_of(OXFORD_PET_NAMES),
        LabelIds({1: 0, 2: 1, 3: VOID}, "Oxford-IIIT Pet's trimaps (3 is void)"),
        f"{listing} ({part})",
    )


def _read_list(listing: Path) -> str:
    if not listing.is_file():
        raise DataError(f"{listing}: there is no such list; correct scenes.path or train_list")
    return read_text(listing, error=DataError)


def _listed(photo: Path, mask: Path, listing: Path) -> tuple[Path, Path]:
    for file in (photo, mask):
        if not file.is_file():
            raise DataError(
                f"{file}: {listing} names it but it is missing; add it or remove the line"
            )
    return photo, mask


def _part(path: Path, part: str, parts: dict[str, str]) -> str:
    if part not in parts:
        raise DataError(f"{path}: keeps no masks for {part}; it has {' and '.join(parts)}")
    return parts[part]
