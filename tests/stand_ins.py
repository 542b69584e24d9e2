"""Small data in the place of what a reader of the tutorials brings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.events.files import encode_es, random_events


def write_photos(folder: Path) -> None:
    """Eight photos of each of two classes, in two colours."""
    noise = np.random.default_rng(0)
    for name, colour in (("cat", (200, 90, 40)), ("dog", (40, 90, 200))):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.clip(noise.normal(colour, 40, (36, 40 + number, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(
                folder / "photos" / name / f"{number}.jpg"
            )


def write_scenes(folder: Path) -> None:
    """Photos of a square and a disc on a ground, and their masks."""
    rows, columns = np.mgrid[:48, :64]
    for number in range(6):
        mask = np.zeros((48, 64), np.uint8)
        mask[8:24, 4 + 4 * number : 20 + 4 * number] = 1
        mask[(rows - 34) ** 2 + (columns - 50 + 4 * number) ** 2 < 100] = 2
        part = folder / "scenes" / ("train" if number < 3 else "val")
        for kind, image in (("images", mask[..., None] * np.array([90, 60, 30])), ("labels", mask)):
            (part / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(part / kind / f"{number}.png")


def write_recordings(folder: Path) -> None:
    """Six recordings of each of two classes: events on the left and on the right."""
    for name, side in (("left", 0), ("right", 16)):
        (folder / "recordings" / name).mkdir(parents=True)
        for number in range(6):
            events = random_events(400, 16, 32, seed=number)
            events.x[:] = events.x + side
            wide = type(events)(events.t, events.x, events.y, events.polarity, 32, 32)
            (folder / "recordings" / name / f"{number}.es").write_bytes(encode_es(wide))


STAND_INS: dict[str, Callable[[Path], None]] = {
    "event_camera": write_recordings,
    "segment_photos": write_scenes,
}
"""By the name of a page; all others get photos."""
