"""How well hidden patches are guessed on a set of images."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.losses.reconstruction import reconstruction_loss
from spikesight.models.masked_image import MaskedAutoencoder, draw_visible
from spikesight.training.runs.card import Card
from spikesight.training.runs.processes import total
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.measuring import show_all


@dataclass(frozen=True)
class MaskedImageFigures(Figures):
    """What a masked autoencoder does on a set of images.

    Attributes:
        loss: Mean squared error of hidden patches; 1 is the error of the mean.
        firing_rate: At the positions that are there.
        probe: Top-1 in percent of a linear classifier on the frozen trunk's pooled features; None
            where none was asked for.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("loss", "probe")
    loss: float
    images: int
    firing_rate: float | None
    silent_neurons: tuple[str, ...] = ()
    probe: float | None = None

    def better_than(self, other: MaskedImageFigures | None) -> bool:
        """Whether the loss is lower."""
        return other is None or self.loss < other.loss

    def headline(self) -> str:
        """The loss."""
        return f"reconstruction loss {self.loss:.4f}"

    def summary(self) -> str:
        """The loss, the probe and firing."""
        probe = "" if self.probe is None else f"  linear probe {self.probe:.2f} %"
        return self.headline() + probe + self.firing()


def visible_patches(model: MaskedAutoencoder, images: Tensor) -> Tensor:
    """Masks for evaluation: what is hidden of an image is a function of its pixels.

    So it does not depend on batch-mates or processes, and is the same after every epoch.

    Args:
        model: Says grid and ratio.
        images: uint8 [B, C, H, W] as they come from the loader.

    Returns:
        Boolean [B, h, w].
    """
    rows, columns = model.grid(images)
    hidden = model.sizes.hidden(rows * columns)
    masks = []
    for image in images.cpu():
        seed = zlib.crc32(image.contiguous().numpy().tobytes())
        generator = torch.Generator().manual_seed(seed)
        masks.append(draw_visible(1, (rows, columns), hidden, generator=generator))
    return torch.cat(masks).to(images.device)


@torch.no_grad()
def evaluate_masked_images(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    card: Card,
    accelerator: Accelerator,
    limit_batches: int | None = None,
    findings: None = None,
) -> MaskedImageFigures:
    """The error at hidden patches of a `MaskedAutoencoder`, as `Task.measure`; none finds more."""
    assert isinstance(model, MaskedAutoencoder)
    loss_sum, share = 0.0, 1.0

    def show(batch: tuple[Tensor, Tensor]) -> Iterator[int]:
        nonlocal loss_sum, share
        images = batch[0].to(accelerator.device, non_blocking=True)
        visible = visible_patches(model, images)
        inputs = card.preprocessing.batch_transform(images, None)
        output = model(inputs, visible)
        loss = reconstruction_loss(
            output.patches, output.visible, inputs, model.patch, model.sizes.target
        )
        loss_sum += float(loss.double().sum())
        if model.sizes.hiding == "sparse":
            share = float(visible[0].float().mean())
        yield len(images)

    count, rate, silent = show_all(model, batches, accelerator, limit_batches, show)
    (total_loss,) = total(accelerator, [loss_sum])
    return MaskedImageFigures(
        loss=total_loss / count,
        images=count,
        firing_rate=None if rate is None else rate / share,
        silent_neurons=silent,
    )
