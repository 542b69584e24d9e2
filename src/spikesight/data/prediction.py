"""Pictures and recordings without labels, read as a trained model expects them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from spikesight.data.batches import report_skipped
from spikesight.data.config import OnCorrupt
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.events.preprocessing import EventPreprocessing
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.data.photos.preprocessing import Preprocessing
from spikesight.data.sampling import EvaluationSampler
from spikesight.data.shards.patterns import SHARD_SUFFIX, holds_shards
from spikesight.files.names import check_name, show
from spikesight.files.own_pictures import MARKED, is_own_picture
from spikesight.files.walking import find_files


class PredictionImages:
    """Iterates over image files in batches, `(files, images)`.

    `images` is normalised, float32 `[B, C, image_size, image_size]` (frames of events:
    `[B, T, C, ...]`); `files` are the B paths.

    Attributes:
        files: All files, in the order in which they come.
        own: Files that are left out, since predict wrote them.
        skipped: Name and reason of every image that was skipped so far.

    Args:
        paths: Image files (or recordings, as the model learned from), and folders that are
            searched for them at any depth.
        preprocessing: That of the model.
        batch_size: Images per batch.
        on_corrupt: What an image that cannot be decoded does.
        sheet: A picture that is going to be written, which is no input.

    Raises:
        DataError: A path does not exist, a folder holds no image, all of them are pictures that
            predict wrote, or the sheet would replace one that is named.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        preprocessing: Preprocessing | EventPreprocessing,
        batch_size: int = 32,
        on_corrupt: OnCorrupt = "stop",
        sheet: Path | None = None,
    ) -> None:
        if isinstance(paths, (str, os.PathLike)):
            paths = [paths]
        found = [file for path in paths for file in find_images(path, preprocessing.suffixes)]
        written = None if sheet is None else sheet.resolve()
        self.own = [file for file in found if file.resolve() == written or is_own_picture(file)]
        for file in map(Path, paths):  # in a folder it is the sheet of an earlier version
            if (
                file.resolve() == written
                and file.is_file()
                and file.suffix.lower() in MARKED
                and not is_own_picture(file)
            ):
                raise DataError(
                    f"{show(file)}: is to be looked at and would be replaced by the output; pass "
                    "another output"
                )
        self.files = [file for file in found if file not in set(self.own)]
        if not self.files:
            raise DataError(f"{paths[0]}: holds only pictures that predict wrote; pass other files")
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.on_corrupt = on_corrupt
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        """Number of files."""
        return len(self.files)

    def __iter__(self) -> Iterator[tuple[list[Path], Tensor]]:
        known = len(self.skipped)
        for start in range(0, len(self.files), self.batch_size):
            files, images = [], []
            for file in self.files[start : start + self.batch_size]:
                try:
                    images.append(self.preprocessing.read_file(file))
                    files.append(file)
                except CorruptImageError as error:
                    if self.on_corrupt == "stop":
                        raise
                    self.skipped[str(file)] = str(error)
            if files:
                yield files, self.preprocessing.batch_transform(torch.stack(images))
        if len(self.skipped) > known:
            report_skipped(self.skipped)


def find_images(
    path: str | os.PathLike[str], suffixes: frozenset[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """Finds image files or recordings.

    Args:
        path: A file, whatever its suffix, or a folder that is searched at any depth for files
            with one of the suffixes; hidden ones are left out.
        suffixes: Those of the files, in lower case.

    Returns:
        The files, sorted.

    Raises:
        DataError: There is no such path, no such file below it, or a name that is not UTF-8.
    """
    path = Path(path)
    check_name(str(path), "what to look at", DataError)
    if not path.is_dir():
        if not os.path.lexists(path):
            raise DataError(
                f"{show(path)}: no such file or folder; pass image files or a folder of them"
            )
        if path.suffix.lower() == SHARD_SUFFIX:
            raise DataError(
                f"{show(path)}: is a tar file and no image; unpack it first, or measure on all of "
                "its photos with spikesight val"
            )
        return [path]
    found = find_files(path, suffixes, error=DataError)
    if not found:
        remedy = "pass another folder"
        if holds_shards(str(path)):
            remedy = "unpack its tar files, or measure on all of their photos with spikesight val"
        raise DataError(f"{show(path)}: holds no image ({', '.join(sorted(suffixes))}); {remedy}")
    return found


def read_enough(
    read: Callable[[int], Tensor],
    describe: Callable[[int], str],
    available: int,
    count: int,
    on_corrupt: OnCorrupt,
    name: str,
) -> Tensor:
    """So many images, spread evenly over what there is; others in place of corrupt ones.

    Raises:
        DataError: If every image is corrupt.
    """
    taken: list[Tensor] = []
    skipped: dict[str, str] = {}
    for position in EvaluationSampler(available).positions:
        try:
            taken.append(read(position))
        except CorruptImageError as error:
            if on_corrupt == "stop":
                raise
            skipped[describe(position)] = str(error)
        if len(taken) == count:
            break
    if skipped:
        report_skipped(skipped)
    if not taken:
        raise DataError(f"{name}: every image is corrupt; repair the data set")
    return torch.stack(taken)
