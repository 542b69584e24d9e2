"""Photos and masks from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from torch import Tensor

from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.photos.decoding import (
    IMAGE_SUFFIXES,
    decode,
    is_lossy,
    open_image,
    read_image_file,
)
from spikesight.data.photos.preprocessing import to_tensor
from spikesight.data.segmentation.scene import ClassTable, Scene, semantic_truth
from spikesight.files.names import show
from spikesight.files.walking import find_files

_UNKNOWN = -2
_LABELS = 1 << 16
_BLOCK = 1 << 22  # pixels
_BYTE_MODES = frozenset({"L", "LA", "P", "RGB", "RGBA"})
# Raw modes of grey PNGs whose numbers Pillow stretches to 0..255, and by how much.
_STRETCHED = {"L;2": 85, "L;4": 17}
_SCALING = frozenset({"ppm", "ppm_plain"})
_SKIPPING = (
    "replace it, or pass --on-corrupt skip (scenes.on_corrupt: skip) to leave such photos out"
)


def read_photo(path: Path) -> Tensor:
    """Reads a photo as colour, uint8 [3, H, W]; grey ones repeat their channel.

    Raises:
        CorruptImageError: It cannot be decoded.
        DataError: It has transparent pixels or more than 8 bits per channel.
    """
    return to_tensor(decode(read_image_file(path), str(path), 3))


def read_mask(path: Path) -> Image.Image:
    """Decodes a mask without changing a value.

    Raises:
        CorruptImageError: It cannot be decoded.
        DataError: Its format does not keep values, or Pillow would scale them.
    """
    encoded, name = read_image_file(path), show(path)
    stretched = 1

    def check(image: ImageFile) -> None:
        nonlocal stretched
        if is_lossy(encoded, image):
            raise DataError(
                f"{name}: a {image.format} mask is compressed with losses, so its numbers are "
                "wrong at edges; make it again as PNG"
            )
        largest = 65535 if image.mode == "I" else 255
        for decoder, _, _, arguments in image.tile:
            if decoder == "zip" and isinstance(arguments, str):
                stretched = _STRETCHED.get(arguments, 1)
            if decoder in _SCALING and isinstance(arguments, tuple) and arguments[-1] != largest:
                raise DataError(f"{name}: its largest value is not {largest}; save it as PNG")
        if image.mode in _BYTE_MODES and ";16" in str(image.tile):
            raise DataError(
                f"{name}: a mask with 16 bits per colour has no 8-bit colours; save it as RGB PNG"
            )

    image: Image.Image = open_image(encoded, name, "mask", _SKIPPING, check)
    return image if stretched == 1 else image.point([n // stretched for n in range(256)])


def read_index_mask(path: Path) -> NDArray[np.int32]:
    """Label ids of a mask with one number per pixel: 8-bit grey, palette, or 16-bit grey.

    Returns:
        [H, W].

    Raises:
        CorruptImageError: It cannot be decoded.
        DataError: It holds colours instead of numbers.
    """
    image = read_mask(path)
    if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
        raise DataError(
            f"{path}: a mask of type {image.mode} has several numbers per pixel; save it as grey "
            "or palette PNG with the class number in each pixel, or give label_colors.txt"
        )
    return np.asarray(image).astype(np.int32)


def read_colour_mask(path: Path) -> NDArray[np.uint8]:
    """Colours of a mask, [H, W, 3].

    Args:
        path: A PNG in colour, with a palette or in 8-bit grey.

    Raises:
        CorruptImageError: It cannot be decoded.
        DataError: It has more than 8 bits per channel.
    """
    image = read_mask(path)
    if image.mode not in ("1", "L", "P", "RGB", "RGBA"):
        raise DataError(
            f"{path}: a mask of type {image.mode} has no 8-bit colours; save it as RGB PNG"
        )
    if image.mode == "P" and image.palette is None:
        raise CorruptImageError(
            f"{path}: has no palette, so its colours are unknown; save it as RGB PNG"
        )
    return np.asarray(image.convert("RGB"))


@dataclass(frozen=True)
class LabelIds:
    """Which class each label id means.

    Attributes:
        classes: Label id, 0 to 65535, to class number; -1 is void.
        meaning: Where the ids are explained, for messages.
        remedy: What helps against an id that means no class.
    """

    classes: dict[int, int]
    meaning: str
    remedy: str = "correct the mask"

    def class_map(self, ids: NDArray[np.int32], path: Path) -> Tensor:
        """Class of each pixel, int32 [H, W].

        Args:
            ids: [H, W].
            path: The mask, for the message.

        Raises:
            DataError: An id means no class.
        """
        lookup = np.full(_LABELS, _UNKNOWN, np.int32)
        lookup[list(self.classes)] = list(self.classes.values())
        classes = np.empty(ids.shape, np.int32)
        for part, found in _in_blocks(classes.reshape(-1), ids.reshape(-1)):
            inside = (found >= 0) & (found < _LABELS)
            part[:] = np.where(inside, lookup[np.where(inside, found, 0)], _UNKNOWN)
        unknown = classes == _UNKNOWN
        if unknown.any():
            row, column = np.argwhere(unknown)[0]
            raise DataError(
                f"{path}: label id {ids[row, column]} at row {row}, column {column} is no class "
                f"of {self.meaning} ({int(unknown.sum())} such pixels); {self.remedy}"
            )
        return torch.from_numpy(classes)


@dataclass(frozen=True)
class LabelColours:
    """Which class each colour of a mask means.

    Attributes:
        classes: 65536 * red + 256 * green + blue to class number; -1 is void.
        meaning: Where the colours are explained, for messages.
    """

    classes: dict[int, int]
    meaning: str

    def class_map(self, path: Path) -> Tensor:
        """Class of each pixel of a colour mask, int32 [H, W].

        Raises:
            CorruptImageError: The mask cannot be decoded.
            DataError: A colour means no class.
        """
        classes, unknown = look_up_colours(read_colour_mask(path), self.classes)
        if unknown is not None:
            red, green, blue = unknown >> 16, unknown >> 8 & 255, unknown & 255
            raise DataError(
                f"{path}: the colour ({red}, {green}, {blue}) is not in {self.meaning}; add it "
                "there or correct the mask"
            )
        return classes


def look_up_colours(rgb: NDArray[np.uint8], values: Mapping[int, int]) -> tuple[Tensor, int | None]:
    """What the colour of each pixel means.

    Args:
        rgb: [H, W, 3].
        values: 65536 * red + 256 * green + blue to a value from -1 up.

    Returns:
        The values, int32 [H, W], and the smallest colour that has none.
    """
    result = np.empty(rgb.shape[:2], np.int32)
    unknown: list[int] = []
    for part, block in _in_blocks(result.reshape(-1), rgb.reshape(-1, 3)):
        packed = (block.astype(np.int32) << np.array([16, 8, 0], np.int32)).sum(1, dtype=np.int32)
        found, inverse = np.unique(packed, return_inverse=True)
        part[:] = np.array([values.get(c, _UNKNOWN) for c in found.tolist()], np.int32)[inverse]
        unknown += [colour for colour in found.tolist() if colour not in values]
    return torch.from_numpy(result), min(unknown, default=None)


def _in_blocks(
    result: NDArray[np.int32], pixels: NDArray[Any]
) -> Iterator[tuple[NDArray[np.int32], NDArray[Any]]]:
    """Cuts an array to fill and the pixels to fill it from, so that little memory is needed."""
    for start in range(0, len(result), _BLOCK):
        yield result[start : start + _BLOCK], pixels[start : start + _BLOCK]


@dataclass(frozen=True)
class PairedFiles:
    """Photos with a mask file each.

    Attributes:
        pairs: Photo and mask.
        classes: The classes.
        labels: What the masks' numbers or colours mean.
        name: What messages call the photos.
    """

    pairs: list[tuple[Path, Path]]
    classes: ClassTable
    labels: LabelIds | LabelColours
    name: str
    panoptic: bool = False

    def __len__(self) -> int:
        return len(self.pairs)

    def describe(self, index: int) -> str:
        """The photo's path."""
        return str(self.pairs[index][0])

    def read(self, index: int) -> Scene:
        """Reads a photo and its mask.

        Raises:
            CorruptImageError: One of them cannot be decoded.
            DataError: They do not fit each other, or the mask holds an unknown label.
        """
        photo, mask = self.pairs[index]
        if isinstance(self.labels, LabelColours):
            class_map = self.labels.class_map(mask)
        else:
            class_map = self.labels.class_map(read_index_mask(mask), mask)
        truth = semantic_truth(class_map, len(self.classes))
        return Scene(read_photo(photo), truth, f"{photo} with {mask}")


def list_photos(folder: Path) -> list[Path]:
    """The image files below a folder, sorted.

    Raises:
        DataError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{show(folder)}: there is no such folder; correct scenes.path")
    found = find_files(folder, IMAGE_SUFFIXES, error=DataError)
    if not found:
        raise DataError(f"{show(folder)}: holds no image; correct scenes.path")
    return found


def pair(
    photos: Path, masks: Path, *, photo_end: str = "", mask_ends: Sequence[str] = ("",)
) -> list[tuple[Path, Path]]:
    """Joins the photos below a folder and the masks below another that lie at the same place.

    Args:
        photos: Folder of the photos.
        masks: Folder of the masks; those without a photo are left alone.
        photo_end: How the stems of photos end; other photos are left out.
        mask_ends: What a mask's stem has in place of it; the first one that there is.

    Raises:
        DataError: There is no photo, a photo has no mask or several, or two have one.
    """
    places: dict[Path, list[Path]] = {}
    for mask in list_photos(masks):
        places.setdefault(mask.relative_to(masks).with_suffix(""), []).append(mask)
    pairs: list[tuple[Path, Path]] = []
    taken: dict[Path, Path] = {}
    missing: list[Path] = []
    for photo in list_photos(photos):
        if not photo.stem.endswith(photo_end):
            continue
        place = photo.relative_to(photos).with_suffix("")
        stem = place.name.removesuffix(photo_end)
        names = (place.with_name(stem + end) for end in mask_ends)
        found = next((places[name] for name in names if name in places), None)
        if found is None:
            missing.append(photo)
        elif len(found) > 1:
            raise DataError(f"{photo}: has several masks, {found[0]} and {found[1]}; remove one")
        elif found[0] in taken:
            raise DataError(
                f"{photo} and {taken[found[0]]} have one mask, {found[0]}; remove one of the photos"
            )
        else:
            taken[found[0]] = photo
            pairs.append((photo, found[0]))
    if missing:
        place = missing[0].relative_to(photos).with_suffix("")
        wanted = place.with_name(place.name.removesuffix(photo_end) + mask_ends[0])
        raise DataError(
            f"{missing[0]}: has no mask in {masks}, such as {wanted}.png ({len(missing)} such "
            "photos); add it or remove the photo"
        )
    if not pairs:
        raise DataError(f"{photos}: holds no photo *{photo_end}; correct scenes.path")
    return pairs
