"""Photos of a validation with what is there beside what a detector finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from spikesight.data.batches import report_skipped
from spikesight.data.detection import object_part_of, read_objects
from spikesight.data.errors import CorruptImageError
from spikesight.objects import Detections, Objects
from spikesight.reports.found_and_missed import Outcome, draw_found_and_missed
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, load_any
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.detection.evaluation import finder_of
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.photos_and_videos import save_picture

if TYPE_CHECKING:
    from spikesight.training.tasks.detection.task import ObjectTask

_OVERLAP = 0.5  # IoU from which a box is right


def draw_detector(
    folder: Path,
    output: Path,
    options: ValidationOptions = ValidationOptions(),  # noqa: B008  it is frozen
    photos: int = 12,
) -> list[Path]:
    """Draws what is there beside what is found, right, wrong or missed.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        output: Folder to write photo_1.png and so on to.
        options: Which photos it looks at.
        photos: Largest number of photos, spread evenly.

    Returns:
        The pictures.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the photos cannot be used.
    """
    card = Card.read(card_of(folder, options.run)).with_data(options.data)
    card = replace(card, view=card.seen(options.view))
    source = read_objects(card.data, object_part_of(options.split))
    device = build_accelerator(device=options.device).device
    task = cast("type[ObjectTask]", card.kind)
    model = load_any(folder).to(device)
    finder = finder_of(model, card, device)
    output.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    count = min(photos, len(source))
    for number in range(count):
        index = number * len(source) // count
        try:
            seen = source.read(index, task.masks)
        except CorruptImageError as error:
            if card.data.on_corrupt == "stop":
                raise
            report_skipped({source.describe(index): str(error)})
            continue
        found = finder.shown(finder.look(seen.image))
        outcome = match(found, seen.objects)
        picture = draw_found_and_missed(
            card.preprocessing.picture(seen.image),
            seen.objects,
            found,
            outcome,
            finder.names,
            source.describe(index),
        )
        drawn.append(output / f"photo_{number + 1}.png")
        save_picture(picture, drawn[-1])
    return drawn


def match(found: Detections, there: Objects, overlap: float = _OVERLAP) -> Outcome:
    """Which boxes are right: each object belongs to the best box of its class that fits it.

    Args:
        found: What was found, the best first.
        there: What is there; boxes within crowds are neither right nor wrong.
        overlap: IoU from which a box fits.
    """
    from torchvision.ops import box_iou

    overlaps = box_iou(found.boxes, there.boxes)
    overlaps[found.classes[:, None] != there.classes[None]] = 0.0
    right = torch.zeros(len(found), dtype=torch.bool)
    met = there.crowd.clone()
    for number in range(len(found)):
        free = overlaps[number].masked_fill(met, 0.0)
        if len(there) and float(free.max()) >= overlap:
            right[number] = met[int(free.argmax())] = True
    return Outcome(right, _within_crowds(found, there) & ~right, ~met)


def _within_crowds(found: Detections, there: Objects) -> Tensor:
    """Boxes of which at least half lies in a crowd of their class, [N]."""
    crowds = there[there.crowd]
    low = torch.maximum(found.boxes[:, None, :2], crowds.boxes[None, :, :2])
    high = torch.minimum(found.boxes[:, None, 2:], crowds.boxes[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    area = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(-1)
    same = found.classes[:, None] == crowds.classes[None]
    return ((shared >= 0.5 * area[:, None]) & same).any(1)
