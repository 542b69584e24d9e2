"""A segmenter's answers with names."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from spikesight.data.photos.preprocessing import to_tensor
from spikesight.data.segmentation import extent
from spikesight.training.tasks.pipeline_inputs import called, listed, photo
from spikesight.training.tasks.segmentation.prediction import Segmenter


class SegmenterPipeline:
    """Answers with segments; `spikesight.pipeline` makes it.

    Args:
        segmenter: Model, view and preprocessing.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    def __call__(self, inputs: Any) -> Any:
        """Segments photos.

        Args:
            inputs: A path, a PIL image (upright as its EXIF says) or a uint8 array [H, W] or
                [H, W, 3], RGB; or a list of such.

        Returns:
            For one photo {"segments": [{"label", "score", "mask", "box", "is_object"}, ...]}, the
            largest first; of a list one such answer each. The mask is a PIL image of the photo's
            size, 255 within the segment; the box has xmin, ymin, xmax and ymax in pixels, the
            latter two exclusive; the score is the class probability of a segment of a panoptic
            segmenter, else None; is_object says whether it is one thing.

        Raises:
            UserError: If an input is no such, or cannot be read; names it.
        """
        items, alone = listed(inputs)
        answers = [
            self._answer(item, called(item, number)) for number, item in enumerate(items, start=1)
        ]
        return answers[0] if alone else answers

    def _answer(self, item: Any, name: str) -> dict[str, Any]:
        segmenter = self.segmenter
        truth, scores = segmenter.scored(to_tensor(photo(item, name, 3)), name)
        numbers, segments = truth.segment_map.numpy(), []
        for number, label in enumerate(truth.segment_classes.tolist()):
            inside: Any = numbers == number
            found = extent(inside)
            if not found["area"]:
                continue
            left, top, width, height = found["bbox"]
            box = {"xmin": left, "ymin": top, "xmax": left + width, "ymax": top + height}
            segment = {
                "label": segmenter.table.names[label],
                "score": None if scores is None else scores[number],
                "mask": Image.fromarray(inside.astype(np.uint8) * 255),
                "box": box,
                "is_object": segmenter.panoptic and label in segmenter.table.things,
            }
            segments.append((found["area"], segment))
        segments.sort(key=lambda pair: -pair[0])
        return {"segments": [segment for _, segment in segments]}
