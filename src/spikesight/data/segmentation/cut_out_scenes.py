"""Cut-outs with an alpha channel pasted on photos: objects without names, exact masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, resize

from spikesight.data.batches import report_skipped
from spikesight.data.config import OnCorrupt
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.photos.decoding import read_head, read_image_file
from spikesight.data.photos.painted_digits import HELD_OUT
from spikesight.data.photos.preprocessing import cut_thin
from spikesight.data.sampling import derive_generator
from spikesight.data.segmentation.composition import ComposedScenes, CutOut, compose
from spikesight.data.segmentation.config import LEAST_OBJECT
from spikesight.data.segmentation.files import list_photos, read_mask, read_photo
from spikesight.data.segmentation.scene import ClassTable, Scene, table_of
from spikesight.files.walking import find_files

_CACHED = 1024  # decoded files, each as small as the scenes allow
TUXPAINT = "/usr/share/tuxpaint/stamps"
_SKIPPING = "remove it, or pass --on-corrupt skip (scenes.on_corrupt: skip) to leave such files out"
_CLASSES = table_of(("object", "background"), (0,))


@dataclass(frozen=True)
class CutOutScenes(ComposedScenes):
    """Scenes of cut-outs; each one is a function of the seed and its number.

    A fifth of the cut-outs and of the photos is only ever seen in validation.

    Attributes:
        cut_outs: PNG files with an alpha channel.
        photos: Backgrounds.
        seed: Seed of the scenes.
        objects: Smallest and largest number of objects in a scene.
        scale: Smallest and largest longer side of an object, as a share of the scene's shorter
            side.
    """

    kind = "cut-out"
    cut_outs: list[Path]
    photos: list[Path]
    seed: int = 0
    objects: tuple[int, int] = (1, 5)
    scale: tuple[float, float] = (0.2, 0.7)
    classes: ClassTable = _CLASSES

    def read(self, index: int) -> Scene:
        """Composes one scene.

        Raises:
            DataError: A file cannot be used.
        """
        random = self.random(self.seed, index)
        height, width = self.size
        photo = self.photos[int(random.integers(len(self.photos)))]
        ground = (_fill(photo, height, width).permute(1, 2, 0).float() / 255).numpy()
        pasted = []
        for _ in range(int(random.integers(self.objects[0], self.objects[1] + 1))):
            file = self.cut_outs[int(random.integers(len(self.cut_outs)))]
            longer = max(round(min(height, width) * random.uniform(*self.scale)), LEAST_OBJECT)
            largest = max(round(min(height, width) * self.scale[1]), LEAST_OBJECT)
            cut_out = _read_cut_out(file, longer, largest, bool(random.integers(2)))
            row = int(random.integers(height - cut_out.alpha.shape[0] + 1))
            column = int(random.integers(width - cut_out.alpha.shape[1] + 1))
            pasted.append((cut_out, row, column))
        return compose(ground, 1, pasted, self.describe(index))


def find_cut_outs(
    path: Path, photos: Path, part: str, split_seed: int, on_corrupt: OnCorrupt = "stop"
) -> tuple[list[Path], list[Path]]:
    """The cut-outs and the photos of a part.

    Args:
        path: Folder of PNG files with alpha, such as Debian's tuxpaint-stamps-default.
        photos: Folder of photos.
        part: "train" or "val".
        split_seed: Seed of the split.
        on_corrupt: Whether a PNG that cannot be opened ends the call or is left out.

    Raises:
        CorruptImageError: A PNG cannot be opened.
        DataError: There are too few of them.
    """
    if not path.is_dir():
        raise DataError(
            f"{path}: there is no such folder of cut-outs; install Debian's "
            "tuxpaint-stamps-default, or pass PNG files with alpha as scenes.path"
        )
    found: list[Path] = []
    skipped: dict[str, str] = {}
    for file in find_files(path, {".png"}, error=DataError):
        try:
            if _has_alpha(file):
                found.append(file)
        except CorruptImageError as error:
            if on_corrupt == "stop":
                raise
            skipped[str(file)] = str(error)
    if skipped:
        report_skipped(skipped)
    return _divide(found, path, part, split_seed), _divide(
        list_photos(photos), photos, part, split_seed
    )


def _has_alpha(file: Path) -> bool:
    image = read_head(read_image_file(file), str(file), "PNG", _SKIPPING)
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _divide(files: list[Path], where: Path, part: str, seed: int) -> list[Path]:
    held_out = round(HELD_OUT * len(files))
    if held_out == 0:
        raise DataError(
            f"{where}: {len(files)} files with what is needed are too few to hold a fifth back; "
            "pass a folder with at least 3"
        )
    order = torch.randperm(len(files), generator=derive_generator(seed)).tolist()
    chosen = order[:held_out] if part == "val" else order[held_out:]
    return [files[position] for position in sorted(chosen)]


@lru_cache(maxsize=_CACHED)
def _fill(photo: Path, height: int, width: int) -> Tensor:
    """The middle of a photo, uint8 [3, height, width]."""
    image = cut_thin(read_photo(photo))
    factor = max(height / image.shape[1], width / image.shape[2])
    size = [max(height, round(image.shape[1] * factor)), max(width, round(image.shape[2] * factor))]
    filled: Tensor = center_crop(resize(image, size, antialias=True), [height, width])
    return filled


@lru_cache(maxsize=_CACHED)
def _decode(file: Path, largest: int) -> Tensor:
    """What is not transparent, no larger than needed: uint8 [4, h, w], colours times alpha."""
    rgba = torch.from_numpy(np.array(read_mask(file).convert("RGBA"))).permute(2, 0, 1)
    solid = rgba[3] > 127
    if not solid.any():
        raise DataError(f"{file}: is transparent everywhere; remove it")
    rows, columns = solid.any(1).nonzero().flatten(), solid.any(0).nonzero().flatten()
    rgba = rgba[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    # Weighted by alpha, so that what hides under transparent pixels does not bleed in.
    alpha = rgba[3:].float() / 255
    weighted = torch.cat((rgba[:3] * alpha, rgba[3:]))
    longer = min(largest, max(rgba.shape[1:]))
    return _scaled(weighted, longer).round().clamp(0, 255).to(torch.uint8)


def _scaled(image: Tensor, longer: int) -> Tensor:
    """The image [C, h, w] with a longer side of so many pixels."""
    factor = longer / max(image.shape[1:])
    size = [max(round(side * factor), 1) for side in image.shape[1:]]
    scaled: Tensor = resize(image, size, InterpolationMode.BILINEAR, antialias=True)
    return scaled


def _read_cut_out(file: Path, longer: int, largest: int, mirrored: bool) -> CutOut:
    decoded = _decode(file, largest)
    weighted = _scaled((decoded.flip(-1) if mirrored else decoded).float() / 255, longer)
    alpha = weighted[3:].clamp(0, 1)
    colour = (weighted[:3] / alpha.clamp_min(1e-3)).clamp(0, 1)
    return CutOut(colour.permute(1, 2, 0).numpy(), alpha[0].numpy(), 0)
