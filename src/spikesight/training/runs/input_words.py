"""How inputs are prepared, for who reads a card in another language."""

from __future__ import annotations

from typing import Any

from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.data.detection import EventObjectPreprocessing, ObjectPreprocessing
from spikesight.data.segmentation import ScenePreprocessing

_NORMALISED = "(byte / 255 - mean) / std"
_COUNTS = "counts of events"
_POLARITIES = {2: "negative, positive", 3: "positive, negative, all"}


def input_words(steps: Any) -> dict[str, Any]:
    """What a preprocessing does, step by step; nothing of a user's own.

    Args:
        steps: The preprocessing of a card.
    """
    match steps:
        case Preprocessing(image_size=side, crop_fraction=share):
            return {
                "channel_order": "RGB" if steps.channels == 3 else "grey",
                "size": [side, side],
                "resize": f"the shorter side to {round(side / share)} pixels",
                "interpolation": "bicubic, antialiased (Pillow's)",
                "crop": "the centre",
                "values": _NORMALISED,
            }
        case ScenePreprocessing(evaluation_size=limits):
            within = f"as large as its sides stay within {limits}, its shape kept"
            return {
                "channel_order": "RGB",
                "size": None,
                "resize": "none" if limits is None else within,
                "interpolation": "bilinear, antialiased",
                "crop": "none",
                "padding": "zeros after normalisation, right and below, up to the stride",
                "values": _NORMALISED,
            }
        case ObjectPreprocessing():
            return {
                "channel_order": "RGB",
                "size": list(steps.image_size),
                "resize": "as large as it fits, its shape kept",
                "interpolation": "bilinear, antialiased",
                "crop": "none",
                "padding": f"the colour {list(steps.fill)}, right and below",
                "values": _NORMALISED,
            }
        case EventPreprocessing() | EventObjectPreprocessing():
            return {
                "channel_order": _POLARITIES[steps.channels],
                "size": list(steps.input_shape[-2:]),
                "values": _COUNTS,
            }
        case _:
            return {}
