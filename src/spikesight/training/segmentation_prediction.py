"""What a trained segmenter sees in photos and videos, as pictures and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spikesight.data.decoding import IMAGE_SUFFIXES
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.preprocessing import to_tensor
from spikesight.data.segmentation import (
    ClassTable,
    PanopticWriter,
    Truth,
    read_photo,
    semantic_truth,
)
from spikesight.data.segmentation.video import (
    VIDEO_SUFFIXES,
    VideoWriter,
    frame_rate,
    read_frames,
)
from spikesight.inference import View, class_map, panoptic_truths, photo_scores
from spikesight.pretrained import load
from spikesight.reports.overlays import class_index_image, draw_overlay
from spikesight.training.preparation import build_accelerator
from spikesight.training.run_folder import resolve_model_folder
from spikesight.training.scene_card import SceneCard
from spikesight.training.segmentation_evaluation import build_view

_LARGEST_PHOTO = 2**25  # pixels that are shown to the model at once


@dataclass(frozen=True)
class SegmentedFile:
    """What was written for a photo or video.

    Attributes:
        file: The photo or video.
        overlay: Picture or video of its segments.
        classes: Class-index PNG, or the folder of a video's.
        frames: Number of frames; 1 for a photo.
    """

    file: Path
    overlay: Path
    classes: Path
    frames: int


@dataclass(frozen=True)
class _Segmenter:
    """A model and its card, ready to look at photos."""

    view: View
    card: SceneCard
    device: torch.device

    @property
    def table(self) -> ClassTable:
        return self.card.preprocessing.table

    @torch.no_grad()
    def __call__(self, photo: Tensor, name: str) -> Truth:
        """Segments of a photo, uint8 [3, H, W], at its own size."""
        shown = self.card.preprocessing.fit(photo)
        if shown.shape[1] * shown.shape[2] > _LARGEST_PHOTO:
            raise DataError(
                f"{name}: {shown.shape[2]}x{shown.shape[1]} pixels are too many to look at; resize "
                "the photo, or train with scenes.evaluation_size"
            )
        transform = self.card.preprocessing.batch_transform
        images = transform(shown[None].to(self.device))
        size = (photo.shape[1], photo.shape[2])
        if self.card.task == "semantic":
            classes = class_map(photo_scores(self.view, images)[0], size)
            return semantic_truth(classes.cpu().int(), len(self.table))
        (truth,) = panoptic_truths(self.view, images, [size], self.table.things)
        return truth


def segment_files(
    folder: Path,
    files: list[Path],
    output: Path,
    view: dict[str, Any] | None = None,
    every: int = 1,
    device: Literal["auto", "cpu"] = "auto",
    on_corrupt: Literal["stop", "skip"] = "stop",
) -> list[SegmentedFile]:
    """Segments photos and videos and writes what it sees.

    For each photo NAME_overlay.png and NAME_classes.png (class numbers as a palette image, 255 is
    void); for each video NAME_overlay.mp4 and a folder NAME_classes. Panoptic segmenters also
    write panoptic/NAME.png, of a video NAME_000001.png and so on, and panoptic.json in COCO's
    format.

    Args:
        folder: Folder of a run, or its best/ or last/.
        files: Photos, videos, and folders that are searched for them.
        output: Folder to write to; what is in it is not searched.
        view: Fields of the view that differ from training.
        every: Of a video take every so-manieth frame.
        device: "auto" takes the GPU if there is one; "cpu" leaves it alone.
        on_corrupt: Whether an unreadable file ends the call or is left out.

    Returns:
        What was written, in the order of the files.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If a file cannot be read.
    """
    if every < 1:
        raise ValueError(f"every is {every}; pass 1 or more")
    model_folder = resolve_model_folder(folder)
    card = SceneCard.read(model_folder)
    accelerator = build_accelerator(device=device)
    found = [file for path in files for file in _find(path, output)]
    model = load(model_folder).to(accelerator.device)
    looking = build_view(model, card.preprocessing, card.seen(view or {}))
    segmenter = _Segmenter(looking, card, accelerator.device)
    output.mkdir(parents=True, exist_ok=True)
    panoptic = PanopticWriter(output, segmenter.table) if card.task == "panoptic" else None
    written: list[SegmentedFile] = []
    for file, stem in zip(found, _different_stems(found), strict=True):
        try:
            if file.suffix.lower() in VIDEO_SUFFIXES:
                written.append(_segment_video(segmenter, file, output / stem, every, panoptic))
            else:
                written.append(_segment_photo(segmenter, file, output / stem, panoptic))
        except CorruptImageError:
            if on_corrupt == "stop":
                raise
    if panoptic is not None:
        panoptic.finish()
    return written


def _different_stems(files: list[Path]) -> list[str]:
    """Stems of files; one that an earlier file has gets a number behind it."""
    stems: dict[str, None] = {}
    for file in files:
        tries = (file.stem if n == 1 else f"{file.stem}_{n}" for n in count(1))
        stems[next(stem for stem in tries if stem not in stems)] = None
    return list(stems)


def _find(path: Path, output: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; pass photos, videos or folders of them")
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    below = (p for p in path.rglob("*") if p.suffix.lower() in known and p.is_file())
    written = output.resolve()
    files = sorted(p for p in below if written not in p.resolve().parents)
    if not files:
        raise DataError(f"{path}: holds no photo and no video; pass another folder")
    yield from files


def _segment_photo(
    segmenter: _Segmenter, file: Path, place: Path, panoptic: PanopticWriter | None
) -> SegmentedFile:
    photo = read_photo(file)
    truth = segmenter(photo, str(file))
    overlay, classes = Path(f"{place}_overlay.png"), Path(f"{place}_classes.png")
    draw_overlay(photo, truth, segmenter.table).save(overlay)
    class_index_image(truth, segmenter.table).save(classes)
    if panoptic is not None:
        panoptic.add(place.name + file.suffix, truth)
    return SegmentedFile(file, overlay, classes, 1)


def _segment_video(
    segmenter: _Segmenter, file: Path, place: Path, every: int, panoptic: PanopticWriter | None
) -> SegmentedFile:
    overlay, classes = Path(f"{place}_overlay.mp4"), Path(f"{place}_classes")
    rate = frame_rate(file) / every
    classes.mkdir(exist_ok=True)
    number = 0
    with VideoWriter(overlay, rate) as writer:
        for number, frame in enumerate(read_frames(file, every), start=1):
            truth = segmenter(frame, f"{file}, frame {number}")
            writer.write(to_tensor(draw_overlay(frame, truth, segmenter.table, legend="steady")))
            class_index_image(truth, segmenter.table).save(classes / f"{number:06}.png")
            if panoptic is not None:
                panoptic.add(f"{place.name}_{number:06}.png", truth)
    return SegmentedFile(file, overlay, classes, number)
