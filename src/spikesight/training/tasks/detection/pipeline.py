"""A detector's answers with names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spikesight.data.detection import EventObjectPreprocessing
from spikesight.data.photos.preprocessing import to_tensor
from spikesight.errors import UserError
from spikesight.training.tasks.detection.finder import Finder
from spikesight.training.tasks.pipeline_inputs import called, listed, photo


class DetectorPipeline:
    """Answers with boxes; `spikesight.pipeline` makes it.

    Args:
        finder: Model, preprocessing and what is kept.
    """

    def __init__(self, finder: Finder) -> None:
        self.finder = finder

    def __call__(self, inputs: Any) -> Any:
        """Finds objects in photos.

        Args:
            inputs: A path, a PIL image (upright as its EXIF says) or a uint8 array [H, W] or
                [H, W, 3], RGB; or a list of such. Of a model that learned from events the path of
                a recording.

        Returns:
            For one photo [{"label", "score", "box"}, ...], the highest score first; of a list one
            such answer each. The box has xmin, ymin, xmax and ymax in pixels, the left upper corner
            of the photo being 0, 0 and its right lower one its width and height. Of a model that
            finds masks, "mask" is a PIL image of the photo's size, 255 within the object.

        Raises:
            UserError: If an input is no such, or cannot be read; names it.
        """
        items, alone = listed(inputs)
        answers = [
            self._answer(item, called(item, number)) for number, item in enumerate(items, start=1)
        ]
        return answers[0] if alone else answers

    def _answer(self, item: Any, name: str) -> list[dict[str, Any]]:
        finder = self.finder
        if isinstance(finder.preprocessing, EventObjectPreprocessing):
            if not isinstance(item, str | os.PathLike):
                raise UserError(
                    f"{name} is a {type(item).__name__}; pass a recording's path, or a list of such"
                )
            image = finder.preprocessing.read(Path(item))
        else:
            image = to_tensor(photo(item, name, 3))
        found = finder.shown(finder.look(image))
        answer: list[dict[str, Any]] = []
        for number, box in enumerate(found.boxes.tolist()):
            entry = {
                "label": finder.names[int(found.classes[number])],
                "score": float(found.scores[number]),
                "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)),
            }
            if found.masks is not None:
                entry["mask"] = Image.fromarray(found.masks[number].numpy().astype(np.uint8) * 255)
            answer.append(entry)
        return answer
