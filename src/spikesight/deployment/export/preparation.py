"""How photos become inputs, from what a network's card says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.data.photos.augmentation import normalize
from spikesight.deployment.runtime.arithmetic import quantise_image
from spikesight.graph import integer_vocabulary as integer

_MOST_CLASSES = 100
_MOST_CHANNELS = 16


@dataclass(frozen=True)
class Preparation:
    """What a card says of inputs and outputs.

    Attributes:
        mean: Mean per channel of photos in 0..1.
        std: Standard deviation per channel.
        classes: Names of the classes, the first hundred.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]

    @staticmethod
    def read(card: str | None) -> Preparation | None:
        """Reads a card, which may be a stranger's; None where it says nothing of the kind.

        Args:
            card: The text of run.json.
        """
        try:
            said = json.loads(card or "{}")["preprocessing"]
            mean, std = (
                tuple(float(value) for value in said[field][:_MOST_CHANNELS])
                for field in ("mean", "std")
            )
            classes = [_plain(value) for value in said.get("classes") or ()]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return None
        numbers = torch.tensor([*mean, *std], dtype=torch.float64)
        sound = len(mean) == len(std) and bool(numbers.isfinite().all()) and min(std, default=0) > 0
        return Preparation(mean, std, tuple(classes[:_MOST_CLASSES])) if sound else None

    def integers_of_bytes(self, image: integer.Input) -> Tensor | None:
        """What the network sees of each byte of each channel, [C, 256]; None of other channels."""
        if len(self.mean) != image.channels:
            return None
        photo = torch.arange(256, dtype=torch.uint8).expand(1, image.channels, 1, 256)
        return quantise_image(image, normalize(photo, self.mean, self.std))[0, :, 0].long()


def normalised(photos: Tensor, table: Tensor, image: integer.Input) -> Tensor:
    """Inputs of which a network sees what it sees of photos, [B, C, H, W].

    Args:
        photos: uint8 [B, H, W, C].
        table: What `integers_of_bytes` gives, [C, 256].
        image: The network's input.
    """
    channels = torch.arange(len(table))
    return table[channels, photos.long()].permute(0, 3, 1, 2).float() * 2.0**-image.shift


def _plain(value: object) -> str:
    return re.sub(r"[^\w .,()'-]", "_", str(value)[:60], flags=re.ASCII)
