"""A trained detector ready to look at photos or recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikesight.data.detection import AnyObjectPreprocessing, Fit
from spikesight.inference import DetectionConfig
from spikesight.objects import Detections

Find = Callable[[nn.Module, Tensor, DetectionConfig], list[Detections]]
"""What is kept of what a model finds in normalised inputs, per input and in their pixels."""


@dataclass(frozen=True)
class Finder:
    """A model, its preprocessing and what is kept of what it finds.

    Attributes:
        model: A detector, in evaluation mode and on the device.
        preprocessing: That of the model.
        config: What is kept.
        find: From inputs to boxes.
        device: Where the model is.
    """

    model: nn.Module
    preprocessing: AnyObjectPreprocessing
    config: DetectionConfig
    find: Find
    device: torch.device

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.preprocessing.classes

    @torch.no_grad()
    def __call__(self, images: Tensor, fits: Sequence[Fit]) -> list[Detections]:
        """What is found in fitted images, in pixels of the photos and on the CPU.

        Args:
            images: uint8, as the preprocessing's `fit` gives them, [B, C, H, W] or
                [B, T, C, H, W].
            fits: How each of them was fitted.
        """
        shown = self.preprocessing.batch_transform(images.to(self.device, non_blocking=True))
        found = self.find(self.model, shown, self.config)
        return [fit.restore(one.to("cpu")) for fit, one in zip(fits, found, strict=True)]

    def shown(self, found: Detections) -> Detections:
        """Those of what was found that are sure enough to be shown."""
        return found[found.scores >= self.config.shown_score]

    def look(self, photo: Tensor) -> Detections:
        """What is found in what the preprocessing's `read` gives of a file, the best first."""
        image, fit = self.preprocessing.fit(photo)
        (found,) = self(image[None], [fit])
        return found
