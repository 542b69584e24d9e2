"""Folders of photos and masks: `train/` and `val/`, each with `images/` and `labels/`."""

from __future__ import annotations

from pathlib import Path

from spikesight.data.errors import DataError
from spikesight.data.segmentation.class_names import CAMVID
from spikesight.data.segmentation.config import check_ignored
from spikesight.data.segmentation.files import (
    LabelColours,
    LabelIds,
    PairedFiles,
    pair,
)
from spikesight.data.segmentation.scene import VOID, ClassTable, Colour, table_of
from spikesight.files.documents import shortened
from spikesight.files.opening import read_text

CAMVID_VOID = 11
_COLOURS = "label_colors.txt"


def read_folder(
    path: Path, part: str, class_names: list[str] | None, ignore_label: int | None
) -> PairedFiles:
    """Reads `PART/images` and `PART/labels`, joined by the names of the files.

    Masks hold class numbers, or colours that `label_colors.txt` beside the parts explains with
    lines "red green blue name" (the layout of CamVid's 32 classes; the class Void is ignored). A
    mask is called like its photo, or like it with `_L` behind.

    Args:
        path: Folder with the parts.
        part: "train", "val" or "test".
        class_names: Names of the classes 0, 1, ...; not needed with label_colors.txt.
        ignore_label: Number in the masks that means nothing.

    Raises:
        DataError: Files or names are missing.
    """
    colours = path / _COLOURS
    if colours.is_file():
        classes, labels = _read_colours(colours)
        return _paired(path, part, classes, labels)
    if not class_names:
        raise DataError(
            f"{path}: the classes of a folder have no names; pass scenes.class_names, or put "
            f"{_COLOURS} there if masks hold colours"
        )
    table = table_of(tuple(class_names))
    ids = {number: number for number in range(len(class_names))}
    if ignore_label is not None:
        check_ignored(ignore_label, class_names)
        ids[ignore_label] = VOID
    remedy = "correct the mask, or name the id in scenes.ignore_label if it means nothing"
    return _paired(path, part, table, LabelIds(ids, "scenes.class_names", remedy))


def read_camvid(path: Path, part: str) -> PairedFiles:
    """Reads CamVid with its 11 usual classes; 11 in a mask is void.

    Args:
        path: Folder with train/, val/ and maybe test/, each with images/ and labels/; or with the
            photos in train/ and the masks in trainannot/, and so on (SegNet's layout).
        part: "train", "val" or "test".

    Raises:
        DataError: Files are missing.
    """
    if (path / _COLOURS).is_file():
        return read_folder(path, part, None, None)
    ids = {number: number for number in range(len(CAMVID))} | {CAMVID_VOID: VOID}
    labels = LabelIds(ids, "CamVid's 11 (11 itself is void)")
    if (segnet := path / f"{part}annot").is_dir():
        return PairedFiles(pair(path / part, segnet), CAMVID, labels, f"{path}/{part}")
    return _paired(path, part, CAMVID, labels)


def _paired(
    path: Path, part: str, classes: ClassTable, labels: LabelIds | LabelColours
) -> PairedFiles:
    pairs = pair(path / part / "images", path / part / "labels", mask_ends=("", "_L"))
    return PairedFiles(pairs, classes, labels, f"{path}/{part}")


def _read_colours(file: Path) -> tuple[ClassTable, LabelColours]:
    names: list[str] = []
    colours: list[Colour] = []
    classes: dict[int, int] = {}
    for number, line in enumerate(read_text(file, error=DataError).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            red, green, blue, name = line.split(maxsplit=3)
            colour = (int(red), int(green), int(blue))
        except ValueError as error:
            raise DataError(
                f"{file}: line {number} is {shortened(line)!r}; write red, green, blue and a name"
            ) from error
        if not all(0 <= value <= 255 for value in colour):
            raise DataError(
                f"{file}: line {number} is {shortened(line)!r}; write colours of 0 to 255"
            )
        packed = colour[0] << 16 | colour[1] << 8 | colour[2]
        if packed in classes:
            other = "Void" if classes[packed] == VOID else names[classes[packed]]
            raise DataError(
                f"{file}: line {number} gives {name.strip()} the colour of {other}, so the masks "
                "cannot tell them apart; write each colour once"
            )
        if name.strip() in names:
            raise DataError(
                f"{file}: line {number} names the class {name.strip()} a second time; write each "
                "class once, with one colour"
            )
        if name.strip().lower() == "void":
            classes[packed] = VOID
            continue
        classes[packed] = len(names)
        names.append(name.strip())
        colours.append(colour)
    if not names:
        raise DataError(f"{file}: names no class; write lines of red, green, blue and a name")
    return ClassTable(tuple(names), tuple(colours)), LabelColours(classes, str(file))
