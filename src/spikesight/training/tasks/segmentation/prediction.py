"""What a trained segmenter sees in photos and videos, as pictures and files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from spikesight.data.errors import DataError
from spikesight.data.photos.preprocessing import to_tensor
from spikesight.data.segmentation import (
    ClassTable,
    PanopticWriter,
    ScenePreprocessing,
    Truth,
    extent,
    read_photo,
    semantic_truth,
)
from spikesight.data.segmentation.video import (
    VideoWriter,
    frame_rate,
    read_frames,
)
from spikesight.errors import UserError
from spikesight.files.names import show, show_path
from spikesight.files.writing import place_for_folder
from spikesight.inference import View, class_map, panoptic_segments, photo_scores
from spikesight.reports.overlays import class_index_image, draw_overlay
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, load_any
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.options import PredictionOptions
from spikesight.training.tasks.photos_and_videos import (
    find_below as _find,
    is_video,
    look_at_each,
    save_picture,
)
from spikesight.training.tasks.prediction_page import Album, Seen
from spikesight.training.tasks.prediction_tables import write_table
from spikesight.training.tasks.segmentation.evaluation import build_view

if TYPE_CHECKING:
    from spikesight.training.tasks.segmentation.task import SegmentationTask

_CLASSES = 6  # of a photo that a page lists
_LARGEST_PHOTO = 2**25  # pixels that are shown to the model at once


@dataclass(frozen=True)
class SegmentRow:
    """One segment of a photo or of a video's frame.

    Attributes:
        file: The photo or video.
        frame: Number of the frame, from 1; None for a photo.
        segment: Number of the segment, from 1; of a panoptic segmenter its id in the PNG.
        class_name: What it is.
        is_object: Whether it is one object of a thing class.
        pixels: Its area.
        share: Its area as a share of the photo.
        left, top, width, height: The smallest box around it, in pixels.
    """

    file: str
    frame: int | None
    segment: int
    class_name: str
    is_object: bool
    pixels: int
    share: float
    left: int
    top: int
    width: int
    height: int


def segment_rows(
    file: Path, frame: int | None, truth: Truth, table: ClassTable, panoptic: bool
) -> list[SegmentRow]:
    """The segments of a photo that have pixels."""
    segments = truth.segment_map.numpy()
    rows = []
    for number, label in enumerate(truth.segment_classes.tolist()):
        mask: Any = segments == number
        found = extent(mask)
        if found["area"]:
            rows.append(
                SegmentRow(
                    show_path(file),
                    frame,
                    number + 1,
                    show(table.names[label]),
                    panoptic and label in table.things,
                    found["area"],
                    round(found["area"] / np.size(mask), 6),
                    *found["bbox"],
                )
            )
    return rows


def write_segments(rows: Sequence[SegmentRow], path: Path) -> None:
    """Writes one row per segment, as CSV or JSON."""
    called = {"class_name": "class", "is_object": "object"}
    columns = [called.get(field.name, field.name) for field in fields(SegmentRow)]
    records = [dict(zip(columns, astuple(row), strict=True)) for row in rows]
    write_table(path, columns, records, records)


@dataclass(frozen=True)
class SegmentedFile:
    """What was written for a photo or video.

    Attributes:
        file: The photo or video.
        overlay: Picture or video of its segments, if pictures were asked for.
        classes: Class-index PNG, or the folder of a video's, likewise.
        frames: Number of frames; 1 for a photo.
    """

    file: Path
    overlay: Path | None
    classes: Path | None
    frames: int


@dataclass(frozen=True)
class Segmenter:
    """A model and its preprocessing, ready to look at photos.

    Attributes:
        view: The model, and how photos are shown to it.
        preprocessing: That of the model.
        panoptic: Whether objects are told apart.
        device: Where the model is.
    """

    view: View
    preprocessing: ScenePreprocessing
    panoptic: bool
    device: torch.device

    @property
    def table(self) -> ClassTable:
        """The classes."""
        return self.preprocessing.table

    def __call__(self, photo: Tensor, name: str) -> Truth:
        """Segments of a photo, uint8 [3, H, W], at its own size."""
        return self.scored(photo, name)[0]

    @torch.no_grad()
    def scored(self, photo: Tensor, name: str) -> tuple[Truth, list[float] | None]:
        """Segments of a photo, uint8 [3, H, W], at its own size; scores of those of queries."""
        shown = self.preprocessing.fit(photo)
        if shown.shape[1] * shown.shape[2] > _LARGEST_PHOTO:
            raise DataError(
                f"{name}: {shown.shape[2]}x{shown.shape[1]} pixels are too many to look at; resize "
                "the photo, or train with scenes.evaluation_size"
            )
        transform = self.preprocessing.batch_transform
        images = transform(shown[None].to(self.device))
        size = (photo.shape[1], photo.shape[2])
        try:
            if not self.panoptic:
                classes = class_map(photo_scores(self.view, images)[0], size)
                return semantic_truth(classes.cpu().int(), len(self.table)), None
            (found,) = panoptic_segments(self.view, images, [size], self.table.things)
        except UserError as error:
            raise DataError(f"{name}: {error}") from error
        return found


def segment_files(
    folder: Path, files: list[Path], options: PredictionOptions
) -> list[SegmentedFile]:
    """Segments photos and videos and writes what it sees.

    For each photo NAME_overlay.png and NAME_classes.png (class numbers as a palette image, 255 is
    void); for each video NAME_overlay.mp4 and a folder NAME_classes. Panoptic segmenters also
    write panoptic/NAME.png, of a video NAME_000001.png and so on, and panoptic.json in COCO's
    format. Of files of one name all but the first get a number behind it.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        files: Photos, videos, and folders that are searched for them.
        options: What is written; the folder of the pictures is not searched.

    Returns:
        What was written, in the order of the files.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If a file cannot be read.
    """
    output, every = options.pictures, options.every
    card = Card.read(card_of(folder, options.run))
    seen = card.seen(options.view or {})
    assert seen is not None
    accelerator = build_accelerator(device=options.device)
    found = [file for path in files for file in _find(path, output)]
    model = load_any(folder).to(accelerator.device)
    looking = build_view(model, card.preprocessing, seen)
    task = cast("type[SegmentationTask]", card.kind)
    segmenter = Segmenter(looking, card.preprocessing, task.panoptic, accelerator.device)
    panoptic = None
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        panoptic = PanopticWriter(output, segmenter.table) if segmenter.panoptic else None

    album = Album(options.html, "Below each picture: the share of it that each class covers.")

    def look(file: Path, place: Path | None) -> tuple[SegmentedFile, list[SegmentRow]]:
        if is_video(file):
            return _segment_video(segmenter, file, place, every, panoptic, album)
        return _segment_photo(segmenter, file, place, panoptic, album)

    seen_files = look_at_each(found, output, options.on_corrupt, look)
    album.write(folder, len(seen_files))
    if panoptic is not None:
        panoptic.finish()
    if options.table is not None:
        write_segments([row for _, rows in seen_files for row in rows], options.table)
    return [result for result, _ in seen_files]


def show_segments(folder: Path, files: list[Path], options: PredictionOptions) -> None:
    """Writes what a segmenter sees in photos and videos, and prints where; as `Task.predict`."""
    if options.pictures is not None:
        place_for_folder(options.pictures, "output")
    written = segment_files(folder, files, options)
    if not written:
        raise UserError("none of the files could be read")
    for result in written:
        if result.overlay is not None and result.classes is not None:
            places = f"{show(result.overlay)}, {show(result.classes)}"
            print(f"{show_path(result.file)}: {places}")
    if options.table is not None:
        print(f"segments in {show(options.table)}")


def _segment_photo(
    segmenter: Segmenter,
    file: Path,
    place: Path | None,
    panoptic: PanopticWriter | None,
    album: Album,
) -> tuple[SegmentedFile, list[SegmentRow]]:
    photo = read_photo(file)
    truth = segmenter(photo, str(file))
    rows = segment_rows(file, None, truth, segmenter.table, segmenter.panoptic)
    if album.wants():
        album.add(_seen(segmenter, file, None, photo, truth))
    if place is None:
        return SegmentedFile(file, None, None, 1), rows
    overlay, classes = Path(f"{place}_overlay.png"), Path(f"{place}_classes.png")
    save_picture(draw_overlay(photo, truth, segmenter.table), overlay)
    save_picture(class_index_image(truth, segmenter.table), classes)
    if panoptic is not None:
        panoptic.add(place.name + file.suffix, truth)
    return SegmentedFile(file, overlay, classes, 1), rows


def _segment_video(
    segmenter: Segmenter,
    file: Path,
    place: Path | None,
    every: int,
    panoptic: PanopticWriter | None,
    album: Album,
) -> tuple[SegmentedFile, list[SegmentRow]]:
    rate = frame_rate(file) / every
    overlay = classes = None
    rows: list[SegmentRow] = []
    number = 0
    with ExitStack() as open_files:
        if place is not None:
            overlay, classes = Path(f"{place}_overlay.mp4"), Path(f"{place}_classes")
            classes.mkdir(exist_ok=True)
            writer = open_files.enter_context(VideoWriter(overlay, rate))
        for number, frame in enumerate(read_frames(file, every), start=1):
            truth = segmenter(frame, f"{file}, frame {number}")
            rows += segment_rows(file, number, truth, segmenter.table, segmenter.panoptic)
            if album.wants(number):
                album.add(_seen(segmenter, file, number, frame, truth))
            if place is None or classes is None:
                continue
            writer.write(to_tensor(draw_overlay(frame, truth, segmenter.table, legend="steady")))
            save_picture(class_index_image(truth, segmenter.table), classes / f"{number:06}.png")
            if panoptic is not None:
                panoptic.add(f"{place.name}_{number:06}.png", truth)
    return SegmentedFile(file, overlay, classes, number), rows


def _seen(segmenter: Segmenter, file: Path, frame: int | None, photo: Tensor, truth: Truth) -> Seen:
    """An overlay for a page, with the largest classes and how many objects there are."""
    table = segmenter.table
    classes = truth.class_map()
    counts = classes[classes >= 0].bincount(minlength=len(table))
    order = [int(n) for n in counts.argsort(descending=True) if counts[n]][:_CLASSES]
    shares = [(table.names[n], int(counts[n]) / classes.numel()) for n in order]
    says = ", ".join(show(name) for name, _ in shares) or "nothing"
    return Seen(file, frame, draw_overlay(photo, truth, table), says, shares)
