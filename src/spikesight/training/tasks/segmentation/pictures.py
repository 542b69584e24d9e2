"""Looks into a trained segmenter on validation photos, for pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from spikesight.attention.deformable_sampling import DeformableSampling
from spikesight.data.batches import report_skipped
from spikesight.data.config import OnCorrupt
from spikesight.data.errors import CorruptImageError
from spikesight.data.segmentation import SceneSource, part_of, read_scenes
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.inference import View, ViewConfig, enlarged, single_view
from spikesight.reports.segmenter_pictures import draw_query_masks, draw_sampling_points
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, load_any
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.segmentation.evaluation import build_view

_MASK_SIDE = 200  # Spike2Former's fig. 3


@torch.no_grad()
def draw_segmenter(
    folder: Path,
    output: Path,
    options: ValidationOptions = ValidationOptions(),  # noqa: B008  it is frozen
    photos: int = 100,
) -> list[Path]:
    """Draws the mean mask of every query and where deformable attention samples.

    Args:
        folder: Folder of a run, or its best/ or last/.
        output: Folder to write query_masks.png and, if the model has deformable attention,
            sampling_points.png to.
        options: Which scenes it looks at.
        photos: Largest number of photos whose masks are averaged.

    Returns:
        The pictures.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the scenes cannot be used, or the model has no queries.
    """
    card = Card.read(card_of(folder, options.run)).with_data(options.data)
    config, preprocessing = card.data, card.preprocessing
    accelerator = build_accelerator()
    model = load_any(folder).to(accelerator.device)
    if model.gives == "pixels":
        raise UserError(
            f"{show(folder)}: pictures show queries, and this model gives every pixel a class; "
            "leave pictures out"
        )
    view = build_view(model, preprocessing, ViewConfig())
    output.mkdir(parents=True, exist_ok=True)

    def shown(photo: Tensor) -> Tensor:
        fitted = preprocessing.fit(photo)[None].to(accelerator.device)
        images: Tensor = preprocessing.batch_transform(fitted)
        return images

    source = read_scenes(config, part_of(options.split))
    readable = _readable(source, config.on_corrupt)
    path = output / "query_masks.png"
    draw_query_masks(_mean_masks(view, islice(readable, photos), shown), path)
    drawn = [path]
    sampling = [m for m in model.modules() if isinstance(m, DeformableSampling)]
    if sampling:
        photo = next(_readable(source, config.on_corrupt))
        images, last = shown(photo), sampling[-1]
        offset, weight = _sampled(view, last, images)
        stride = (images.shape[2] + -images.shape[2] % view.stride) / offset.shape[-2]
        cell = (
            stride * photo.shape[1] / images.shape[2],
            stride * photo.shape[2] / images.shape[3],
        )
        path = output / "sampling_points.png"
        draw_sampling_points(photo, offset, weight, last.groups, last.side, cell, path)
        drawn.append(path)
    return drawn


def _readable(source: SceneSource, on_corrupt: OnCorrupt) -> Iterator[Tensor]:
    """Photos uint8 [3, H, W]."""
    for index in range(len(source)):
        try:
            yield source.read(index).image
        except CorruptImageError as error:
            if on_corrupt == "stop":
                raise
            report_skipped({source.describe(index): str(error)})


def _mean_masks(view: View, photos: Iterator[Tensor], shown: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean probability of each query's mask, [Q, 200, 200]."""
    total: Tensor | None = None
    count = 0
    for photo in photos:
        count += 1
        images = shown(photo)
        masks = single_view(view, images).mask_logits[0].float()
        size = (images.shape[2], images.shape[3])
        masks = enlarged(masks, images, view.stride, size).sigmoid()
        side = (_MASK_SIDE, _MASK_SIDE)
        masks = interpolate(masks[None], side, mode="bilinear", antialias=True)[0]
        total = masks if total is None else total + masks
    assert total is not None
    return (total / count).cpu()


def _sampled(view: View, sampling: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets and weights of the first time step in a forward pass."""
    caught: list[tuple[Tensor, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append((inputs[1][0].cpu(), inputs[2][0].cpu()))

    handle = sampling.register_forward_pre_hook(note)
    try:
        single_view(view, images)
    finally:
        handle.remove()
    return caught[-1]
