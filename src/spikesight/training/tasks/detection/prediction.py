"""What a trained detector sees in photos and videos, as pictures and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from spikesight.data.detection import ObjectPreprocessing
from spikesight.data.photos.preprocessing import to_tensor
from spikesight.data.segmentation.video import (
    VIDEO_SUFFIXES,
    VideoWriter,
    frame_rate,
    read_frames,
)
from spikesight.errors import UserError
from spikesight.files.names import show, show_path
from spikesight.files.writing import place_for_folder
from spikesight.objects import Detections
from spikesight.reports.boxes import draw_objects
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, load_any
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.detection.evaluation import finder_of
from spikesight.training.tasks.detection.finder import Finder
from spikesight.training.tasks.detection.results import FoundIn, category_ids, write_found
from spikesight.training.tasks.options import PredictionOptions
from spikesight.training.tasks.photos_and_videos import (
    find_below,
    is_video,
    look_at_each,
    save_picture,
)
from spikesight.training.tasks.prediction_page import Album, Seen

_BEST = 8  # boxes of a photo that a page lists


@dataclass(frozen=True)
class LookedAt:
    """What came of a photo or video.

    Attributes:
        file: The photo or video.
        overlay: Picture or video with its boxes, if pictures were asked for.
        found: What was found, of a video in each frame.
        says: What is shown of it, in words.
    """

    file: Path
    overlay: Path | None
    found: list[FoundIn]
    says: str


def detect_in_files(folder: Path, files: list[Path], options: PredictionOptions) -> list[LookedAt]:
    """Finds objects in photos and videos and writes what it sees.

    For each photo or recording NAME_overlay.png, for each video NAME_overlay.mp4, with boxes (and
    masks of a model that finds them), names and scores. Of files of one name all but the first get
    a number behind it.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        files: Photos and videos, or recordings of events, and folders that are searched for them.
        options: What is written; the folder of the pictures is not searched.

    Returns:
        What came of each, in the order of the files.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If a file cannot be read.
    """
    output = options.pictures
    card = Card.read(card_of(folder, options.run))
    card = replace(card, view=card.seen(options.view))
    steps = card.preprocessing
    films = VIDEO_SUFFIXES if isinstance(steps, ObjectPreprocessing) else frozenset()
    suffixes = steps.suffixes | films
    found = [file for path in files for file in find_below(path, output, suffixes)]
    device = build_accelerator(device=options.device).device
    model = load_any(folder).to(device)
    finder = finder_of(model, card, device)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)

    album = Album(options.html, "Boxes have their scores; below each picture, those of the best.")

    def look(file: Path, place: Path | None) -> LookedAt:
        if films and is_video(file):
            return _look_at_video(finder, file, place, options.every, album)
        return _look_at_photo(finder, file, place, album)

    seen = look_at_each(found, output, options.on_corrupt, look)
    album.write(folder, len(seen))
    if options.table is not None:
        every = [found for one in seen for found in one.found]
        ids = category_ids(card.preprocessing.table)
        write_found(every, options.table, finder.names, ids, finder.config.shown_score)
    return seen


def show_boxes(folder: Path, files: list[Path], options: PredictionOptions) -> None:
    """Writes what a detector sees in photos and videos, and prints it; as `Task.predict`."""
    if options.pictures is not None:
        place_for_folder(options.pictures, "output")
    looked = detect_in_files(folder, files, options)
    if not looked:
        raise UserError("none of the files could be read")
    for one in looked:
        place = "" if one.overlay is None else f"; {show(one.overlay)}"
        print(f"{show_path(one.file)}: {one.says}{place}")
    if options.table is not None:
        print(f"boxes in {show(options.table)}")


def _look_at_photo(finder: Finder, file: Path, place: Path | None, album: Album) -> LookedAt:
    photo = finder.preprocessing.read(file)
    found = finder.look(photo)
    overlay = None
    picture = finder.preprocessing.picture(photo)
    if album.wants():
        album.add(_seen(finder, file, None, picture, found))
    if place is not None:
        overlay = Path(f"{place}_overlay.png")
        save_picture(draw_objects(picture, finder.shown(found), finder.names), overlay)
    return LookedAt(file, overlay, [FoundIn(file, None, found)], _in_words(finder, [found]))


def _look_at_video(
    finder: Finder, file: Path, place: Path | None, every: int, album: Album
) -> LookedAt:
    overlay, found = None, []
    with ExitStack() as open_files:
        if place is not None:
            overlay = Path(f"{place}_overlay.mp4")
            writer = open_files.enter_context(VideoWriter(overlay, frame_rate(file) / every))
        for frame in read_frames(file, every):
            found.append(finder.look(frame))
            if album.wants(len(found)):
                album.add(_seen(finder, file, len(found), frame, found[-1]))
            if overlay is not None:
                picture = draw_objects(frame, finder.shown(found[-1]), finder.names)
                writer.write(to_tensor(picture))
    frames = [FoundIn(file, number, one) for number, one in enumerate(found, start=1)]
    return LookedAt(file, overlay, frames, f"{len(found)} frames, {_in_words(finder, found)}")


def _seen(
    finder: Finder, file: Path, frame: int | None, picture: Tensor, found: Detections
) -> Seen:
    """Boxes for a page, with the scores of the best."""
    shown = finder.shown(found)
    best = shown[torch.arange(min(len(shown), _BEST))]
    pairs = zip(best.classes.tolist(), best.scores.tolist(), strict=True)
    scores = [(finder.names[label], score) for label, score in pairs]
    drawn = draw_objects(picture, shown, finder.names)
    return Seen(file, frame, drawn, _in_words(finder, [found]), scores)


def _in_words(finder: Finder, found: Sequence[Detections]) -> str:
    """How many of what is shown."""
    classes = [int(label) for one in found for label in finder.shown(one).classes]
    counts = Counter(classes).most_common()
    listed = ", ".join(f"{count} {show(finder.names[label])}" for label, count in counts)
    return listed or "nothing"
